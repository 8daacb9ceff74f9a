"""Where the training of zero-shot super-resolution on an image starts: weights, and the settings that suit them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from restore.checkpoints import reader
from restore.config.inference import ZeroShotTraining
from restore.inference.checkpoint_names import of_published_network, start_weights
from restore.io.errors import SettingError
from restore.models.loading import network_arguments, network_of
from restore.models.zero_shot.network import ZeroShotNetwork

SETTING = "zero_shot.start"

# Measured on three images of Set5 at x2, 100 steps from super_resolution_x2: four crops of 64 px are 0.04 dB better
# than one of 128 px; with one of 128 px, a learning rate of 3e-4 is 0.05 dB better than 1e-3, because the weights know
# bicubic downscaling. On eight photos blurred before downscaling, 1e-3 is 0.2 dB better. On Set5, the mean with the
# starting weights is 0.02, 0.04 and 0.13 dB better at x2, x3 and x4 than the trained weights alone; shares of 0.25 and
# 0.75 are not better than 0.5 by more than 0.01 dB.
CROPS = {"patch_size": 64, "batch_size": 4}
LR_BICUBIC, LR_OTHER = 3e-4, 1e-3
SHARE_BICUBIC = 0.5

# From random weights, more and smaller crops learn more in the same time (experiments/zero_shot, section 2); the window
# of the learning-rate policy holds as many pixels as the published one.
SCRATCH_MODEL = {"lr_decay_range": 1800}
SCRATCH_CROPS = {"patch_size": 48}
NULLS = ("lr", "lr_decay_range", *CROPS)  # settings that may be null in inference; then the start chooses them


@dataclass(frozen=True)
class Start:
    """Initial weights, and the network that they require.

    Attributes:
        weights: by their names in :class:`ZeroShotNetwork`; None: random ones.
        information_gain: its argument of this name.
    """

    weights: Mapping[str, Tensor] | None
    information_gain: Mapping[str, Any] | None = None

    def settings(self, training: ZeroShotTraining) -> ZeroShotTraining:
        """The settings of a training from this start, with values for those that are null."""
        model, data = (_without_nulls(each) for each in (training.model, training.data))
        if self.information_gain is not None:
            is_bicubic = model.get("kernel") is None and not data.get("noise")
            model = {"lr": LR_BICUBIC if is_bicubic else LR_OTHER} | model | {"information_gain": self.information_gain}
            data = CROPS | data
            if training.start_share is None and is_bicubic:
                training = replace(training, start_share=SHARE_BICUBIC)
        elif self.weights is None:
            model, data = SCRATCH_MODEL | model, SCRATCH_CROPS | data
        return replace(training, model=model, data=data)


def _without_nulls(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None or key not in NULLS}


def opened_start(scale: float, training: ZeroShotTraining) -> Start:
    """Read the weights from which training starts.

    Raises:
        FileNotFoundError: no such weights. SettingError: the file is damaged, or its weights belong to another method,
            another scale or another network than ``zero_shot.model`` describes.
    """
    path = start_weights(training.start, scale, training.model)
    if path is None:
        return Start(None)
    checkpoint = reader.read(path, setting=SETTING)
    method = checkpoint["restore"]["method"]
    if method not in ("zero_shot", "super_resolution"):
        remedy = "set photos, scratch, or a checkpoint of super_resolution or of experiment=zero_shot_start"
        raise SettingError(SETTING, training.start, "weights of zero_shot or super_resolution", remedy)
    arguments = network_arguments(checkpoint, path)
    of_scale = arguments.pop("scale")
    found = arguments if method == "super_resolution" else arguments["information_gain"]
    given = training.model.get("information_gain")
    if given not in (None, found):
        expected = "null, because the start says which network it belongs to"
        raise SettingError("zero_shot.model.information_gain", given, expected, "leave it out")
    if found is None:
        return Start(_of_published_network(reader.network_weights(checkpoint, "ema"), scale, training))
    changed = of_published_network(training.model)
    if changed:
        expected = f"weights of the published network, because zero_shot.model.{changed[0]} is set"
        raise SettingError(SETTING, training.start, expected, f"leave {changed[0]} out, or set zero_shot.start=scratch")
    if of_scale != scale:
        remedy = "set another start, or scratch"
        raise SettingError(
            SETTING, training.start, f"weights for scale={scale:g}, but they are for {of_scale:g}", remedy
        )
    weights = network_of(checkpoint, path).state_dict()
    prefix = "networks.0." if method == "super_resolution" else ""
    return Start({prefix + name: value for name, value in weights.items()}, found)


def _of_published_network(weights: dict[str, Tensor], scale: float, training: ZeroShotTraining) -> dict[str, Tensor]:
    """The weights, if they fit the network that ``zero_shot.model`` describes."""
    sizes = {
        key: value for key, value in training.model.items() if key in ("in_channels", "width", "depth", "kernel_size")
    }
    step = ZeroShotNetwork(**sizes).steps[0]
    shapes = {f"networks.0.{name}": value.shape for name, value in step.state_dict().items()}
    if any(name not in weights or weights[name].shape != shape for name, shape in shapes.items()):
        remedy = "leave in_channels, width, depth and kernel_size as they are, or set zero_shot.start=scratch"
        raise SettingError(SETTING, training.start, "weights that fit zero_shot.model", remedy)
    return weights
