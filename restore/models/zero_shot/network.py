"""The networks of zero-shot super-resolution, and how they enlarge an image."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from restore.models.zero_shot.kernel_estimation import check_scale
from restore.models.zero_shot.settings import check_network, check_other_network, scale_factors
from restore.models.zero_shot.step_networks import InformationGainStep, StepNetwork
from restore.networks.contract import Progress, RestorationNetwork
from restore.networks.zssr import ZSSRNetwork
from restore.ops import blur_kernels, tiling
from restore.ops.blur_kernels import read_kernel
from restore.ops.resize import new_length, resize

RunNetwork = Callable[[tiling.Forward, Tensor], Tensor]

ALL_VIEWS = 8
OVERLAP = 32  # input pixels around a tile, blended with its neighbours, for a network that averages over its input


class ZeroShotNetwork(RestorationNetwork):
    """One network for each gradual step of the total scale; later ones start from the previous one.

    Shocher, Cohen, Irani, "Zero-Shot Super-Resolution using Deep Internal Learning", CVPR 2018.

    Args:
        scale: output side / input side, above 1, need not be an integer.
        scale_steps: factors with the product ``scale``; None: t equal ones, t = max(1, round(log2 scale)).
        in_channels, width, depth, kernel_size: see :class:`ZSSRNetwork`; ``in_channels`` is its ``channels``, the image
            always has three.
        back_projection: maximum rounds of iterative back-projection on each result; rounds stop when they no longer
            help. None: 8.
        kernel: how the image was downscaled: None for bicubic, a ``.npy`` or ``.mat`` file, or a matrix; ``estimate``:
            not known yet.
        information_gain: arguments of :class:`restore.networks.information_gain.InformationGainNetwork` without
            ``scale``, to train this network in one scale step by 2, 3, 4 or 8, because it can start from weights of
            ``super_resolution``; None: the published network.

    Attributes:
        factors: of the scale steps.
        rounds: maximum rounds of back-projection.
        kernel: float64 (h, w); None for bicubic.
        zoom: output side / input side of each network: 1 if its input is interpolated first.
        radius: receptive radius of each network, in pixels of the enlarged image; None: it averages over its input.
        bytes_per_enlarged_pixel: peak memory per pixel of the enlarged image.

    Raises:
        ValueError: another value.
    """

    protocol = "sr_y"

    def __init__(
        self,
        *,
        scale: float = 2.0,
        scale_steps: list[float] | None = None,
        in_channels: int = 3,
        width: int = 64,
        depth: int = 8,
        kernel_size: int = 3,
        back_projection: int | None = None,
        kernel: str | list[list[float]] | None = None,
        information_gain: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_network(scale, scale_steps, in_channels, back_projection)
        self.scale = scale
        self.factors = scale_factors(scale, scale_steps, has_kernel=kernel is not None)
        self.rounds = 8 if back_projection is None else back_projection
        self.kernel = _given_kernel(kernel, scale)
        settings = {"channels": in_channels, "width": width, "depth": depth, "kernel_size": kernel_size}
        self.zoom, self.radius = 1, None
        if information_gain is not None:
            check_other_network(scale_steps, **settings)
            self.factors = [scale]
            step = InformationGainStep(scale=scale, **information_gain)
            self.networks, self.zoom = nn.ModuleList([step]), step.scale
            self.bytes_per_enlarged_pixel = math.ceil(step.bytes_per_pixel / step.scale**2)
        else:
            self.networks = nn.ModuleList(ZSSRNetwork(**settings) for _ in self.factors)
            self.hand_on(0)
            self.radius = (depth + 1) * (kernel_size // 2)
            self.halo = _halo(self.factors, self.radius)
            # hidden maps, and the 8 outputs of the ensemble
            self.bytes_per_enlarged_pixel = math.ceil(4 * 1.15 * (3 * width * (3 // in_channels) + 24 * 3))
        self.to(memory_format=torch.channels_last)
        self.bytes_per_pixel = math.ceil(self.bytes_per_enlarged_pixel * scale**2)

    @property
    def steps(self) -> list[StepNetwork]:
        """The networks, in order."""
        return [network for network in self.networks if isinstance(network, StepNetwork)]

    @property
    def context(self) -> int:
        """Pixels of the enlarged image around a tile that influence it."""
        return OVERLAP * self.zoom if self.radius is None else self.radius

    def hand_on(self, k: int) -> None:
        """Copy the weights of step ``k`` to all later steps."""
        for later in self.steps[k + 1 :]:
            later.load_state_dict(self.steps[k].state_dict())

    def init_from(self, weights: Mapping[str, Tensor]) -> dict[str, list[str]]:
        """Like the base class; scale steps missing from ``weights`` get the weights of the last step there.

        Args:
            weights: of zero-shot networks, or, with ``information_gain``, also of ``super_resolution``.
        """
        if self.zoom > 1 and not any(name.startswith(_prefix(0)) for name in weights):
            weights = {_prefix(0) + name: value for name, value in weights.items()}
        report = super().init_from(weights)
        given = [k for k in range(len(self.steps)) if any(name.startswith(_prefix(k)) for name in weights)]
        if given:
            self.hand_on(given[-1])
            later = tuple(_prefix(k) for k in range(given[-1] + 1, len(self.steps)))
            report["missing"] = [name for name in report["missing"] if not name.startswith(later)]
        return report

    def forward(self, lq: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C, scale H, scale W) rounded up; clamped only between scale steps."""
        pred = lq
        for k, network in enumerate(self.steps):
            pred = network(self._input(pred.clamp(0, 1) if k else pred, k, lq))
        return pred

    def enlarge(self, lq: Tensor, *, run: RunNetwork, views: int = ALL_VIEWS, stages: int | None = None) -> Tensor:
        """The best result: in each scale step the self-ensemble over flips and turns, with back-projection, clamped.

        Args:
            lq: float, (1, C, H, W), [0, 1].
            run: applies a network to its input, whole or tile by tile; called :meth:`runs` times for each scale step.
            views: 1, 2, 4 or all 8 flips and turns.
            stages: number of scale steps to run; None for all.

        Returns:
            float, (1, C, h, w), [0, 1].
        """
        pred: Tensor = lq
        for k, network in enumerate(self.steps[:stages]):
            pred = self._ensemble(network, self._input(pred, k, lq), run, views)
            pred = self.back_projected(pred, lq, math.prod(self.factors[: k + 1])).clamp(0, 1)
        return pred

    def runs(self, views: int) -> int:
        """How often :meth:`enlarge` applies a network in each scale step."""
        return views if self.radius is None else 1

    def _ensemble(self, network: StepNetwork, given: Tensor, run: RunNetwork, views: int) -> Tensor:
        """The median of the views, tile by tile, because it needs all views at once; in ``information_gain`` the mean.

        The mean does not, so whole views are run, which the caller sees one by one.
        """
        if self.radius is None:
            return tiling.self_ensemble(lambda view: run(network, view), given, views=views)
        if views == 1:
            return run(network, given)
        return run(lambda tile: tiling.self_ensemble(network, tile, median=True, views=views), given)

    def run(
        self,
        network: tiling.Forward,
        given: Tensor,
        *,
        tile: int | None,
        overlap: int = OVERLAP,
        report: Progress | None = None,
    ) -> Tensor:
        """Run a network on its input, as a whole or in tiles; these have the same result unless they are blended.

        Args:
            network: float (1, C, h, w) -> (1, C, zoom h, zoom w).
            given: float, (1, C, H, W).
            tile: side in pixels of the enlarged image; None for the whole.
            overlap: input pixels around a tile, blended with its neighbours, if the network averages over its input.
            report: called as ``report(tiles done, total tiles)``; may raise to stop.
        """
        if tile is not None:
            halo, blend = (overlap, True) if self.radius is None else (self.radius, False)
            side = max(1, tile // self.zoom)
            return tiling.tiled(network, given, scale=self.zoom, tile=side, halo=halo, blend=blend, progress=report)
        pred: Tensor = network(given)
        if report is not None:
            report(1, 1)
        return pred

    def tile_within(self, size: tuple[int, int], memory_gb: float = 4.0) -> int | None:
        """The largest tile for an enlarged image of (height, width) within ``memory_gb``; None if the whole image fits.

        Raises:
            ValueError: not even the smallest tile fits.
        """
        return tiling.largest_tile(
            size, bytes_per_pixel=self.bytes_per_enlarged_pixel, memory_gb=memory_gb, halo=self.context
        )

    def shrink(self, image: Tensor, factor: float, size: tuple[int, int] | None = None) -> Tensor:
        """Downscale as sons are made from fathers, and as back-projection compares the result with the input.

        Args:
            image: float, (..., C, H, W). factor: above 1.
            size: of the result; by default the sides divided by ``factor``, rounded up.
        """
        if self.kernel is None:
            return resize(image, 1 / factor, size=size)
        return blur_kernels.shrink(image, self.kernel, round(factor))

    def _input(self, pred: Tensor, k: int, lq: Tensor) -> Tensor:
        """The next network's input: ``pred`` after k scale steps, interpolated unless the network enlarges itself."""
        if self.zoom > 1:
            return pred.contiguous(memory_format=torch.channels_last)
        total = math.prod(self.factors[: k + 1])
        size = (new_length(lq.shape[-2], total), new_length(lq.shape[-1], total))
        return resize(pred, self.factors[k], size=size).contiguous(memory_format=torch.channels_last)

    def back_projected(self, pred: Tensor, lq: Tensor, total: float) -> Tensor:
        """Iterative back-projection (Irani and Peleg, "Improving resolution by image registration", CVGIP 53(3), 1991).

        Args:
            pred: float, (1, C, h, w), ``lq`` enlarged by ``total``. lq: float, (1, C, H, W).

        Returns:
            float, (1, C, h, w), not clamped.
        """
        before, least = pred, torch.tensor(torch.inf)
        for _ in range(self.rounds):
            missing = lq - self.shrink(pred, total, (lq.shape[-2], lq.shape[-1]))
            error = missing.square().mean()
            if error >= least:  # rounds diverge for kernels whose spectrum is negative somewhere
                return before
            before, least = pred, error
            pred = pred + resize(missing, total, size=(pred.shape[-2], pred.shape[-1]))
        return pred


def _prefix(k: int) -> str:
    """Prefix of the weights' names of a scale step."""
    return f"networks.{k}."


def _halo(factors: list[float], radius: int) -> int:
    """Receptive radius in lq pixels: that of a network, plus two for the cubic kernel, for each scale step."""
    halo = 0
    for factor in reversed(factors):
        halo = math.ceil((halo + radius) / factor) + 2
    return halo


def _given_kernel(kernel: str | list[list[float]] | None, scale: float) -> Tensor | None:
    """The kernel, float64 (h, w); None for bicubic, or if it is estimated from the image later."""
    if isinstance(kernel, list):
        return torch.tensor(kernel, dtype=torch.float64)
    if kernel == "estimate":
        check_scale(int(scale))
    return None if kernel in (None, "estimate") else read_kernel(kernel, setting="model.kernel")
