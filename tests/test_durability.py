import contextlib
import json
import os
import random
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from restore.checkpoints import checksum, reader
from restore.checkpoints.atomic_io import AtomicCheckpointIO
from tests import fork_server
from tests.conftest import TINY, Cli, photo
from tests.lives import KILLS
from tests.test_fit import crash_at, run_folder, same_weights

SMALL = (
    *TINY,
    "callbacks.panels=null",
    "data=sr_folder",
    "data.root=photos",
    "data.validation=1",
    "data.num_workers=0",
    "val_every_steps=7",
    "checkpoint.every_steps=4",
)


@pytest.fixture(autouse=True)
def photos(tmp_path: Path) -> None:
    for k in range(3):
        photo(tmp_path / "photos" / f"{k}.png", seed=k)


def content(step: int) -> dict[str, Any]:
    return {"global_step": step, "weights": torch.full((1000,), float(step))}


def test_an_archive_with_a_checksum_opens_as_before_and_any_damage_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint(content(1), file)
    assert checksum.is_sound(file)
    assert torch.equal(torch.load(file, weights_only=True)["weights"], torch.ones(1000))
    sound = file.read_bytes()
    damaged = tmp_path / "b.ckpt"
    for place in [*random.Random(0).sample(range(len(sound)), 300), *range(len(sound) - 100, len(sound))]:
        damaged.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        assert not checksum.is_sound(damaged), place
    for size in (0, 1, 21, 70, 71, 100, len(sound) // 2, len(sound) - 1):
        damaged.write_bytes(sound[:size])
        assert not checksum.is_sound(damaged), size
    damaged.write_bytes(sound + b"\0")
    assert not checksum.is_sound(damaged)


def test_damage_that_no_crc_of_the_archive_covers_is_noticed(tmp_path: Path) -> None:
    """Why there is a checksum of our own: in the directory one bit makes a record a folder, and torch reads nothing."""
    file = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint(content(1), file)
    damaged = bytearray(file.read_bytes())
    entry = damaged.rfind(b"PK\x01\x02", 0, damaged.rfind(b"/data/0"))  # of the archive's directory
    damaged[entry + 38] ^= 0x10
    file.write_bytes(damaged)
    assert zipfile.ZipFile(file).testzip() is None
    assert torch.load(file, weights_only=True)["global_step"] == 1
    assert not checksum.is_sound(file)


def test_a_checkpoint_without_a_checksum_is_compared_with_its_archives_crcs(tmp_path: Path) -> None:
    file = tmp_path / "old.ckpt"
    torch.save(content(1), file)
    assert checksum.is_sound(file)
    pixels = bytearray(file.read_bytes())
    pixels[len(pixels) // 2] ^= 1
    file.write_bytes(pixels)
    assert torch.load(file, weights_only=True)["global_step"] == 1  # torch does not mind
    assert not checksum.is_sound(file)
    with pytest.raises(ValueError, match="expected a valid checkpoint"):
        reader.read(file)


@pytest.mark.parametrize("links", [True, False])
def test_the_last_but_one_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def refuse(*names: object) -> None:
        raise PermissionError("no hard links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    for step in (1, 2, 3):
        AtomicCheckpointIO().save_checkpoint(content(step), tmp_path / "last.ckpt")
        AtomicCheckpointIO().save_checkpoint(content(step), tmp_path / "best.ckpt")
    names = {path.name for path in tmp_path.iterdir()} - {"photos"}
    assert names == {"last.ckpt", "last.prev.ckpt", "best.ckpt"}
    steps = [torch.load(tmp_path / name)["global_step"] for name in ("last.ckpt", "last.prev.ckpt", "best.ckpt")]
    assert steps == [3, 2, 3]


def damage(file: Path) -> bytes:
    """Flips a bit in the middle, as disks do."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(content)
    return bytes(content)


@pytest.fixture
def stopped(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoints of a run that crashed behind its twelfth step, and beside it a run that did not."""
    assert cli("fit", *SMALL, "trainer.max_steps=14", "run_id=whole").status == 0
    with monkeypatch.context() as patch:
        crash_at(patch, 13)
        with contextlib.suppress(BaseException):  # the crash has a class of its own
            cli("fit", *SMALL, "trainer.max_steps=14", "run_id=x")
    return run_folder(tmp_path, "x") / "checkpoints"


def test_a_damaged_checkpoint_is_stepped_over(cli: Cli, tmp_path: Path, stopped: Path) -> None:
    damaged = damage(stopped / "last.ckpt")
    damage(stopped / "best.ckpt")
    outcome = cli("fit", *SMALL, "trainer.max_steps=14", "run_id=x")
    assert outcome.status == 0, outcome.err
    assert "resumed at step 8" in outcome.out
    result = json.loads((stopped.parent / "result.json").read_text())
    assert result["steps_run"] == 6
    last, best = result["warnings"]
    assert last.startswith("last.ckpt was damaged, so the run resumed from last.prev.ckpt; the damaged file is kept")
    assert best.startswith("best.ckpt was damaged, so the best is chosen")
    assert (stopped / "last.damaged.ckpt").read_bytes() == damaged
    whole = reader.read(run_folder(tmp_path, "whole") / "checkpoints" / "last.ckpt")
    assert same_weights(whole, reader.read(stopped / "last.ckpt"))
    assert reader.read(stopped / "best.ckpt")["global_step"] == 14


def test_a_run_without_a_sound_checkpoint_is_refused_and_nothing_is_lost(cli: Cli, stopped: Path) -> None:
    before = [damage(stopped / "last.ckpt"), damage(stopped / "last.prev.ckpt"), (stopped / "best.ckpt").read_bytes()]
    outcome = cli("fit", *SMALL, "trainer.max_steps=14", "run_id=x")
    assert outcome.status == 1
    assert "resume is auto, and last.ckpt and last.prev.ckpt in" in outcome.err
    assert f"resume={stopped / 'best.ckpt'} with another run_id" in outcome.err.replace("\n", "")
    assert "Traceback" not in outcome.err
    assert [(stopped / f"{name}.ckpt").read_bytes() for name in ("last", "last.prev", "best")] == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"cannot mount a small file system: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path, *, leave: int) -> Path:
    """Takes all room but ``leave`` bytes."""
    room = os.statvfs(disk)
    file = disk / "filling"
    file.write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - leave)))
    return file


