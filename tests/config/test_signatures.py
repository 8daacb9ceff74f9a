"""Plain values against a constructor's signature."""

from typing import Any, Literal

import pytest

from restore.config.signatures import check_types, split
from restore.io.errors import SettingError


class Made:
    def __init__(self, *, width: int = 3, kind: Literal["a", "b"] = "a", rate: float | None = None) -> None: ...


@pytest.mark.parametrize(
    "values", [{}, {"width": 4}, {"kind": "b", "rate": None}, {"rate": 0.5}, {"rate": 2}, {"other": 1}]
)
def test_values_of_the_annotated_types_are_taken(values: dict[str, Any]) -> None:
    check_types(Made, values, "model")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [("width", "wide", "integer"), ("width", True, "integer"), ("kind", "c", "'a' or 'b'")],
)
def test_a_value_of_another_type_is_named(key: str, value: Any, expected: str) -> None:
    with pytest.raises(SettingError) as error:
        check_types(Made, {key: value}, "model")
    assert (error.value.key, error.value.got) == (f"model.{key}", repr(value))
    assert expected in error.value.expected


def test_arguments_are_divided_among_constructors_by_name() -> None:
    assert split([Made, str.encode], {"width": 3, "encoding": "ascii"}, "model") == [
        {"width": 3},
        {"encoding": "ascii"},
    ]
    for values, key in ({"widht": 3}, "widht"), ({"width": "wide"}, "width"):
        with pytest.raises(SettingError) as error:
            split([Made], values, "zero_shot.model")
        assert error.value.key == f"zero_shot.model.{key}"
