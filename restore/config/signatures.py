"""A constructor's signature as the schema of its settings: names and types of plain values."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from restore.io.errors import SettingError


def check_names(function: Callable[..., Any], values: Mapping[str, Any], path: str) -> None:
    """Refuse arguments that a constructor does not take.

    Args:
        function: the class. values: by name. path: dotted place of the values in the settings, named in the error.

    Raises:
        SettingError: it takes no such argument.
    """
    known = inspect.signature(function).parameters
    for key in values.keys() - known.keys():
        raise SettingError(f"{path}.{key}", values[key], f"nothing: it is not a setting; known are {', '.join(known)}")


def check_types(function: Callable[..., Any], values: Mapping[str, Any], path: str) -> None:
    """Compare plain values with the annotations of a constructor; unknown names are passed over.

    Args:
        function: the class. values: by name. path: dotted place of the values in the settings, named in the error.

    Raises:
        SettingError: a value of another type.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    for key, parameter in inspect.signature(function).parameters.items():
        hint = parameter.annotation
        if key not in values or hint is inspect.Parameter.empty or isinstance(hint, str):
            continue
        try:
            adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True, strict=True))
            adapter.validate_python(values[key])
        except ValidationError as error:
            # one for each type of a union; which of them was meant nobody knows
            details = dict.fromkeys(each["msg"].removeprefix("Input should be ") for each in error.errors())
            raise SettingError(f"{path}.{key}", repr(values[key]), ", or ".join(details)) from error
