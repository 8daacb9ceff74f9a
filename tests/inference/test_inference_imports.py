"""Inference needs torch alone: what it loads in a fresh process."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import photo

TRAINING = ("lightning", "torchmetrics", "kornia", "matplotlib")
UNUSED = (*TRAINING, "spandrel")  # which only weights of other projects need

COMMANDS = """
for command, runs in {commands}.items():
    for options in runs:
        sys.argv = [command, *options]
        try:
            importlib.import_module("restore." + command).main()
        except SystemExit as end:
            assert not end.code, end.code
    told(command)
"""

LOAD = """
import restore, torch
restore.load("zero_shot", scale=2)  # which imports them when it trains
for name in ("super_resolution_x2", "deblur_narrow", "bicubic"):
    restore.load(name, scale=2 if name == "bicubic" else None).restore(torch.rand(3, 8, 8))
told("load")
"""

SERVE = """
from hydra import compose, initialize_config_dir
from restore.config.command import conf_dir
from restore.web import worker
from restore.web.isolated_process import PRELOADED
for name in PRELOADED:
    importlib.import_module(name)
with initialize_config_dir(conf_dir(), version_base="1.3"):
    cfg = compose("serve", overrides=["ckpt_path=[zero_shot,bicubic,super_resolution_x2]"])
assert [entry["any_scale"] for entry in worker.menu(lambda *given: None, cfg)["menu"]] == [True, True, False]
told("serve")
"""

TOLD = """
import importlib, sys
def told(part):
    print("LOADED", part, *(name for name in {unused} if name in sys.modules))
"""

RUNS = {
    "predict": [["input=a.png", "ckpt_path=bicubic", "scale=2"], ["input=a.png", "ckpt_path=super_resolution_x2"]],
    "evaluate": [
        ["benchmarks=[set]", "ckpt_path=bicubic", "scale=2"],
        ["benchmarks=[set]", "ckpt_path=super_resolution_x2"],
        ["benchmarks=[pairs]", "ckpt_path=identity", "protocol=translation_rgb"],  # whose LPIPS and FID have no weights
    ],
    "export": [["ckpt_path=deblur_narrow", "format=safetensors", "output=mine.safetensors"]],
}


def test_nothing_of_the_training_is_loaded(tmp_path: Path) -> None:
    """One process for all parts, each of which says what is loaded after it."""
    photo(tmp_path / "a.png", 8, 9)
    photo(tmp_path / "set" / "HR" / "b.png", 24, 26)
    for folder in ("A", "B"):
        photo(tmp_path / "pairs" / folder / "c.png", 24, 26)
    code = TOLD.format(unused=UNUSED) + SERVE + LOAD + COMMANDS.format(commands=RUNS)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert told == [f"LOADED {part}" for part in ("serve", "load", *RUNS)]
