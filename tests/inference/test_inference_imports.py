"""Inference needs torch alone: what it loads in a fresh process."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import photo

TRAINING = ("lightning", "torchmetrics", "kornia", "matplotlib")

COMMAND = """
import sys
from restore.{command} import main
for options in {runs}:
    sys.argv = ["{command}", *options]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
"""

LOAD = """
import restore, torch
restore.load("zero_shot", scale=2)  # which imports them when it trains
for name in ("super_resolution_x2", "deblur_narrow", "bicubic"):
    restore.load(name, scale=2 if name == "bicubic" else None).restore(torch.rand(3, 8, 8))
"""

SERVE = """
import importlib
from hydra import compose, initialize_config_dir
from restore.config.command import conf_dir
from restore.web import worker
from restore.web.isolated_process import PRELOADED
for name in PRELOADED:
    importlib.import_module(name)
with initialize_config_dir(conf_dir(), version_base="1.3"):
    cfg = compose("serve", overrides=["ckpt_path=[zero_shot,bicubic,super_resolution_x2]"])
assert [entry["any_scale"] for entry in worker.menu(lambda *given: None, cfg)["menu"]] == [True, True, False]
"""

PREDICT = [["input=a.png", "ckpt_path=bicubic", "scale=2"], ["input=a.png", "ckpt_path=super_resolution_x2"]]
EVALUATE = [
    ["benchmarks=[set]", "ckpt_path=bicubic", "scale=2"],
    ["benchmarks=[set]", "ckpt_path=super_resolution_x2"],
    ["benchmarks=[pairs]", "ckpt_path=identity", "protocol=translation_rgb"],  # whose LPIPS and FID have no weights
]
EXPORT = [["ckpt_path=deblur_narrow", "format=safetensors", "output=mine.safetensors"]]


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(COMMAND.format(command="predict", runs=PREDICT), id="predict"),
        pytest.param(COMMAND.format(command="evaluate", runs=EVALUATE), id="evaluate"),
        pytest.param(COMMAND.format(command="export", runs=EXPORT), id="export"),
        pytest.param(LOAD, id="restore.load"),
        pytest.param(SERVE, id="serve"),
    ],
)
def test_nothing_of_the_training_is_loaded(code: str, tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 8, 9)
    photo(tmp_path / "set" / "HR" / "b.png", 24, 26)
    for folder in ("A", "B"):
        photo(tmp_path / "pairs" / folder / "c.png", 24, 26)
    code += f"\nimport sys\nprint('loaded', *(name for name in {TRAINING!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded"
