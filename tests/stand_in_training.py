"""Takes the place of ``restore.training.train`` in tests of what starts and ends trainings: imports no torch.

A training that has not been resumed waits for a signal, if the environment names its seed, and leaves a checkpoint.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restore.distributed.signals import ASKING, handled, interrupt
from restore.io.files import write_text
from restore.runs import folder as run_folder
from tests.held_training import first_of_all, mark, wait_until

HELD = "RESTORE_TEST_HELD"  # the seeds, with commas between them


def environment(folder: Path, held: str) -> dict[str, str]:
    """Of processes whose workers train with this; ``folder`` holds what that needs, ``held`` names seeds."""
    code = "import tests.stand_in_training as it; sys.modules['restore.training.train'] = it"
    return dict(os.environ) | first_of_all(folder, "restore.training.worker", code) | {HELD: held}


def train(
    cfg: Any, config: dict[str, Any], overrides: list[str], folder: Path, resume: Path | None, started: float | None
) -> Mapping[str, Any]:
    """See :func:`restore.training.train.train`."""
    run_folder.describe(folder, config, overrides, {})
    if resume is None and str(config["seed"]) in os.environ[HELD].split(","):
        (folder / "checkpoints").mkdir()
        with zipfile.ZipFile(folder / "checkpoints" / "last.ckpt", "w") as archive:
            archive.writestr("step", "1")
        with handled(interrupt, ASKING):
            mark(folder, 0)
            wait_until(lambda: False, "a signal")
    result = {"monitor": "best/none", "value": 1.0, "steps": 6, "seconds": 0.1}
    write_text(folder / "result.json", json.dumps(result))
    return result
