"""Takes the place of ``draw_curves``, which takes a quarter of the time of a small training."""

from pathlib import Path

from PIL import Image


def one_pixel(rows: object, target: Path, *others: object) -> None:
    """Draws no curve."""
    Image.new("L", (1, 1)).save(target)


def use() -> None:
    """In a process of its own, which has imported Lightning."""
    from restore.callbacks import curves

    setattr(curves, "draw_curves", one_pixel)  # noqa: B010  an assignment would need its type
