import json
from pathlib import Path

from tests.conftest import Cli

MISSING = ("data=sr_folder", "data.root=nowhere", "name=s")  # refused before torch is imported


def folders(tmp_path: Path) -> set[str]:
    return {str(json.loads(file.read_text())["folder"]) for file in (tmp_path / "multirun" / "s" / "points").glob("*")}


def test_points_are_named_by_what_is_swept(cli: Cli, tmp_path: Path) -> None:
    cli("fit", "-m", *MISSING, "seed=1,2")
    assert folders(tmp_path) == {"seed=1", "seed=2"}
    cli("fit", "-m", *MISSING, "seed=1,2,3")  # more of the same sweep
    assert folders(tmp_path) == {"seed=1", "seed=2", "seed=3"}


def test_a_point_started_by_itself_finds_its_folder(cli: Cli, tmp_path: Path) -> None:
    cli("fit", "-m", *MISSING, "seed=1,2")
    cli("fit", "-m", *MISSING, "seed=2")
    assert folders(tmp_path) == {"seed=1", "seed=2"}


def test_a_setting_that_is_given_before_it_is_swept_is_in_the_names(cli: Cli, tmp_path: Path) -> None:
    cli("fit", "-m", *MISSING, "seed=0", "seed=1,2")
    assert folders(tmp_path) == {"seed=1", "seed=2"}


def test_a_sweep_with_other_settings_in_common_has_folders_of_its_own(cli: Cli, tmp_path: Path) -> None:
    cli("fit", "-m", *MISSING, "seed=1,2")
    cli("fit", "-m", *MISSING, "trainer=smoke", "seed=1,2")
    long = {f"data.root=nowhere,data=sr_folder,name=s,seed={seed},trainer=smoke" for seed in (1, 2)}
    assert folders(tmp_path) == {"seed=1", "seed=2"} | long
    cli("fit", "-m", *MISSING, "seed=1,2")
    cli("fit", "-m", *MISSING, "trainer=smoke", "seed=1,2")
    assert folders(tmp_path) == {"seed=1", "seed=2"} | long
