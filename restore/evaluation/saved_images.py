"""Uses the restored images that an evaluation saves: perceptual scores and contact sheets."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from restore.image import reading, writing
from restore.image.decoded_image import DecodedImage
from restore.image.montage import draw_sheet
from restore.inference.restorer import pick_device
from restore.io.errors import SettingError
from restore.metrics.perceptual import COLUMNS, Perceptual
from restore.metrics.protocols import Protocol
from restore.runs.results import Means


def open_perceptual(
    lpips_weights: str | None, inception_weights: str | None, *, device: str, protocol: Protocol
) -> Perceptual | None:
    """The scores that need weights, any of which may be unavailable; None if the protocol has no such scores.

    Raises:
        SettingError: weights for a protocol without such scores; see also :meth:`Perceptual.open`.
    """
    if protocol.has_perceptual:
        return Perceptual.open(lpips_weights, inception_weights, pick_device(device))
    for key, path in {"lpips_weights": lpips_weights, "inception_weights": inception_weights}.items():
        if path is not None:
            raise SettingError(
                key, path, f"null, because protocol={protocol.name} has no score that needs it", "leave it out"
            )
    return None


def add_perceptual(means: Means, perceptual: Perceptual, sets: dict[str, Any], images: Path | None) -> None:
    """Add the perceptual scores of each restorer and benchmark to its means; None if there are no weights.

    Args:
        images: folder of the restored images; None only if there are no weights at all.
    """

    def pairs(who: str, benchmark: str) -> Iterator[tuple[Tensor, Tensor]]:
        assert images is not None
        for k in range(len(sets[benchmark])):
            sample = sets[benchmark][k]
            file = images / who / benchmark / f"{sample['name']}.png"
            yield reading.read_rgb8(file), DecodedImage.of(sample["gt"]).pixels

    for who, benchmarks in means.items():
        for benchmark, scores in benchmarks.items():
            scores.update(perceptual.score(pairs(who, benchmark)) if perceptual else dict.fromkeys(COLUMNS))


def draw_sheets(images: Path, names: Sequence[str], sets: dict[str, Any], folder: Path) -> None:
    """For each image, draw the region where the first restorer is worst: as restored by each one, then the reference.

    Args:
        images: folder of the restored images. names: of the restorers. folder: output folder for the sheets.
    """
    for benchmark, dataset in sets.items():
        for k in range(len(dataset)):
            sample = dataset[k]
            file = f"{sample['name']}.png"
            restored = [reading.read(images / name / benchmark / file).rgb() for name in names]
            sheet = draw_sheet([*restored, sample["gt"].expand(3, -1, -1)])
            writing.write(folder / benchmark / file, DecodedImage.of(sheet))
