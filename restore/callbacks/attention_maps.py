"""Pictures of where a network looks: the weights of one spatial attention module."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from restore.image import writing
from restore.image.montage import draw_weights
from restore.image.picture import Picture


class AttentionMaps(Callback):
    """Writes ``panels/<image>_attention_<step>.png`` at each validation: lq, and the weight of each place.

    Args:
        module: of the network, for example ``a6.2``; its ``spatial`` part is watched.
        images: how many pictures of the first validation set.

    Raises:
        ValueError: no picture.
    """

    def __init__(self, *, module: str = "a6.2", images: int = 2) -> None:
        if images < 1:
            raise ValueError(
                f"callbacks.attention.images is {images}, expected at least 1; leave it out with callbacks=default"
            )
        self.module, self.images = module, images
        self._weights: Tensor | None = None
        self._handle: RemovableHandle | None = None

    def check(self, model: LightningModule) -> None:
        """Refuse a network without that module; called by ``fit`` before anything is written."""
        names = [name for name, _ in model.network.named_modules() if name.endswith(".spatial")]  # type: ignore[union-attr]
        if not names:
            raise ValueError("callbacks.attention needs a network with spatial attention; set callbacks=default")
        if f"{self.module}.spatial" not in names:
            known = ", ".join(name.removesuffix(".spatial") for name in names)
            raise ValueError(f"callbacks.attention.module is {self.module}, expected one of {known}")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to watch."""

        def keep(module: Any, args: Any, weights: Tensor) -> None:
            self._weights = weights.detach()

        watched = pl_module.network.get_submodule(f"{self.module}.spatial")  # type: ignore[union-attr]
        self._handle = watched.register_forward_hook(keep)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Watch no longer."""
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
        """Draw the weights of the picture that was just restored."""
        if trainer.sanity_checking or dataloader_idx or batch_idx >= self.images or trainer.global_rank:
            return
        assert self._weights is not None
        weights = self._weights[0].float().cpu()
        name, step = batch["name"][0], trainer.global_step
        target = Path(trainer.default_root_dir) / "panels" / f"{name}_attention_{step:07d}.png"
        writing.write(target, Picture.of(draw_weights(batch["lq"][0].cpu(), weights)))
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                caption = f"lq, weights of {self.module} from {weights.min():.3f} to {weights.max():.3f}"
                logger.log_image(key=f"panels/{name}_attention", images=[str(target)], step=step, caption=[caption])
