"""A batch that cannot be, said before its first step."""

import pytest

from restore.data.setting_bounds import check_batch_memory, machine_memory
from restore.io.errors import SettingError


def test_a_batch_is_compared_with_the_memory() -> None:
    crop, usual = 3 * 4 * (96**2 + 48**2), {"patch_size": 96, "scale": 2}
    assert check_batch_memory(batch_size=10, memory=80 * crop, **usual) is None
    said = check_batch_memory(batch_size=100_000, memory=24 * 2**30, **usual)
    assert said is not None
    assert "12.9 GiB" in said
    with pytest.raises(SettingError) as refused:
        check_batch_memory(batch_size=100_000, memory=2**30, **usual)
    assert (refused.value.key, refused.value.got) == ("data.batch_size", 100_000)
    assert str(2**30 // crop) in refused.value.expected
    assert check_batch_memory(batch_size=10**9, memory=None, **usual) is None
    assert check_batch_memory(batch_size=16, memory=machine_memory(), **usual) is None
