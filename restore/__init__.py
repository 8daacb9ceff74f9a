"""Image restoration: one package, one command line, numbers by protocol."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore.inference.restorer import Restorer

__version__ = "0.1.0"


def load(ckpt_path: str, *, scale: float | None = None, zero_shot: Any = None, **settings: Any) -> "Restorer":
    """Open anything that restores: a checkpoint, shipped weights by name, ``zero_shot`` or ``bicubic``.

    ``restore.load("best.ckpt").restore(image)`` takes and gives float (3, H, W) in [0, 1]. Imported lazily, so
    ``import restore`` stays cheap.

    Args:
        scale: needed by ``zero_shot`` and ``bicubic``.
        zero_shot: how ``zero_shot`` trains, a dict of :class:`restore.config.inference.ZeroShotTraining`'s settings.
        settings: those of :class:`restore.config.inference.Inference`.
    """
    from restore.config.inference import Inference, ZeroShotTraining
    from restore.inference.load import open_restorer

    training = ZeroShotTraining(**(zero_shot or {}))
    return open_restorer(ckpt_path, scale=scale, inference=Inference(**settings), zero_shot=training)
