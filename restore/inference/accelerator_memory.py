"""The memory of a GPU: how much of it a tile may use, and smaller tiles if it still does not suffice."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from restore.networks.contract import RestorationNetwork
from restore.ops import tiling

log = logging.getLogger(__name__)

USABLE = 0.8  # fraction of the free memory; the allocator needs the rest


def budget_gb(memory_gb: float, device: torch.device) -> float:
    """``memory_gb``, limited by the free memory of a GPU, in GiB."""
    if device.type != "cuda":
        return memory_gb
    free = torch.cuda.mem_get_info(device)[0]
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(memory_gb, USABLE * (free + kept) / 2**30)


class InMemory:
    """Runs a network; if the GPU's memory does not suffice, in tiles of half the side, and again half of that.

    Args:
        run: applies a forward function, including padding, to an image. network: provides the facts for tiles.
        context: pixels around each tile, in lq pixels.
    """

    def __init__(
        self, run: Callable[[tiling.Forward, Tensor], Tensor], network: RestorationNetwork, context: int
    ) -> None:
        self._run, self._network, self._context = run, network, context
        self._too_large = float("inf")  # the smallest number of pixels that did not fit

    def __call__(self, forward: tiling.Forward, lq: Tensor) -> Tensor:
        """The result of ``run(forward, lq)``, (1, 3, scale H, scale W).

        Args:
            forward: for the whole image or a tile. lq: (1, C, H, W) on its device.

        Raises:
            torch.OutOfMemoryError: the smallest tile does not fit, or the network cannot run in tiles.
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
            # after the except block, whose traceback would keep alive the tensors that filled the memory
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
