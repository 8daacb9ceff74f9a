"""Writes checkpoints so that there is a sound one at every moment."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from restore.checkpoints.checksum import with_checksum
from restore.checkpoints.locate import LAST, PREVIOUS
from restore.io.files import remove_temporaries, write_bytes


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint with its checksum under a temporary name in the same folder, then moves it.

    The ``last.ckpt`` before it stays as ``last.prev.ckpt``. (Lightning's own writer puts a temporary file elsewhere and
    copies it; a full disk then destroys the file before.)
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Serialise first, so that what cannot be serialised touches no file.

        Raises:
            OSError: it cannot be written; the checkpoints from before are untouched.
        """
        target, content = Path(path), _serialised(checkpoint)
        remove_temporaries(target)  # the run's folder is locked: they are of a run that was killed, and large
        write_bytes(target, content, before_move=lambda: _keep_previous(target))


def _serialised(checkpoint: dict[str, Any]) -> bytearray:
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return with_checksum(bytearray(buffer.getbuffer()))


def _keep_previous(last: Path) -> None:
    """Give the present file the second name first, so that ``last.ckpt`` exists without a gap."""
    if last.name != LAST or not last.exists():
        return
    previous, second = last.with_name(PREVIOUS), last.with_name(f"{PREVIOUS}.tmp")
    second.unlink(missing_ok=True)  # of a run that was killed just here
    try:
        os.link(last, second)
    except OSError:  # a file system without hard links; a run killed in the gap resumes from the second name
        os.replace(last, previous)
    else:
        os.replace(second, previous)
        second.unlink(missing_ok=True)  # moving one name of a file onto another name of it does nothing
