"""Zero-shot super-resolution as a restorer: a network trained on the image itself, or loaded from a checkpoint."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from restore.config.inference import Inference, ZeroShotTraining
from restore.config.signatures import split
from restore.data.internal_pairs import CropSettings
from restore.inference.baselines import Bicubic
from restore.inference.restorer import Report, Restorer, as_lq, pick_device, use_bf16
from restore.inference.zero_shot_start import Start, opened_start
from restore.io.errors import SettingError
from restore.models.settings import arguments_as_settings
from restore.models.zero_shot.degradation import measured
from restore.models.zero_shot.network import ALL_VIEWS, ZeroShotNetwork
from restore.models.zero_shot.plan import Plan
from restore.models.zero_shot.reconstruction import back_projection_helps
from restore.models.zero_shot.settings import TrainingSettings
from restore.ops import tiling
from restore.ops.resize import new_length

log = logging.getLogger(__name__)

BICUBIC = "bicubic used"  # key of the note on where bicubic was used; readable, because tables and the page show it

SMALLEST = 3  # pixels of the input of a network; a smaller image contains nothing to learn from
MOST_ENSEMBLED = 16e6  # pixels of a result for which self_ensemble=auto takes all views; eight take minutes above
QUICK_TILE = 256  # pixels of the enlarged image; measured 8 % faster than running it whole, and it reports progress
BYTES_PER_PIXEL = 75  # per pixel of the result: back-projection was measured to take 58 beside the result itself


class ZeroShotNetworkRestorer(Restorer):
    """Enlarges with networks trained on one image: gradual scale steps, self-ensemble by median, back-projection.

    Args:
        name: for tables and file names.
        network: trained.
        inference: how to run it; ``tile`` is in lq pixels.
    """

    def __init__(self, name: str, network: ZeroShotNetwork, inference: Inference) -> None:
        self.name, self.inference = name, inference
        self.device = pick_device(inference.device)
        self.network = network.eval().to(self.device)
        self.scale, self.in_channels, self.halo = network.scale, network.in_channels, network.halo
        self.protocol = network.protocol
        self.ensemble = inference.ensemble(default=True)
        self.views = ALL_VIEWS if self.ensemble else 1

    def _bands(self, image: Tensor, report: Report) -> Iterator[Tensor]:
        """Yield all rows at once."""
        report(0, 1)
        self.phase = "enlarging"
        in_bf16 = use_bf16(self.inference.precision, self.device.type)
        batch = as_lq(image)[None].to(self.device, torch.float32)
        seen, runs = 0, len(self.network.factors) * self.network.runs(self.views)

        def run(network: tiling.Forward, given: Tensor) -> Tensor:
            nonlocal seen
            seen += 1
            with torch.autocast(self.device.type, torch.bfloat16, enabled=in_bf16):
                size = self.network.zoom * given.shape[-2], self.network.zoom * given.shape[-1]
                return self.network.run(
                    network,
                    given,
                    tile=tile_of(self.network, self.inference, size),
                    overlap=self.inference.tile_overlap,
                    report=lambda done, total: report((seen - 1) * total + done, runs * total),
                ).float()

        with torch.inference_mode():
            pred = self.network.enlarge(batch, run=run, views=self.views)[0]
        yield pred.to("cpu", torch.float32)


def tile_of(network: ZeroShotNetwork, inference: Inference, size: tuple[int, int]) -> int | None:
    """The tile side for an enlarged image of (height, width), in its pixels; None to run it as a whole.

    Raises:
        ValueError: no tile fits ``memory_gb``.
    """
    choice = str(inference.tile)
    if choice == "none":
        return None
    if choice != "auto":
        return max(1, round(int(choice) * network.scale))
    largest = network.tile_within(size, inference.memory_gb)
    if network.radius is None:  # tiles change the result of a network that averages over its input
        return largest
    return largest if max(size) <= QUICK_TILE else min(largest or QUICK_TILE, QUICK_TILE)


def checked_network(scale: float, training: ZeroShotTraining) -> ZeroShotNetwork:
    """The network before its training, built without Lightning, to report wrong settings before the first image.

    Raises:
        SettingError: a setting of the model or of its data in ``training`` is invalid.
    """
    of_network, of_training = split((ZeroShotNetwork, TrainingSettings), training.model, "zero_shot.model")
    (of_crops,) = split((CropSettings,), training.data, "zero_shot.data")
    with _named_as_given(), arguments_as_settings(), torch.random.fork_rng():
        TrainingSettings(**of_training)
        CropSettings(**of_crops)
        return ZeroShotNetwork(scale=scale, **of_network)


@contextmanager
def _named_as_given() -> Iterator[None]:
    """Within the block, errors name settings by their keys in inference, not in ``fit``."""
    try:
        yield
    except SettingError as error:
        raise SettingError(_as_given(error.key), error.got, error.expected, error.remedy) from error
    except (ValueError, OSError) as error:
        raise type(error)(_as_given(str(error))) from error


def _as_given(text: str) -> str:
    """Replace a key of ``fit`` at the start of a text by the key in inference."""
    if text == "model.scale":
        return "scale"
    return f"zero_shot.{text}" if text.startswith(("model.", "data.")) else text


class ZeroShotRestorer(Restorer):
    """Trains on each image, then enlarges it. When cancelled or out of time, it returns the best result so far.

    Args:
        scale: above 1, need not be an integer.
        inference: how the network runs. training: how it trains.

    Raises:
        SettingError: see :func:`checked_network` and :func:`opened_start`.
    """

    name = "zero_shot"
    trains_on_image = True

    def __init__(self, scale: float, inference: Inference, training: ZeroShotTraining) -> None:
        self.scale, self.inference, self.training = scale, inference, training
        self.device = pick_device(inference.device)
        self.ensemble = inference.ensemble(default=True)
        checked_network(scale, Start(None).settings(training))  # names the settings as they were given
        self.start = opened_start(scale, training)
        network = checked_network(scale, self.start.settings(training))
        self.halo, self.zoom = network.halo, network.zoom

    def _bands(self, image: Tensor, report: Report) -> Iterator[Tensor]:
        """Yield all rows at once; when cancelled or out of time, the best result so far.

        Raises:
            SettingError: the whole result, or a tile, does not fit ``memory_gb``.
        """
        yield self._restored(as_lq(image), report)

    def _restored(self, lq: Tensor, report: Report) -> Tensor:
        self.notes, self.fell_back = {}, False
        whole = lq if self.source is None else as_lq(self.source)
        if min(lq.shape[1:]) < SMALLEST or min(whole.shape[1:]) < SMALLEST * self.zoom:
            log.warning("an image of %dx%d px is too small to train on; bicubic is used", *lq.shape[:0:-1])
            return self._bicubic(lq, "in all scale steps: the image is too small to train on")
        begun = time.monotonic()
        most = self.training.max_seconds
        deadline = report.deadline if most is None else min(report.deadline or math.inf, begun + most)
        self.phase = "training"
        from restore.inference.single_image_training import Watch, train, untrained  # slow; counts in max_seconds

        training, self.notes = _adapted(self.training, whole, self.scale)
        training = self.start.settings(training)
        model = untrained(self.scale, training, self.start.weights)
        steps = model.steps
        steps.deadline, steps.cancel, steps.views = deadline, report.cancel, self._views(lq, deadline)
        steps.tile = lambda size: tile_of(model.network, self.inference, size)
        self._refuse_too_large(lq, steps.tile)
        in_bf16, watch = use_bf16(self.inference.precision, self.device.type), Watch(report.progress, deadline)
        train(model, whole, training, self.device, use_bf16=in_bf16, watch=watch, part=lq.float())
        if steps.too_short is not None and deadline is not None:
            reason = _too_short(steps.too_short, deadline - begun, time.monotonic() - begun)
            log.warning("max_seconds: %s; bicubic is used", reason)
            return self._bicubic(lq, f"throughout, {reason}")
        if steps.fell_back:
            numbers = ", ".join(map(str, steps.fell_back))
            self.notes |= {BICUBIC: f"in scale step {numbers}, where training did not clearly beat it"}
        if len(steps.fell_back) == len(steps.records):
            return self._fallen_back(lq, model.network, self.notes[BICUBIC])
        trained = ZeroShotNetworkRestorer(self.name, model.network, self.inference)
        trained.views = steps.views_left()
        self.phase = "enlarging"
        return trained.restore(lq, progress=report.progress)

    def _views(self, lq: Tensor, deadline: float | None) -> int:
        """Maximum views; one for a large result unless there is a time limit, by which they are planned."""
        pixels = math.prod(new_length(length, self.scale) for length in lq.shape[1:])
        if self.inference.self_ensemble != "auto" or deadline is not None or pixels <= MOST_ENSEMBLED:
            return ALL_VIEWS if self.ensemble else 1
        why = f"the result has {pixels / 1e6:.0f} megapixels"
        self.notes = {**self.notes, "views": f"1 of 8, because {why}; self_ensemble=true takes all"}
        return 1

    def _bicubic(self, lq: Tensor, why: str) -> Tensor:
        self.notes, self.fell_back = {BICUBIC: why}, True
        return Bicubic(self.scale).restore(lq)

    def _fallen_back(self, lq: Tensor, network: ZeroShotNetwork, why: str) -> Tensor:
        """Bicubic, with back-projection if that improves the result on the image itself."""
        if not back_projection_helps(network, lq):
            return self._bicubic(lq, why)
        pred = self._bicubic(lq, f"{why}, with back-projection")
        return network.back_projected(pred[None], lq[None], network.scale).clamp(0, 1)[0]

    def _refuse_too_large(self, lq: Tensor, tile: Callable[[tuple[int, int]], int | None]) -> None:
        """Refuse, before training, an image whose whole result or smallest tile needs more than ``memory_gb``."""
        height, width = (new_length(length, self.scale) for length in lq.shape[1:])
        tile((height, width))
        needed = height * width * BYTES_PER_PIXEL / 2**30
        if needed > self.inference.memory_gb:
            expected = f"about {needed:.1f}, because zero-shot keeps its whole result of {width}x{height} px in memory"
            remedy = f"set memory_gb={needed + 0.05:.1f} if the machine has as much, or shrink the image"
            raise SettingError("memory_gb", f"{self.inference.memory_gb:g}", expected, remedy)


def _adapted(training: ZeroShotTraining, image: Tensor, scale: float) -> tuple[ZeroShotTraining, dict[str, str]]:
    """The settings adapted to an image, float (3, H, W), and what was measured, in words."""
    if training.degradation == "given":
        return training, {}
    found = measured(image, scale)
    model, data = found.settings(training.model, training.data)
    return replace(training, degradation="given", model=model, data=data), found.notes


def _too_short(plan: Plan, allowed: float, passed: float) -> str:
    """Explain why a time limit is too short.

    Args:
        allowed: seconds in total. passed: seconds used when ``plan`` was made.
    """
    return (
        f"{allowed:.3g} s allow about {plan.steps} training steps for this image on this machine now, but a result "
        f"better than bicubic takes {plan.least}; set {math.ceil(passed + plan.needed)} s, or use trained weights, "
        "such as ckpt_path=super_resolution_x2"
    )
