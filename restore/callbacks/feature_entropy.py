"""Entropy of feature maps, the observation that motivates information-gain attention."""

import math
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from restore.callbacks.contract import HasFeatures, trained
from restore.io.errors import SettingError


class FeatureEntropy(Callback):
    """Logs ``entropy/<k>`` in bits at each validation: k = 0 for the first convolution, then the groups in order.

    Li et al. (ACM MM 2021) motivate the gain by the lower entropy of low-level feature maps compared with high-level
    ones.

    Args:
        images: number of images, from the first validation set, to average over.
        bins: of the histogram of a channel's values, between their minimum and maximum.

    Raises:
        SettingError: fewer than one image, or fewer than two bins.
    """

    def __init__(self, *, images: int = 1, bins: int = 256) -> None:
        if images < 1:
            raise SettingError("callbacks.entropy.images", images, "at least 1", "for none set callbacks=default")
        if bins < 2:
            raise SettingError("callbacks.entropy.bins", bins, "at least 2, because one has no entropy")
        self.images, self.bins = images, bins
        self._sums: Tensor | None = None
        self._seen = 0

    def check(self, model: LightningModule) -> None:
        """Refuse a network that provides no feature maps; called by ``fit`` before anything is written.

        Raises:
            SettingError: the network provides none.
        """
        if not isinstance(trained(model).network, HasFeatures):
            reason = "left out, because the network does not give its feature maps"
            raise SettingError("callbacks.entropy", "set", reason, "set callbacks=default")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Accumulate the entropy of the first images."""
        if dataloader_idx or batch_idx >= self.images or trainer.global_rank:
            return
        network = trained(pl_module).network
        assert isinstance(network, HasFeatures)
        entropies = torch.stack([entropy(maps, self.bins) for maps in network.features(batch["lq"])])
        self._sums = entropies if self._sums is None else self._sums + entropies
        self._seen += 1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means and reset them."""
        if self._sums is None:
            return
        values = {f"entropy/{k}": float(value) / self._seen for k, value in enumerate(self._sums)}
        self._sums, self._seen = None, 0
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)


def entropy(maps: Tensor, bins: int) -> Tensor:
    """Shannon entropy of a channel's values, averaged over the channels.

    Args:
        maps: float, (1, C, H, W).
        bins: of the histogram.

    Returns:
        A scalar in bits, between 0 (constant channels) and log2(bins).
    """
    channels = maps[0].detach().float().cpu().flatten(1)
    counts = torch.stack([torch.histc(channel, bins) for channel in channels])
    share = counts / counts.sum(1, keepdim=True)
    bits: Tensor = torch.special.entr(share).sum(1).mean() / math.log(2)
    return bits
