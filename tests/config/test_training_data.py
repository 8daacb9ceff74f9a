"""What the command in a card tells of the data."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import initialize_config_dir

from restore.config import command  # noqa: F401 - registers the schemas
from restore.config.training_data import TrainingData, of_command

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(autouse=True)
def within_a_command() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def test_the_data_of_a_command_is_that_of_its_experiment_and_its_own_settings() -> None:
    emoji = "restore fit experiment=translation_emoji init_from=somewhere/else model.style_weight=null"
    assert of_command(emoji) == TrainingData("translation_folder", [])
    found = of_command(f"{emoji} data=contours data.degradations.0.sigma=1.5 'data.root=[$HOME/a,\"b c\"]'")
    assert found is not None
    assert found.group == "contours"
    assert found.degradations[0]["sigma"] == 1.5


@pytest.mark.parametrize(
    "line",
    ["restore fit experiment=gone", "restore fit 'data=contours", "restore fit data=contours data.gone=1", "data=a,b"],
)
def test_a_command_that_cannot_be_composed_tells_nothing(line: str) -> None:
    assert of_command(line) is None
