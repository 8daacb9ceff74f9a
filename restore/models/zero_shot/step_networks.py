"""The networks that a scale step of zero-shot super-resolution can train."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from restore.io.errors import SettingError
from restore.networks.information_gain import InformationGainNetwork
from restore.networks.zssr import ZSSRNetwork

SCALES = (2, 3, 4, 8)  # of InformationGainStep


class InformationGainStep(InformationGainNetwork):
    """The network of ``super_resolution`` in a scale step: unlike :class:`ZSSRNetwork`, it enlarges its input itself.

    Args:
        scale: one of :data:`SCALES`. arguments: others of :class:`InformationGainNetwork`.

    Raises:
        SettingError: another scale; or without ``image_skip=bicubic``, because there is no interpolation then that the
            network could fall back to.
        ValueError: an argument that the network does not accept.
    """

    def __init__(self, *, scale: float, **arguments: Any) -> None:
        if scale not in SCALES:
            expected = "2, 3, 4 or 8 with model.information_gain"
            raise SettingError("model.scale", f"{scale:g}", expected, "set such a scale, or leave information_gain out")
        if arguments.get("image_skip") != "bicubic":
            expected = "bicubic, to which zero-shot falls back"
            remedy = "use weights that were trained with model.image_skip=bicubic"
            raise SettingError("model.information_gain.image_skip", arguments.get("image_skip"), expected, remedy)
        super().__init__(scale=round(scale), **arguments)

    def interpolate_only(self) -> None:
        """Set the output layer to zero, so that the result is the bicubically enlarged input."""
        assert self.tail.bias is not None
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)


StepNetwork = ZSSRNetwork | InformationGainStep


def mean_weights(trained: Mapping[str, Tensor], start: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The weighted mean of trained weights and those that their training started from.

    Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022: between the two, a network has learnt what is
    new and has not yet forgotten what it knew.

    Args:
        trained, start: by name. share: of ``start``; 0 to leave it out, which may then be empty.
    """
    return {name: value.lerp(start[name], share) if share else value for name, value in trained.items()}
