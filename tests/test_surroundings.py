"""Commands where little is as usual: another encoding, a working folder that cannot be written, no shared memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TINY, photo

# one process for all commands, because each pays for its imports; each line: command, words -> status
SCRIPT = """
import importlib, sys
def run(command, *words):
    sys.argv = [command, *words]
    try:
        importlib.import_module(f"restore.{command}").main()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    sys.stdout.write(f"status of {command}: {status}\\n")
out, tiny = sys.argv[1], sys.argv[2:]
run("predict", "ckpt_path=bicubic", "scale=2", "input=.", f"output={out}/predicted")
run("evaluate", "ckpt_path=bicubic", "scale=2", "benchmarks=[.]", f"output={out}/evaluated")
run("evaluate", "ckpt_path=bicubic", "scale=2", "benchmarks=[.]")
run("fit", *tiny)
run("fit", *tiny, f"hydra.run.dir={out}/run", "data.num_workers=0")
run("fit", *tiny, f"hydra.run.dir={out}/full", "data.num_workers=2")
"""
SURROUNDINGS = """
set -e
trap 'exit 77' EXIT
mount -t tmpfs -o size=64k tmpfs /dev/shm
mount --bind "$1" "$1"
mount -o remount,ro,bind "$1"
cd "$1"
shift
exec "$@"
"""


@pytest.mark.slow  # three small trainings
def test_encodings_read_only_folders_and_a_small_shared_memory(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    names = ("[bold]photo :cat:猫", "b", os.fsdecode(b"caf\xe9"))
    for k, name in enumerate(names):
        photo(source / f"{name}.png", 64, 64, seed=k)
    out.mkdir()
    options = (*TINY, "data=sr_folder", "data.root=.", "data.batch_size=4", "data.patch_size=64", "trainer.max_steps=1")
    words = ["sh", "-c", SURROUNDINGS, "sh", str(source), sys.executable, "-c", SCRIPT, str(out), *options]
    package = str(Path(__file__).parents[1])
    done = subprocess.run(
        ["unshare", "--mount", *words],
        env=os.environ | {"PYTHONIOENCODING": "latin-1", "LC_ALL": "C", "PYTHONPATH": package},
        capture_output=True,
        timeout=400,
        check=False,
    )
    said, errors = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    if done.returncode in (1, 77) and "status of" not in said:
        pytest.skip(f"cannot change what is mounted: {errors.strip()}")
    states = [line.removeprefix("status of ") for line in said.splitlines() if line.startswith("status of ")]
    assert states == ["predict: 0", "evaluate: 0", "evaluate: 1", "fit: 1", "fit: 0", "fit: 1"], errors
    assert {path.name for path in (out / "predicted").glob("*.png")} == {f"{name}_x2.png" for name in names}
    assert "[bold]photo :cat:" in said
    sentences = [line for line in errors.splitlines() if line.startswith(("fit:", "evaluate:"))]
    assert sentences[0].startswith("evaluate: output is ")
    assert sentences[1].startswith("fit: hydra.run.dir is ")
    assert sentences[2].startswith("fit: data.num_workers is 2")
    assert "Traceback" not in errors