def test_a_full_disk_leaves_the_checkpoints_from_before(small_disk: Path) -> None:
    writer = AtomicCheckpointIO()
    for step in (1, 2):
        writer.save_checkpoint(content(step), small_disk / "last.ckpt")
    before = {path.name: path.read_bytes() for path in small_disk.iterdir()}
    filling = fill(small_disk, leave=4096)
    with pytest.raises(OSError, match=r"last\.ckpt could not be written \(No space left on device\); .* unchanged"):
        writer.save_checkpoint(content(3), small_disk / "last.ckpt")
    filling.unlink()
    assert {path.name: path.read_bytes() for path in small_disk.iterdir()} == before


def test_a_run_on_a_full_disk_ends_in_one_sentence_and_goes_on_when_there_is_room(
    cli: Cli, tmp_path: Path, small_disk: Path, stopped: Path
) -> None:
    shutil.move(stopped.parent, small_disk / "x")
    stopped.parent.symlink_to(small_disk / "x")
    filling = fill(small_disk, leave=8192)  # enough for a line of the log and a row of the table
    options = (*SMALL, "trainer.max_steps=14", "run_id=x")
    outcome = cli("fit", *options)
    assert outcome.status == 1
    assert "Traceback" not in outcome.err
    assert "could not be written (No space left on device)" in outcome.err
    assert reader.read(stopped / "last.ckpt")["global_step"] == 12
    filling.unlink()
    again = cli("fit", *options)
    assert again.status == 0, again.err
    assert "resumed at step 12" in again.out
    whole = run_folder(tmp_path, "whole")
    assert same_weights(reader.read(whole / "checkpoints" / "last.ckpt"), reader.read(stopped / "last.ckpt"))
    results = [json.loads((folder / "result.json").read_text())["metrics"] for folder in (whole, stopped.parent)]
    assert results[0] == results[1]


@pytest.mark.slow
def test_kills_cost_at_most_an_interval_each_and_no_bit(cli: Cli, tmp_path: Path) -> None:
    options = (*SMALL, "trainer.max_steps=60", "val_every_steps=30")
    assert cli("fit", *options, "run_id=whole").status == 0
    seed = random.randrange(10**6)
    killing = fork_server.start("-m", "tests.lives", str(seed), *options, "run_id=x", cwd=tmp_path)
    found = killing.communicate(timeout=300)[0]
    assert killing.returncode == 0, found
    lives = json.loads((tmp_path / "lives.json").read_text())
    said = (seed, lives, (tmp_path / "lives.log").read_text()[-2000:])
    assert lives["ends"] == [-9] * KILLS, said
    assert lives["status"] == 0, said
    steps = [max((step for name, step in seen.items() if name != "best.ckpt"), default=0) for seen in lives["seen"]]
    assert all(step >= 0 for seen in lives["seen"] for step in seen.values()), said
    assert steps == sorted(steps), said
    assert steps[-1] > 0, said
    assert 60 < lives["batches"] <= 60 + KILLS * 4, said
    folders = [run_folder(tmp_path, run_id) for run_id in ("whole", "x")]
    whole, killed = (reader.read(folder / "checkpoints" / "last.ckpt") for folder in folders)
    assert same_weights(whole, killed)
    results = [json.loads((folder / "result.json").read_text())["metrics"] for folder in folders]
    assert results[0] == results[1]
