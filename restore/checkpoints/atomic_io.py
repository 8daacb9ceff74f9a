"""Writes checkpoints so that an undamaged one exists at every moment."""

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
    """Writes a checkpoint with its checksum under a temporary name in the same folder, then renames it.

    The previous ``last.ckpt`` is kept as ``last.prev.ckpt``. (Lightning's own writer copies a temporary file from
    another folder, so that a full disk destroys the previous checkpoint.)
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint; it is serialised first, so that an error in that touches no file.

        Raises:
            OSError: the file cannot be written; earlier checkpoints are unchanged.
        """
        target, content = Path(path), _serialised(checkpoint)
        remove_temporaries(target)  # large ones of a killed run; no other process uses the locked folder
        write_bytes(target, content, before_move=lambda: _keep_previous(target))


def _serialised(checkpoint: dict[str, Any]) -> bytearray:
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return with_checksum(bytearray(buffer.getbuffer()))


def _keep_previous(last: Path) -> None:
    """Give the present file a second name first, so that ``last.ckpt`` exists at every moment."""
    if last.name != LAST or not last.exists():
        return
    previous, second = last.with_name(PREVIOUS), last.with_name(f"{PREVIOUS}.tmp")
    second.unlink(missing_ok=True)  # left by a run that was killed at this point
    try:
        os.link(last, second)
    except OSError:  # no hard links on this file system; a run killed in between resumes from the second name
        os.replace(last, previous)
    else:
        os.replace(second, previous)
        second.unlink(missing_ok=True)  # renaming onto another link to the same file does nothing
