from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore.data import blur_sharp_folders
from restore.data.pair import DataProblem, Pair
from restore.io.errors import SettingError
from tests.conftest import blurred_pair, gopro, photo


def test_a_root_a_split_and_a_sequence_of_gopro_are_understood(tmp_path: Path) -> None:
    gopro(tmp_path / "g")
    found = blur_sharp_folders.find_sequences(
        blur_sharp_folders.split_folder(str(tmp_path / "g"), ("train",)), setting="data.root"
    )
    assert [pair.name for pair in found] == [f"train{s}/{k:06d}" for s in range(2) for k in range(3)]
    assert found[0].lq == tmp_path / "g" / "train" / "train0" / "blur" / "000000.png"
    assert found[0].gt == tmp_path / "g" / "train" / "train0" / "sharp" / "000000.png"
    assert {pair.sequence for pair in found} == {"train0", "train1"}
    one = blur_sharp_folders.find_sequences(tmp_path / "g" / "train" / "train1", setting="data.root")
    assert [pair.name for pair in one] == ["000000", "000001", "000002"]
    assert {pair.sequence for pair in one} == {"train1"}
    assert blur_sharp_folders.set_name(f"{tmp_path}/g/test/") == "g_test"
    assert blur_sharp_folders.set_name(f"{tmp_path}/g") == "g"


def test_partners_may_have_another_format(tmp_path: Path) -> None:
    blurred_pair(tmp_path / "s", "a")
    (tmp_path / "s" / "blur" / "a.png").rename(tmp_path / "s" / "blur" / "a.PNG")
    (pair,) = blur_sharp_folders.find_sequences(tmp_path / "s", setting="data.root")
    assert pair.files == [tmp_path / "s" / "sharp" / "a.png", tmp_path / "s" / "blur" / "a.PNG"]


def test_folders_beside_those_of_one_sequence_are_left_alone(tmp_path: Path) -> None:
    blurred_pair(tmp_path / "s", "a")
    photo(tmp_path / "s" / "blur_gamma" / "a.png")
    assert [pair.name for pair in blur_sharp_folders.find_sequences(tmp_path / "s", setting="data.root")] == ["a"]


def test_two_frames_of_one_name_in_one_sequence_are_refused(tmp_path: Path) -> None:
    blurred_pair(tmp_path / "g" / "s", "a")
    blurred_pair(tmp_path / "g" / "s", "a", seed=1, folders=("input", "target"))
    with pytest.raises(DataProblem, match=r"s/target/a\.png: has the name of .*s/sharp/a\.png"):
        blur_sharp_folders.find_sequences(tmp_path / "g", setting="data.root")


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6), count=st.integers(-1, 7))
def test_a_split_loses_no_frame_and_cuts_no_sequence(sizes: list[int], count: int) -> None:
    pairs = [Pair(f"s{s}/{k}", Path(f"s{s}/{k}"), None, f"s{s}") for s, size in enumerate(sizes) for k in range(size)]
    if not 1 <= count < len(sizes):
        with pytest.raises(SettingError) as error:
            blur_sharp_folders.hold_out_sequences(pairs, count)
        assert (error.value.key, error.value.got) == ("data.validation", count)
    else:
        train, held_out = blur_sharp_folders.hold_out_sequences(pairs, count)
        assert train + held_out == pairs
        assert len({p.sequence for p in train}) == len(sizes) - count
        assert not {p.sequence for p in train} & {p.sequence for p in held_out}
    if max(sizes) > 1:
        train, held_out = blur_sharp_folders.hold_out_frames(pairs)
        assert sorted(train + held_out, key=pairs.index) == pairs
        assert {p.sequence for p in train} == {p.sequence for p in pairs}
