import contextlib
import functools
import gc
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageFilter

from restore.data.embedded_photos import EMBEDDED
from tests import small_photos
from tests.fork_server import IMPORTED
from tests.stand_in_curves import one_pixel

if TYPE_CHECKING:
    from playwright.sync_api import Browser

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # background jobs of a shell ignore Ctrl-C, and so would their children; the tests send it to themselves
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tensors are small, so threads would only wait for each other

LONGEST = ("tests/test_slurm.py", "tests/web/test_hostile.py", "tests/test_docs.py")  # each contains a test of a minute


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files with slow tests first, the longest ahead, because a long test that began last would run alone.

    Tests that need the page's server are adjacent, so that fewer processes start one.
    """
    slow = {_file(item) for item in items if item.get_closest_marker("slow")}
    places = {file: place for place, file in enumerate(LONGEST)}

    def place(item: pytest.Item) -> tuple[int, bool]:
        needs_server = "server" in getattr(item, "fixturenames", ())
        file = LONGEST[1] if needs_server else _file(item)
        return places.get(file, len(LONGEST)), file not in slow

    items.sort(key=place)


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def pytest_collection_finish() -> None:
    """Freeze imported objects; otherwise each full garbage collection would visit all of them."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """Unfreeze them, so that the interpreter exits as usual."""
    gc.unfreeze()


TINY = (
    "trainer=smoke",
    "trainer.precision=32-true",
    "model=super_resolution_tiny",
    "callbacks.progress=null",
    "data.batch_size=2",
    "data.patch_size=32",
    "data.val_limit=1",
)

TINY_DEBLUR = (
    "trainer=smoke",
    "trainer.precision=32-true",
    "model=deblur_tiny",
    "data=synthetic_blur",
    "callbacks.progress=null",
    "data.batch_size=2",
    "data.patch_size=32",
    "data.val_limit=1",
)

TINY_TRANSLATION = (
    "trainer=smoke",
    "trainer.precision=32-true",
    "model=translation_tiny",
    "data=contours",
    "data.load_size=36",
    "callbacks.progress=null",
    "data.batch_size=2",
    "data.patch_size=32",
    "data.val_limit=1",
)

TINY_ZERO_SHOT = (
    "trainer=smoke",
    "trainer.precision=32-true",
    "model=zero_shot",
    "model.width=4",
    "model.depth=1",
    "model.scale=4",
    "model.back_projection=1",
    "callbacks.progress=null",
    "data=single_image",
    "data.patch_size=16",
)


def required(resource: str, there: bool) -> None:
    """Skip a test whose resource is missing, or fail it if RESTORE_REQUIRE names the resource."""
    if there:
        return
    if resource in os.environ.get("RESTORE_REQUIRE", "").split(","):
        pytest.fail(f"RESTORE_REQUIRE asks for {resource}, which is missing")
    pytest.skip(f"needs {resource}")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of benchmarks and photos named by RESTORE_DATA."""
    folder = os.environ.get("RESTORE_DATA")
    required("data", folder is not None and Path(folder).is_dir())
    return Path(str(folder)).resolve()


CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """A real browser: Debian's Chromium."""
    required("browser", CHROMIUM.exists() and find_spec("playwright") is not None)
    from playwright.sync_api import sync_playwright

    flags = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                *(f"--{flag}" for flag in (*flags.split(), "disable-sync")),
                "--host-resolver-rules=MAP *.test 127.0.0.1",
            ],
        )
        yield chromium
        chromium.close()


class Outcome(NamedTuple):
    """The outcome of a command."""

    status: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def whole_photos() -> None:
    """Marks tests whose commands need the whole embedded photos."""


@pytest.fixture
def real_curves() -> None:
    """Marks tests that need the real ``curves.png``."""


