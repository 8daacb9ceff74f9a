"""Files made to cost a reader much, of many kinds; RESTORE_HOSTILE_FILES says how many, 200 unless set."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from restore.data.file_checks import check_pairs
from restore.data.pair import DataProblem, Pair
from restore.image import reading
from restore.image.formats import MAX_PIXELS
from restore.web.process_limits import limited_memory
from tests.conftest import Cli
from tests.image.test_image import SAMPLES
from tests.image.test_odd_files import png_with
from tests.web.test_limits import png_that_claims
from tests.web.test_upload_limits import many_entries, with_exif

COUNT = int(os.environ.get("RESTORE_HOSTILE_FILES", "200"))
MOST_SECONDS = 5  # of processor time, for one file


def flipped(chance: random.Random, data: bytes) -> bytes:
    wrong = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        place = chance.choice((chance.randrange(len(wrong)), chance.randrange(min(300, len(wrong)))))
        wrong[place] ^= chance.randrange(256)
    return bytes(wrong)


def cut(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(1, len(data))]


def doubled(chance: random.Random, data: bytes) -> bytes:
    first, last = sorted(chance.randrange(len(data)) for _ in range(2))
    return data[:last] + data[first:]


def special() -> dict[str, Callable[[random.Random], bytes]]:
    return {
        "entries of a TIFF": lambda chance: many_entries(chance.randint(100, 40_000), 900_000),
        "entries of EXIF": lambda chance: with_exif(many_entries(chance.randint(100, 3000), 700_000)),
        "claims": lambda chance: png_that_claims(chance.randint(1, 60_000), chance.randint(1, 60_000)),
        "many texts": lambda chance: png_with(*[(b"tEXt", b"a\0b")] * chance.randint(100, 20_000)),
        "many unknown chunks": lambda chance: png_with(*[(b"abCd", b"")] * chance.randint(100, 40_000)),
    }


def hostile(number: int) -> tuple[str, bytes]:
    """The file of a number, and its kind: three changes of each sample, and those made by hand."""
    chance = random.Random(number)
    made = special()
    kinds = [*made, *(f"{name}, {change.__name__}" for name in SAMPLES for change in (flipped, cut, doubled))]
    kind = kinds[number % len(kinds)]
    if kind in made:
        return kind, made[kind](chance)
    name, change = kind.split(", ")
    return kind, {"flipped": flipped, "cut": cut, "doubled": doubled}[change](chance, SAMPLES[name])


def test_a_terabyte_of_nothing_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(SAMPLES[next(name for name in SAMPLES if name.endswith(".png"))])
    os.truncate(path, 2**40)
    for pixels in (2048**2, MAX_PIXELS):
        with pytest.raises(ValueError, match=r"a\.png: \d+ bytes"):
            reading.read(path, max_pixels=pixels)
    with pytest.raises(DataProblem, match=r"a\.png: \d+ bytes"):
        check_pairs([Pair("a", path)], 2, setting="data")


def test_predict_restores_many_entries_within_little_memory(cli: Cli, tmp_path: Path) -> None:
    made = {f"{count}.tif": many_entries(count, 900_000) for count in (1500, 40_000)}
    made["exif.jpg"] = with_exif(many_entries(1500, 900_000))
    (tmp_path / "in").mkdir()
    for name, data in made.items():
        (tmp_path / "in" / name).write_bytes(data)
    for metadata in ("strip", "keep"):
        with limited_memory(1_000_000_000):
            words = ("ckpt_path=bicubic", "scale=2", "memory_gb=1", "input=in", f"output={metadata}")
            outcome = cli("predict", *words, f"metadata={metadata}")
        assert outcome.status == 0, outcome.err
        assert len(list((tmp_path / metadata).glob("*.png"))) == len(made)
        assert "Traceback" not in outcome.err


@pytest.mark.slow
def test_hostile_files_give_an_image_or_a_sentence(tmp_path: Path) -> None:
    kinds = set()
    with limited_memory(512_000_000):
        for number in range(COUNT):
            kind, data = hostile(number)
            kinds.add(kind)
            path = tmp_path / "a"
            path.write_bytes(data)
            started = time.process_time()
            try:
                reading.read(path, max_pixels=2048**2, metadata="keep" if number % 2 else "strip")
            except ValueError as error:
                assert str(path) in str(error), (number, kind)
            assert time.process_time() < started + MOST_SECONDS, (number, kind)
    assert len(kinds) >= 15
