"""Where the pairs of translation are found and how they are read, in training as in ``restore evaluate``."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from restore.data.ab_folders import Direction, Layout
from restore.data.checks import Checked, check_pairs
from restore.data.labels import Labels
from restore.data.pairs import Pair
from restore.data.translation_dataset import Kept, Reading, TranslationImages

if TYPE_CHECKING:  # see paired_images
    from restore.degradations.basic import Degradation

InputKind = Literal["rgb", "labels"]

MOST_ENLARGED = 4


class Source:
    """The pairs of a data set: where they lie, how a pair is read, at which size it is scored.

    Args: see :class:`restore.data.translation.TranslationData`.

    Attributes:
        layout: finds the pairs.
        reading: reads them.
        side: the shorter side of whole pictures, in pixels, or None for their own.
        smallest_whole: the least side of a file, and what asks for it.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        input_kind: InputKind,
        palette: list[list[int]] | None,
        classes: int | None,
        one_hot: bool,
        snap_distance: float,
        snap_share: float,
        direction: Direction,
        folder_a: str,
        folder_b: str,
        load_size: int | None,
        patch_size: int,
        degradations: "Sequence[Degradation]",
    ) -> None:
        if input_kind not in ("rgb", "labels"):
            raise ValueError(f"data.input_kind is {input_kind}, expected rgb or labels")
        if input_kind == "rgb" and one_hot:
            raise ValueError("data.one_hot is true, but data.input_kind is rgb; set data.input_kind=labels")
        of_labels = {"palette": palette, "classes": classes, "one_hot": one_hot}
        of_snapping = {"snap_distance": snap_distance, "snap_share": snap_share}
        labels = Labels.of(of_labels | of_snapping) if input_kind == "labels" else None
        if labels is not None and degradations:
            raise ValueError(
                "data.degradations make pictures, but data.input_kind is labels; set data.degradations=[], or "
                "data.input_kind=rgb"
            )
        self.layout = Layout(direction=direction, folder_a=folder_a, folder_b=folder_b, is_made=bool(degradations))
        self.reading = Reading(labels=labels, degradations=degradations)
        if in_channels != self.reading.channels:
            raise ValueError(
                f"data.in_channels is {in_channels}, as the model takes them, but these inputs have "
                f"{self.reading.channels} ({input_kind}{', one-hot' if one_hot else ''}); set model.in_channels to "
                "that, or data.one_hot and the classes as in training"
            )
        self.side = None if load_size is None else patch_size
        self.smallest_whole = (
            (11, "SSIM's window")
            if load_size is None
            else (math.ceil(load_size / MOST_ENLARGED), f"data.load_size enlarges it {MOST_ENLARGED} times at most")
        )

    def check(
        self, pairs: list[Pair], *, setting: str, smallest: tuple[int, str] | None = None, kept: Kept | None = None
    ) -> Checked:
        """Look at every file; see :func:`restore.data.checks.check_pairs`.

        Args:
            smallest: in place of the attribute.
            kept: filled with the pairs.
        """
        side, reason = smallest or self.smallest_whole
        seen = kept or Kept(self.reading, self.side, 0)

        def further(pair: Pair) -> list[str]:
            try:
                seen.keep(pair)
            except ValueError as error:  # labels that are none
                return [str(error)]
            return []

        return check_pairs(pairs, 1, smallest_gt=side, reason=reason, further=further, setting=setting)

    def images(self, pairs: list[Pair], *, seed: int = 0) -> TranslationImages:
        """Whole pictures to be scored, at the size of validation."""
        return TranslationImages(pairs, self.reading, side=self.side, seed=seed)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Source":
        """From the arguments of ``TranslationData``, of which those of training are left out."""
        names = cls.__init__.__annotations__.keys() - {"return"}
        return cls(**{name: value for name, value in settings.items() if name in names})
