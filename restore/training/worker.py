"""One of the processes of a training that :mod:`restore.training.launcher` starts.

Started as ``python -m restore.training.worker <folder of the job> <parent>``.
"""

import ctypes
import functools
import logging
import logging.config
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType

from restore.io.files import read_mapping, write_json
from restore.io.progress import doing


def main(work: Path, parent: int) -> None:
    """Do this process's part of the job; its rank comes from the environment.

    Args:
        work: folder with ``job.yaml``, where a failure is reported. parent: id of the process that started this one.
    """
    _die_with(parent)
    rank = int(os.environ["RANK"])
    sys.excepthook = functools.partial(_report, work, rank)
    job = read_mapping(work / "job.yaml")
    if rank:
        logging.basicConfig(level=logging.ERROR)  # only the first process logs
    else:
        logging.config.dictConfig(job["logging"])

    from omegaconf import OmegaConf

    from restore.distributed.signals import StopRequested

    with doing("loading PyTorch and Lightning"):
        from restore.training.train import train

    resume = None if job["resume"] is None else Path(job["resume"])
    try:
        cfg, folder = OmegaConf.create(job["config"]), Path(job["folder"])
        train(cfg, job["config"], job["overrides"], folder, resume, job.get("started"))
    except StopRequested as stop:
        sys.exit(128 + stop.number)


def _die_with(parent: int) -> None:
    """End this process when its parent ends or is killed."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # <linux/prctl.h>
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    else:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # the parent ended before the request took effect
        os._exit(1)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _report(
    work: Path, rank: int, kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Write an error to a file, not to stderr: after a failure all processes fail, and only the first knows why."""
    from restore.config.errors import USER_ERRORS, sentence

    is_users = isinstance(error, USER_ERRORS)
    words = "" if is_users else "".join(traceback.format_exception(kind, error, trace))
    said = sentence(error) if is_users else f"process {rank}: {kind.__name__}: {error}"
    report = {"time": time.time(), "sentence": said, "traceback": words}
    write_json(work / f"failure_{rank}.json", report)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
