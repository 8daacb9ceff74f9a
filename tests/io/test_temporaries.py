"""What a killed process has left is removed by the next start, and nothing else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from restore.io import files
from restore.io.temporaries import sweep_files, temporary_folder

# holds a temporary folder with an upload in it, and a file that is being written, until it is killed
HOLDS = """
import sys
from pathlib import Path
from restore.io import files, temporaries
with temporaries.temporary_folder("restore_serve_", Path(sys.argv[1])) as folder:
    (folder / "jobs").mkdir()
    (folder / "jobs" / "upload.png").write_bytes(b"a photo")
    def wait():
        print("ready", flush=True)
        sys.stdin.read()
    files.write_bytes(Path(sys.argv[1]) / "out" / "a.png", b"half", before_move=wait)
"""


def holder(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", HOLDS, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def left(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob("*") if file.is_file() and file.suffix in (".png", ".tmp"))


def test_files_of_a_killed_process_are_swept_and_those_of_a_live_one_are_not(tmp_path: Path) -> None:
    process = holder(tmp_path)
    held = [f".a.png.restore-{process.pid}.tmp", "upload.png"]
    try:
        with temporary_folder("restore_serve_", tmp_path):
            files.refuse_unwritable(tmp_path / "out")
            assert left(tmp_path) == held
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert left(tmp_path) == held
    files.refuse_unwritable(tmp_path / "out")
    assert left(tmp_path) == ["upload.png"]
    with temporary_folder("restore_serve_", tmp_path) as folder:
        assert list(tmp_path.glob("restore_serve_*")) == [folder]
    assert list(tmp_path.glob("restore_serve_*")) == []


def test_what_is_not_certainly_ours_stays(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    others = [".a.png.17.tmp", "b.restore-17.tmp", ".c.restore-x.tmp", ".d.restore-1.tmp"]  # the last runs
    for name in others:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / f".e.restore-{process.pid}.tmp").write_bytes(b"")
    (tmp_path / f".f.restore-{process.pid}.tmp").symlink_to(tmp_path / others[0])
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / f".g.restore-{process.pid}.tmp").write_bytes(b"")
    sweep_files(tmp_path)
    kept = {*others, f".f.restore-{process.pid}.tmp", f".g.restore-{process.pid}.tmp"}
    assert {file.name for file in tmp_path.rglob("*.tmp")} == kept
    sweep_files(tmp_path, below=True)
    assert not list((tmp_path / "below").iterdir())

    (tmp_path / "restore_serve_of_a_person").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "lock").write_bytes(b"")
    (tmp_path / "restore_serve_link").symlink_to(tmp_path / "elsewhere")
    with temporary_folder("restore_serve_", tmp_path) as one, temporary_folder("restore_serve_", tmp_path) as two:
        assert one.is_dir()
        assert two.is_dir()
    assert (tmp_path / "restore_serve_of_a_person").is_dir()
    assert (tmp_path / "elsewhere" / "lock").is_file()
    assert (tmp_path / "restore_serve_link").is_symlink()
    assert not one.exists()


def test_a_start_sweeps_its_own_number(tmp_path: Path) -> None:
    mine = tmp_path / f".a.restore-{os.getpid()}.tmp"  # in a container each start may have the same
    mine.write_bytes(b"")
    sweep_files(tmp_path)
    assert not mine.exists()
