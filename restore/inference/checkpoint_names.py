"""What ``ckpt_path`` can name, and its short name in tables and folders; known without torch."""

from pathlib import Path

from restore.checkpoints.locate import locate, refuse_missing, shipped
from restore.io.errors import SettingError

ENLARGERS = ("zero_shot", "bicubic")  # take any scale, and have none of their own
MOST_SCALE = 16
BASELINES = (*ENLARGERS, "identity")
START = "zero_shot_start"  # the weights of zero_shot.start=photos
AUTO = "auto"  # weights of the package chosen by the image, zero_shot for a scale that has none


def needs_scale(ckpt_path: str) -> bool:
    """Whether it enlarges by any factor, which must be given."""
    return ckpt_path in ENLARGERS


def refuse_unknown(ckpt_path: str, scale: float | None, *, setting: str = "ckpt_path") -> None:
    """Refuse a name or file that does not exist, and one without the scale that it needs.

    Args:
        ckpt_path: what is named. scale: as the command was given it. setting: that names ``ckpt_path``, for errors.

    Raises:
        FileNotFoundError, SettingError
    """
    if needs_scale(ckpt_path):
        needed_scale(ckpt_path, scale)
    elif ckpt_path == AUTO:
        if not auto_weights(scale):
            needed_scale("zero_shot", scale)
    elif ckpt_path not in BASELINES:
        refuse_missing(locate(ckpt_path), setting, others=(*BASELINES, AUTO))


def auto_weights(scale: float | None) -> list[str]:
    """Names of the weights that ``auto`` chooses from: for clean images, then for damaged photos, if they are there.

    Args:
        scale: None: 2.
    """
    factor = f"x{2 if scale is None else scale:g}"
    return [name for name in (f"super_resolution_{factor}", f"super_resolution_photo_{factor}") if name in shipped()]


def needed_scale(ckpt_path: str, scale: float | None) -> float:
    """The scale of what has none of its own.

    Raises:
        SettingError: it is not given, or too small or too large.
    """
    if scale is None:
        remedy = " or ".join(f"ckpt_path={name}" for name in shipped() if name != START)
        raise SettingError(
            "scale",
            "not given",
            f"a number, because ckpt_path={ckpt_path} has none of its own",
            f"set scale=2, for example, or name weights that have one, {remedy}",
        )
    is_too_small = scale <= 1 if ckpt_path == "zero_shot" else scale < 1
    if is_too_small or not scale <= MOST_SCALE:
        least = "above 1" if ckpt_path == "zero_shot" else "at least 1"
        raise SettingError("scale", f"{scale:g}", f"{least} and at most {MOST_SCALE}, because of ckpt_path={ckpt_path}")
    return scale


def restorer_name(ckpt_path: str) -> str:
    """A short name for tables and folders: ``bicubic``, or the file's, after its run's name and id."""
    if ckpt_path in (*BASELINES, AUTO) or ckpt_path in shipped():
        return ckpt_path
    path = Path(ckpt_path).resolve()
    if path.parent.name != "checkpoints":
        return path.stem
    run = path.parent.parent
    return f"{run.parent.name}_{run.name}_{path.stem}"
