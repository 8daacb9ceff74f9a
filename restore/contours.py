"""``restore contours``: draws contours of photos, the inputs of contour-to-photo translation."""

import logging

from omegaconf import DictConfig

from restore.config.command import command
from restore.config.errors import UserError
from restore.inference import output_paths
from restore.io.errors import SettingError
from restore.io.files import refuse_unwritable
from restore.io.progress import doing

log = logging.getLogger(__name__)


def contours(cfg: DictConfig) -> None:
    """Draw the contours of every photo; bad files are reported, and the others are processed."""
    if cfg.side is not None and cfg.side < 1:
        raise SettingError("side", cfg.side, "at least 1 pixel, or null")
    output_paths.refuse_no_input(cfg.input)
    tasks = output_paths.plan(cfg.input, cfg.output, label="contours")
    for folder in {target.parent for _, target in tasks}:
        refuse_unwritable(folder, [target.name for _, target in tasks if target.parent == folder])
    with doing("loading PyTorch"):
        import numpy as np

        from restore.data.pair_reader import to_side
        from restore.degradations.basic import Canny
        from restore.image import reading, writing
        from restore.image.decoded_image import DecodedImage, to_float

    find = Canny(sigma=cfg.sigma, low=cfg.low, high=cfg.high, thickness=cfg.thickness, dark=cfg.dark)
    failed = []
    for source, target in tasks:
        try:
            photo = to_float(to_side(reading.read_rgb8(source), cfg.side))
            lines, _ = find(photo, np.random.default_rng())
            writing.write(target, DecodedImage.of(lines))
        except (ValueError, OSError) as error:
            failed.append(str(error))
        else:
            log.info("%s", target)
    if failed:
        listed = "\n  ".join(failed)
        raise UserError(f"input: {len(failed)} of {len(tasks)} images could not be read:\n  {listed}")


main = command(contours, "contours", plain_word="input")

if __name__ == "__main__":
    main()
