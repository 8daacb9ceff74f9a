"""Image restoration: one package, one command line, numbers by protocol."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore.restorers import Restorer

__version__ = "0.1.0"


def load(ckpt_path: str, **settings: Any) -> "Restorer":
    """Open anything that restores: a checkpoint, or ``bicubic`` with ``scale=...``.

    ``restore.load("best.ckpt").restore(image)`` takes and gives float (3, H, W) in [0, 1]. Settings are those of
    :class:`restore.restorers.Inference`. Imported lazily, so ``import restore`` stays cheap.
    """
    from restore.inference import Inference
    from restore.restorers import open_restorer

    scale = settings.pop("scale", None)
    return open_restorer(ckpt_path, scale=scale, inference=Inference(**settings))
