from typing import Any

import pytest

from restore.config.inference import Inference
from restore.io.errors import SettingError


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("device", "gpu"),
        ("precision", "16"),
        ("tile", 0),
        ("tile", -4),
        ("tile", "big"),
        ("tile_overlap", -1),
        ("memory_gb", 0),
        ("memory_gb", float("nan")),
        ("self_ensemble", "maybe"),
    ],
)
def test_a_bad_setting_is_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises(SettingError) as error:
        Inference(**{setting: value})
    assert error.value.key == setting
