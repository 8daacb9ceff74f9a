"""Finds the file that a setting such as ``ckpt_path`` names; does not import torch, so a wrong name fails at once."""

import difflib
from collections.abc import Sequence
from pathlib import Path

LAST, PREVIOUS, BEST = "last.ckpt", "last.prev.ckpt", "best.ckpt"  # in the folder ``checkpoints/`` of a run
SHIPPED = Path(__file__).parent.parent / "weights"


def shipped() -> dict[str, Path]:
    """Files of the shipped weights, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.safetensors"))}


def locate(path: str | Path) -> Path:
    """The file that ``path`` names: shipped weights by their name, any other file by its path."""
    return shipped().get(str(path), Path(path))


def refuse_missing(path: Path, setting: str, *, others: Sequence[str] = ()) -> None:
    """Refuse a path that is not a file.

    Args:
        path: from :func:`locate`. setting: name of the setting, for the error.
        others: other values that the setting accepts, used for suggestions.

    Raises:
        FileNotFoundError: no such file; the closest name is suggested.
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
