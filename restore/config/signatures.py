"""Uses a constructor's signature as the schema of its settings: names and types of plain values."""

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from restore.io.errors import SettingError


def split(constructors: Sequence[Callable[..., Any]], values: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    """Divide arguments among constructors by name, and check their types.

    Args:
        constructors: the classes. values: by name. path: dotted key of the values in the settings, for errors.

    Raises:
        SettingError: no constructor takes one of the names, or a value has another type.
    """
    names = [inspect.signature(constructor).parameters.keys() for constructor in constructors]
    known = list(dict.fromkeys(name for each in names for name in each))
    for key in values.keys() - known:
        raise SettingError(f"{path}.{key}", values[key], f"nothing: it is not a setting; known are {', '.join(known)}")
    for constructor in constructors:
        check_types(constructor, values, path)
    return [{name: values[name] for name in each if name in values} for each in names]


def check_types(function: Callable[..., Any], values: Mapping[str, Any], path: str) -> None:
    """Compare plain values with a constructor's annotations; unknown names are ignored.

    Args:
        function: the class. values: by name. path: dotted key of the values in the settings, for errors.

    Raises:
        SettingError: a value has another type.
    """
    parameters = inspect.signature(function).parameters
    check_values({key: each.annotation for key, each in parameters.items()}, values, path)


def check_values(annotations: Mapping[str, Any], values: Mapping[str, Any], path: str) -> None:
    """Compare plain values with annotations by name; a missing or string annotation accepts everything.

    Raises:
        SettingError: a value has another type.
    """
    for key, hint in annotations.items():
        if key not in values or hint is inspect.Parameter.empty or isinstance(hint, str) or _fits(values[key], hint):
            continue
        from pydantic import (
            ConfigDict,
            TypeAdapter,
            ValidationError,
        )  # slow, so imported only when the quick check fails

        try:
            adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True, strict=True))
            adapter.validate_python(values[key])
        except ValidationError as error:
            # one message for each type of a union, since the intended type is unknown
            details = dict.fromkeys(each["msg"].removeprefix("Input should be ") for each in error.errors())
            raise SettingError(f"{path}.{key}", repr(values[key]), ", or ".join(details)) from error


def _fits(value: Any, hint: Any) -> bool:
    """Whether the value certainly has the type; False means unknown."""
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, each) for each in get_args(hint))
    if get_origin(hint) is Literal:
        return any(value == each and type(value) is type(each) for each in get_args(hint))
    if get_origin(hint) in (list, Sequence):
        return type(value) is list and all(_fits(each, get_args(hint)[0]) for each in value)
    if hint is float:
        return type(value) in (int, float)
    return value is None if hint in (None, type(None)) else hint in (int, str, bool) and type(value) is hint


def annotations_in_source(target: str) -> dict[str, Any]:
    """The annotations of one of our constructors, read from its source, so that its imports are not needed.

    Args:
        target: dotted name of a class, as in ``_target_``.

    Returns:
        Annotations by argument, without those that are neither plain types nor ``Literal`` aliases of the same file.
        Empty if the class is not found.
    """
    module, _, name = target.rpartition(".")
    file = Path(__file__).parents[2].joinpath(*module.split(".")).with_suffix(".py")
    if not file.is_file():
        return {}
    tree = ast.parse(file.read_text(encoding="utf-8"))
    aliases = {
        target.id: each.value
        for each in tree.body
        if isinstance(each, ast.Assign)
        for target in each.targets
        if isinstance(target, ast.Name)
    }
    classes = [each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == name]
    functions = [each for found in classes for each in found.body if isinstance(each, ast.FunctionDef)]
    constructor = next((each for each in functions if each.name == "__init__"), None)
    if constructor is None:
        return {}
    found = {}
    for argument in (*constructor.args.args, *constructor.args.kwonlyargs):
        with suppress(LookupError):
            found[argument.arg] = _type(argument.annotation, aliases)
    return found


_PLAIN: dict[str, Any] = {each.__name__: each for each in (int, float, bool, str, list, dict, tuple)} | {
    "Sequence": Sequence
}


def _type(node: ast.expr | None, aliases: Mapping[str, ast.expr]) -> Any:
    """The type that an annotation denotes.

    Raises:
        LookupError: it is not a plain type.
    """
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name) if name in _PLAIN:
            return _PLAIN[name]
        case ast.Name(id=name):
            return _type(aliases[name], {})
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[_type(left, aliases), _type(right, aliases)]  # noqa: UP007 - None has no |
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inside):
            return Literal[ast.literal_eval(inside)]
        case ast.Subscript(value=ast.Name(id=("list" | "Sequence") as name), slice=inside):
            return _PLAIN[name][_type(inside, aliases)]
    raise LookupError("no type of plain values")
