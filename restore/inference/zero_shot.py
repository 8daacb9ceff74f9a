"""Zero-shot super-resolution as a restorer: a network trained on the image itself, or loaded from a checkpoint."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from restore.checkpoints import reader
from restore.config.inference import SCRATCH, Inference, ZeroShotTraining
from restore.config.signatures import split
from restore.data.internal_pairs import CropSettings
from restore.inference.baselines import Bicubic
from restore.inference.checkpoint_names import START
from restore.inference.restorer import Report, Restorer, as_lq, pick_device, use_bf16
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

SMALLEST = 3  # lq pixels; a smaller image contains nothing to learn from
QUICK_TILE = 256  # pixels of the enlarged image; measured 8 % faster than running it whole, and it reports progress
BYTES_PER_PIXEL = 110  # per pixel of the result of bicubic, which works on the whole image in double precision


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
        seen, steps = 0, len(self.network.factors)

        def run(network: tiling.Forward, enlarged: Tensor) -> Tensor:
            nonlocal seen
            seen += 1
            with torch.autocast(self.device.type, torch.bfloat16, enabled=in_bf16):
                return self.network.run(
                    network,
                    enlarged,
                    tile=tile_of(self.network, self.inference, (enlarged.shape[-2], enlarged.shape[-1])),
                    report=lambda done, total: report((seen - 1) * total + done, steps * total),
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


def start_weights(network: ZeroShotNetwork, start: str) -> dict[str, Tensor] | None:
    """The weights from which training on an image starts.

    Args:
        network: before its training. start: see :class:`ZeroShotTraining`.

    Returns:
        Weights by their names in the network; None for ``scratch``.

    Raises:
        FileNotFoundError: no such weights. SettingError: the weights do not fit the network.
    """
    if start == SCRATCH:
        return None
    checkpoint = reader.read(START if start == "photos" else start, setting="zero_shot.start")
    weights = reader.network_weights(checkpoint, "ema")
    if checkpoint["restore"]["method"] != "zero_shot":
        remedy = "set photos, scratch, or a checkpoint of experiment=zero_shot_start"
        raise SettingError("zero_shot.start", start, "weights of zero-shot's own network", remedy)
    shapes = {f"networks.0.{name}": value.shape for name, value in network.steps[0].state_dict().items()}
    if any(name not in weights or weights[name].shape != shape for name, shape in shapes.items()):
        remedy = "leave in_channels, width, depth and kernel_size as they are, or set zero_shot.start=scratch"
        raise SettingError("zero_shot.start", start, "weights that fit zero_shot.model", remedy)
    return weights


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
        SettingError: see :func:`checked_network` and :func:`start_weights`.
    """

    name = "zero_shot"
    trains_on_image = True

    def __init__(self, scale: float, inference: Inference, training: ZeroShotTraining) -> None:
        self.scale, self.inference, self.training = scale, inference, training
        self.device = pick_device(inference.device)
        self.ensemble = inference.ensemble(default=True)
        network = checked_network(scale, training)
        self.halo = network.halo
        self.start = start_weights(network, training.start)

    def _bands(self, image: Tensor, report: Report) -> Iterator[Tensor]:
        """Yield all rows at once; when cancelled or out of time, the best result so far.

        Raises:
            SettingError: the whole result, or a tile, does not fit ``memory_gb``.
        """
        yield self._restored(as_lq(image), report)

    def _restored(self, lq: Tensor, report: Report) -> Tensor:
        self.notes, self.fell_back = {}, False
        if min(lq.shape[1:]) < SMALLEST:
            log.warning("an image of %dx%d px is too small to train on; bicubic is used", *lq.shape[:0:-1])
            return self._bicubic(lq, "in all scale steps: the image is too small to train on")
        begun = time.monotonic()
        most = self.training.max_seconds
        deadline = report.deadline if most is None else min(report.deadline or math.inf, begun + most)
        self.phase = "training"
        from restore.inference.single_image_training import Watch, train, untrained  # slow; counts in max_seconds

        whole = lq if self.source is None else as_lq(self.source)
        training, self.notes = _adapted(self.training, whole, self.scale)
        model = untrained(self.scale, training, self.start)
        steps = model.steps
        steps.deadline, steps.cancel, steps.views = deadline, report.cancel, ALL_VIEWS if self.ensemble else 1
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
