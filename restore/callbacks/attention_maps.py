"""Images of the weights given by one spatial attention module."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from restore.callbacks.contract import trained
from restore.image import writing
from restore.image.decoded_image import DecodedImage
from restore.image.montage import draw_weights
from restore.io.errors import SettingError


class AttentionMaps(Callback):
    """Writes ``panels/<image>_attention_<step>.png`` at each validation: lq, next to the weight of each position.

    Args:
        module: its name in the network, for example ``a6.2``; the weights are the output of its ``spatial`` part.
        images: number of images, from the first validation set.

    Raises:
        SettingError: fewer than one image.
    """

    def __init__(self, *, module: str = "a6.2", images: int = 2) -> None:
        if images < 1:
            raise SettingError("callbacks.attention.images", images, "at least 1", "for none set callbacks=default")
        self.module, self.images = module, images
        self._weights: Tensor | None = None
        self._handle: RemovableHandle | None = None

    def check(self, model: LightningModule) -> None:
        """Refuse a network without such a module; called by ``fit`` before anything is written.

        Raises:
            SettingError: the network has no module of this name.
        """
        names = [name for name, _ in trained(model).network.named_modules() if name.endswith(".spatial")]
        if not names:
            reason = "left out, because the network has no spatial attention"
            raise SettingError("callbacks.attention", "set", reason, "set callbacks=default")
        if f"{self.module}.spatial" not in names:
            known = ", ".join(name.removesuffix(".spatial") for name in names)
            raise SettingError("callbacks.attention.module", self.module, f"one of {known}")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Register a hook that stores the weights."""

        def keep(module: Any, args: Any, weights: Tensor) -> None:
            self._weights = weights.detach()

        spatial = trained(pl_module).network.get_submodule(f"{self.module}.spatial")
        self._handle = spatial.register_forward_hook(keep)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the hook."""
        assert self._handle is not None
        self._handle.remove()
        self._weights = None

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the weights for the image that was just restored."""
        if trainer.sanity_checking or dataloader_idx or batch_idx >= self.images or trainer.global_rank:
            return
        assert self._weights is not None
        weights = self._weights[0].float().cpu()
        name, step = batch["name"][0], trainer.global_step
        target = Path(trainer.default_root_dir) / "panels" / f"{name}_attention_{step:07d}.png"
        writing.write(target, DecodedImage.of(draw_weights(batch["lq"][0].cpu(), weights)))
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                caption = f"lq, weights of {self.module} from {weights.min():.3f} to {weights.max():.3f}"
                logger.log_image(key=f"panels/{name}_attention", images=[str(target)], step=step, caption=[caption])
