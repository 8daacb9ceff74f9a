"""``restore serve``: a web page and an HTTP API for the restorations of ``predict``."""

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from restore.config.command import command
from restore.config.errors import UserError
from restore.distributed.signals import stopping
from restore.inference import checkpoint_names
from restore.io.progress import doing
from restore.io.temporaries import temporary_folder
from restore.io.wording import counted

if TYPE_CHECKING:
    from restore.web.limits import Limits

log = logging.getLogger(__name__)


def serve(cfg: DictConfig) -> None:
    """Open the methods to serve, then answer requests until a signal arrives."""
    missing = [each for each in ("fastapi", "gradio", "uvicorn") if find_spec(each) is None]
    if missing:
        install = "pip install -c constraints.txt '.[serve]'"
        raise UserError(f"{', '.join(missing)} is missing, which the page needs; in a checkout: {install}")
    from restore.web import isolated_process, server, worker
    from restore.web.limits import Limits, own_names

    limits = Limits.of(cfg)
    listening = server.listen(cfg.host, cfg.port)
    for _, path in worker.named_checkpoints(cfg.ckpt_path):
        checkpoint_names.refuse_unknown(path, cfg.scale)  # before torch and Gradio are imported
    processes = isolated_process.context()
    with (
        ThreadPoolExecutor(1) as pool,
        temporary_folder("restore_serve_") as folder,
        stopping() as signalled,
    ):
        opening = pool.submit(_menu, cfg, processes, limits, signalled)  # while Gradio is imported
        # Gradio reads these at import
        os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(folder / "page"))
        with doing("opening the weights and loading the page"):
            from restore.web import app, page
            from restore.web.jobs import Jobs
            from restore.web.middleware import LimitsMiddleware

            menu = opening.result()
        if menu:  # empty after a signal
            jobs = Jobs(cfg, limits, folder / "jobs", processes)
            application = page.mount(app.build(jobs, menu, limits, cfg.seed), menu, limits)
            host = f"[{cfg.host}]" if ":" in cfg.host else cfg.host
            log.info(
                "serving %s on http://%s:%d (Ctrl-C ends it)",
                counted(len(menu), "method"),
                host,
                listening.getsockname()[1],
            )
            if not signalled():
                server.run(LimitsMiddleware(application, limits, own_names(cfg)), limits, listening)
    if signalled():
        raise SystemExit(128 + signalled())


def _menu(cfg: DictConfig, processes: Any, limits: "Limits", signalled: Callable[[], int]) -> list[dict[str, Any]]:
    """The methods to serve, opened in another process, so that this one stays small."""
    from restore.web import isolated_process, worker

    try:
        opened = isolated_process.run(
            processes,
            worker.menu,
            cfg,
            report=lambda *_: None,
            cancelled=lambda: bool(signalled()),
            timeout=limits.timeout,
        )
    except isolated_process.TaskError as problem:
        raise UserError(problem.sentence) from problem
    except isolated_process.TaskEnded as ended:
        if ended.reason == "cancelled" or _arrives(signalled):
            return []
        raise UserError(f"ckpt_path could not be opened: {ended.reason} (timeout={limits.timeout:g})") from ended
    for why in opened["passed_over"]:
        log.warning("skipped: %s", why)
    return list(opened["menu"])


def _arrives(signalled: Callable[[], int]) -> bool:
    """Whether a signal ended the process; a signal to the whole group reaches it before our handler has run."""
    patience = time.monotonic() + 2
    while not signalled() and time.monotonic() < patience:
        time.sleep(0.05)
    return bool(signalled())


main = command(serve, "serve")

if __name__ == "__main__":
    main()