@pytest.fixture(scope="session", autouse=True)
def small_embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with crops of the embedded photos that :func:`cli` and forked processes use."""
    folder = tmp_path_factory.mktemp("embedded")
    small_photos.make(folder)
    os.environ[small_photos.VARIABLE] = str(folder)
    return folder


@functools.cache
def _pool_server() -> forkserver.ForkServer:
    """The fork server of this process, which ends with it."""
    server = forkserver.ForkServer()
    server.set_forkserver_preload([*IMPORTED, "restore.inference.load", "restore.inference.single_image_training"])
    return server


@pytest.fixture
def forked_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork a pool's processes from one that has imported Lightning, which would take each 6 seconds."""
    from restore.distributed import process_pool

    context = multiprocessing.get_context("forkserver")
    by = SimpleNamespace(get_context=lambda _: context, parent_process=multiprocessing.parent_process)
    monkeypatch.setattr(process_pool, "multiprocessing", by)
    monkeypatch.setattr(forkserver, "connect_to_new_process", _pool_server().connect_to_new_process)


@pytest.fixture
def cli(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    small_embedded: Path,
    forked_pool: None,
) -> Iterator[Cli]:
    """Run a command in this process, in an empty folder, on crops of the embedded photos.

    Saves the time to import torch, and to score whole photos.
    """
    monkeypatch.chdir(tmp_path)
    if "whole_photos" not in request.fixturenames:
        for name, photos in small_photos.made(small_embedded).items():
            monkeypatch.setitem(EMBEDDED, name, photos)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    draws = "real_curves" in request.fixturenames

    def run(command: str, *overrides: str) -> Outcome:
        if command == "fit" and not draws:
            from restore.callbacks import curves

            monkeypatch.setattr(curves, "draw_curves", one_pixel)
        monkeypatch.setattr(sys, "argv", [command, *overrides])
        # Hydra composes twice, first to find out whether it is a sweep, which only these words can request
        can_sweep = any(word.startswith(("-", "hydra.mode=")) for word in overrides)
        status = 0
        with monkeypatch.context() as once:
            if not can_sweep:
                once.setattr("hydra._internal.hydra.Hydra.get_mode", lambda *_, **__: None)
            try:
                importlib.import_module(f"restore.{command}").main()
            except SystemExit as end:
                status = int(end.code or 0)
        out, err = capfd.readouterr()
        return Outcome(status, out, err)

    yield run
    with contextlib.suppress(ImportError):  # a command may have left its log file open
        import logging

        for handler in list(logging.getLogger().handlers):
            if isinstance(handler, logging.FileHandler):
                handler.close()
                logging.getLogger().removeHandler(handler)


@pytest.fixture
def points_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train the points of a sweep in this process, for tests that are not about the separate process of each point."""
    from omegaconf import OmegaConf

    from restore.training import launcher
    from restore.training.train import train

    start = launcher.run

    def run(job: Mapping[str, Any], folder: Path, count: int, *told_to_end: Callable[[], int]) -> None:
        if count > 1:
            start(job, folder, count, *told_to_end)
            return
        resume = None if job["resume"] is None else Path(job["resume"])
        train(OmegaConf.create(job["config"]), job["config"], job["overrides"], folder, resume)

    monkeypatch.setattr(launcher, "run", run)


def subprocess_cli(command: str, *overrides: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as users do."""
    argv = [sys.executable, "-m", f"restore.{command}", *overrides]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=300)


def photo(path: Path, height: int = 40, width: int = 50, seed: int = 0) -> Path:
    """A small image with smooth and textured areas."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    smooth = np.stack([rows / height, columns / width, (rows + columns) % 17 / 17], 2)
    pixels = (smooth + random.normal(0, 0.05, smooth.shape)).clip(0, 1) * 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def blurred_pair(
    folder: Path,
    name: str,
    *,
    height: int = 40,
    width: int = 50,
    seed: int = 0,
    folders: tuple[str, str] = ("blur", "sharp"),
) -> None:
    """A small image and its blurred version."""
    sharp = photo(folder / folders[1] / f"{name}.png", height, width, seed)
    (folder / folders[0]).mkdir(exist_ok=True)
    with Image.open(sharp) as file:
        file.filter(ImageFilter.BoxBlur(1)).save(folder / folders[0] / f"{name}.png")


def gopro(root: Path, train: int = 2, test: int = 1, frames: int = 3) -> Path:
    """A small GoPro data set; every frame is another image."""
    for part, count in (("train", train), ("test", test)):
        for s in range(count):
            for k in range(frames):
                seed = 100 * s + k + (5000 if part == "test" else 0)
                blurred_pair(root / part / f"{part}{s}", f"{k:06d}", seed=seed)
    return root
