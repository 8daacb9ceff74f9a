"""The memory of a GPU: how much of it a tile may take, and smaller tiles where it was too little after all."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from restore.networks.contract import RestorationNetwork
from restore.ops import tiling

log = logging.getLogger(__name__)

USABLE = 0.8  # of what is free: the allocator needs some for itself


def budget_gb(memory_gb: float, device: torch.device) -> float:
    """``memory_gb``, or less where a GPU has less free memory, in GiB."""
    if device.type != "cuda":
        return memory_gb
    free = torch.cuda.mem_get_info(device)[0]
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(memory_gb, USABLE * (free + kept) / 2**30)


class InMemory:
    """Runs a network; where a GPU's memory does not suffice, in tiles of half the side, and so on.

    Args:
        run: calls a network, or what pads for it, on an image. network: whose facts count.
        context: of each tile, in lq pixels.
    """

    def __init__(
        self, run: Callable[[tiling.Forward, Tensor], Tensor], network: RestorationNetwork, context: int
    ) -> None:
        self._run, self._network, self._context = run, network, context
        self._too_large = float("inf")  # pixels that did not fit

    def __call__(self, forward: tiling.Forward, lq: Tensor) -> Tensor:
        """What ``run(forward, lq)`` gives, (1, 3, scale H, scale W).

        Args:
            forward: that of a whole image or of a tile. lq: (1, C, H, W) on its device.

        Raises:
            torch.OutOfMemoryError: the smallest tile does not fit, or the network takes none.
        """
        network, longest = self._network, max(lq.shape[-2:])
        tile = tiling.round_up(max(longest // 2, network.min_size), network.multiple_of)
        context = tiling.round_up(self._context, network.multiple_of)
        can_be_cut = network.why_no_tiles is None and tile + 2 * context < longest
        if lq[0, 0].numel() < self._too_large or not can_be_cut:
            try:
                return self._run(forward, lq)
            except torch.OutOfMemoryError:
                if not can_be_cut:
                    raise
            # not in the handler, whose traceback keeps the tensors that filled the memory
            self._too_large = lq[0, 0].numel()
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            words = "%dx%d px do not fit the GPU's memory; tiles of %d px are used"
            log.warning(words, lq.shape[-1], lq.shape[-2], tile)
        bands = tiling.bands(
            lambda piece: self(network, piece),
            lq,
            scale=int(network.scale),
            tile=tile,
            halo=context,
            multiple_of=network.multiple_of,
            min_size=network.min_size,
            blend=network.halo is None,
        )
        return tiling.joined(bands, lq.shape[-2] * int(network.scale))
