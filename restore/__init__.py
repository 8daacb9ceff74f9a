"""Image restoration: one package, one command line, numbers by protocol."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore.inference.restorer import Restorer

__version__ = "0.1.0"


def load(ckpt_path: str, *, scale: float | None = None, zero_shot: Any = None, **settings: Any) -> "Restorer":
    """Open a restorer: a checkpoint, shipped weights by name, ``zero_shot`` or ``bicubic``.

    ``restore.load("best.ckpt").restore(image)`` takes and returns float (3, H, W) in [0, 1]. Imports are deferred, so
    ``import restore`` stays fast.

    Args:
        scale: required by ``zero_shot`` and ``bicubic``.
        zero_shot: settings of ``zero_shot``, a dict with the fields of
            :class:`restore.config.inference.ZeroShotTraining`.
        settings: fields of :class:`restore.config.inference.Inference`.
    """
    from restore.config.inference import Inference, ZeroShotTraining
    from restore.inference.load import open_restorer

    training = ZeroShotTraining(**(zero_shot or {}))
    return open_restorer(ckpt_path, scale=scale, inference=Inference(**settings), zero_shot=training)
