from pathlib import Path
from typing import NoReturn

import pytest

from restore.evaluation.benchmark_sets import open_benchmarks
from restore.io.errors import SettingError
from restore.metrics.protocols import PROTOCOLS, protocol
from tests.conftest import blurred_pair, photo


def no_source() -> NoReturn:
    pytest.fail("only translation asks how pairs are read")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_scale_that_a_protocol_does_not_score_is_refused(name: str) -> None:
    wrong = 1 if protocol(name).family == "super_resolution" else 2
    for scale in (wrong, 2.5):
        with pytest.raises(SettingError) as error:
            open_benchmarks(["nowhere"], scale, protocol(name), no_source)
        assert error.value.key == "scale"
        assert float(str(error.value.got)) == scale


def test_a_folder_is_read_as_the_family_lays_it_out(tmp_path: Path) -> None:
    photo(tmp_path / "sharp" / "a.png", 40, 50)
    blurred_pair(tmp_path / "blurred" / "test", "a")
    for root, scale, name in (("sharp", 2, "sr_y"), ("blurred", 1, "deblur_rgb")):
        sets, fingerprints = open_benchmarks([str(tmp_path / root)], scale, protocol(name), no_source)
        (images,) = sets.values()
        assert [pair.name for pair in images.pairs] == ["a"]
        assert images[0]["lq"].shape == (3, 40 // scale, 50 // scale)
        assert fingerprints.keys() == sets.keys()


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    roots = [str(photo(tmp_path / parent / "set" / "a.png").parent) for parent in ("one", "two")]
    with pytest.raises(SettingError) as error:
        open_benchmarks(roots, 2, protocol("sr_y"), no_source)
    assert error.value.key == "benchmarks"
    assert "called set" in str(error.value.got)
