from typing import Any

import pytest
from omegaconf import OmegaConf

from restore.data.labels import Labels
from restore.evaluation.translation_pairs import labels_as_trained, source_of
from restore.inference.baselines import Identity
from restore.io.errors import SettingError

TRAINED = {
    "palette": [[0, 0, 0], [255, 80, 0]],
    "classes": 2,
    "one_hot": True,
    "snap_distance": 64.0,
    "snap_share": 0.1,
}
DEFAULTS = {"palette": None, "classes": None, "one_hot": False, "snap_distance": 48.0, "snap_share": 0.0}


@pytest.mark.parametrize("given", [{}, DEFAULTS, TRAINED, {"patch_size": 32}])
def test_label_maps_are_read_as_in_training(given: dict[str, Any]) -> None:
    assert labels_as_trained(given, TRAINED) == TRAINED
    assert labels_as_trained(given, Labels.of(TRAINED).settings()) == Labels.of(TRAINED).settings()


def test_only_the_settings_about_smeared_colours_may_differ() -> None:
    smeared = {"snap_distance": 90.0, "snap_share": 0.5}
    assert labels_as_trained(DEFAULTS | smeared, TRAINED) == TRAINED | smeared
    with pytest.raises(SettingError) as error:
        labels_as_trained(DEFAULTS | {"classes": 3}, TRAINED)
    assert (error.value.key, error.value.got) == ("data.classes", 3)


def test_data_of_another_kind_is_refused() -> None:
    data = OmegaConf.create({"_target_": "restore.data.deblur.DeblurData", "root": "a", "patch_size": 32})
    with pytest.raises(SettingError) as error:
        source_of(data, Identity())
    assert (error.value.key, error.value.got) == ("data", "restore.data.deblur.DeblurData")
