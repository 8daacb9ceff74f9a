"""Finds the file that a setting such as ``ckpt_path`` means; imports no torch, so that a wrong name ends at once."""

import difflib
from collections.abc import Sequence
from pathlib import Path

LAST, PREVIOUS, BEST = "last.ckpt", "last.prev.ckpt", "best.ckpt"  # in the folder ``checkpoints/`` of a run
SHIPPED = Path(__file__).parent.parent / "weights"


def shipped() -> dict[str, Path]:
    """Name -> file of the weights that come with the package."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.safetensors"))}


def locate(path: str | Path) -> Path:
    """The file meant: one that comes with the package, by its name, or any by its path."""
    return shipped().get(str(path), Path(path))


def refuse_missing(path: Path, setting: str, *, others: Sequence[str] = ()) -> None:
    """Refuse what is not a file.

    Args:
        path: as :func:`locate` gives it. setting: named in the error.
        others: further names that the setting takes, to be suggested.

    Raises:
        FileNotFoundError: no such file; the nearest name is suggested.
    """
    if path.is_file():
        return
    best = path / "checkpoints" / BEST
    if best.is_file():
        raise FileNotFoundError(f"{setting}: {path} is a run's folder, expected a checkpoint; set {setting}={best}")
    close = difflib.get_close_matches(str(path), [*shipped(), *others], 1)
    if close:
        raise FileNotFoundError(
            f"{setting}: {path} is neither a file nor a known name; did you mean {close[0]}? "
            f"Known are {', '.join(shipped())}"
        )
    names = "".join(f", or {name}" for name in shipped())
    raise FileNotFoundError(
        f"{setting}: {path} is not a file, expected a checkpoint, "
        f"for example outputs/<name>/<run_id>/checkpoints/best.ckpt{names}"
    )
