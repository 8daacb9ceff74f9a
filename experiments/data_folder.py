"""The folder of the studies' data."""

import os
import sys
from pathlib import Path


def data_folder() -> Path:
    """The folder named by ``RESTORE_DATA``, read when it is needed, so that ``--help`` works without it."""
    given = os.environ.get("RESTORE_DATA")
    if not given:
        sys.exit("RESTORE_DATA is not set, expected the folder of the data; export RESTORE_DATA=<folder>")
    return Path(given)
