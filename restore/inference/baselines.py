"""The baselines that tables compare networks with: bicubic enlargement, and the unchanged input."""

from collections.abc import Iterator

from torch import Tensor

from restore.inference.restorer import Report, Restorer, as_lq
from restore.io.errors import SettingError
from restore.ops.resize import enlarge


class Bicubic(Restorer):
    """MATLAB's bicubic enlargement, the baseline of every super-resolution table.

    Args:
        scale: at least 1, need not be an integer.

    Raises:
        SettingError: the scale is below 1.
    """

    name = "bicubic"
    halo = 2

    def __init__(self, scale: float) -> None:
        if not 1 <= scale <= 16:
            raise SettingError("scale", f"{scale:g}", "at least 1 and at most 16")
        self.scale = scale

    def _bands(self, image: Tensor, report: Report) -> Iterator[Tensor]:
        """Yield all rows at once."""
        report(0, 1)
        pred = enlarge(as_lq(image), self.scale)
        report(1, 1)
        yield pred


class Identity(Restorer):
    """Returns its input, so its score is that of the degraded image: the baseline at scale 1."""

    name = "identity"
    scale = 1
    halo = 0
    protocol = "deblur_rgb"

    def _bands(self, image: Tensor, report: Report) -> Iterator[Tensor]:
        report(0, 1)
        report(1, 1)
        yield as_lq(image)
