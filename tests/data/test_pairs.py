import pickle
from pathlib import Path

import torch

from restore.data.pairs import DataProblem, Pair, set_name
from restore.data.photos import EMBEDDED, embedded


def test_set_names_are_folder_names(tmp_path: Path) -> None:
    assert set_name(f"{tmp_path}/Set5/") == "Set5"
    assert set_name("photos_held_out") == "photos_held_out"


def test_embedded_photos_are_files_of_the_installed_library() -> None:
    assert not set(EMBEDDED["photos_train"]) & set(EMBEDDED["photos_held_out"])
    for name in EMBEDDED:
        assert all(file.is_file() for file in embedded(name))


def test_an_odd_middle_column_belongs_to_no_half() -> None:
    whole = torch.arange(7).expand(1, 1, 7)
    gt, lq = Pair("a", Path("a"), Path("a"), lq_half="left").split([whole])
    assert (lq.flatten().tolist(), gt.flatten().tolist()) == ([0, 1, 2], [4, 5, 6])


def test_problems_of_data_come_out_of_other_processes_as_they_are() -> None:
    problem = DataProblem("data", [f"{k}.png: damaged" for k in range(25)])
    again = pickle.loads(pickle.dumps(problem))
    assert (str(again), again.key, again.problems) == (str(problem), "data", problem.problems)
    assert str(problem).splitlines()[0] == "data: 25 problems with the data; mend or remove the files:"
    assert str(problem).splitlines()[-1] == "  ... and 5 more"
