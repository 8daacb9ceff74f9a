"""Keeps text settings as typed.

Hydra's grammar reads the folder ``2024_06_01`` as the number 20240601, and the commit ``3e563`` as infinity. So words
of a command line that Hydra would read as numbers are quoted if the setting is text. This happens before Hydra parses
them, because Hydra names the run's folder while it composes.
"""

import re
import typing
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path

from restore.io.errors import SettingError

# settings of groups that are text or lists of text, by the last part of their name; a test compares them with the
# signatures of the classes that the groups build
TEXT = frozenset(
    (
        *(
            "benchmarks",
            "checkpoint_name",
            "ckpt_path",
            "default_root_dir",
            "dir",
            "folder",
            "folder_a",
            "folder_b",
            "id",
            "image",
            "module",
        ),
        *("name", "pack", "prefix", "project", "root", "save_dir", "style_features", "sub_dir", "subdir"),
    )
)
# settings that may also be numbers: a word is text only if no number is printed that way
TEXT_OR_NUMBER = frozenset(("kernel", "validation", "version"))

_WORD = re.compile(r"""'(?:\\.|[^'])*'|"(?:\\.|[^"])*"|\$\{[^}]*\}|(?:\\.|[^\[\]{}(),'"\\$])+""")
_OVERRIDE = re.compile(r"(\+{0,2}[\w./@$-]+)=(.*)", re.DOTALL)
_CHOICE = re.compile(r"\s*choice\(([^()]*)\)\s*")
_NUMBERS = ("range(", "interval(")  # sweeps over numbers


def as_typed(words: Sequence[str], schema: type) -> list[str]:
    """The command line, with words that look like numbers quoted where the setting is text.

    Args:
        words: the whole command line, including options.
        schema: the dataclass of the command's root.

    Raises:
        SettingError: a text setting is empty; an empty path would mean the working folder.
    """
    typed = frozenset(text_fields(schema))
    return [_quoted(word, typed) for word in words]


def _quoted(word: str, typed: frozenset[str]) -> str:
    found = _OVERRIDE.fullmatch(word)
    if found is None or found[2].lstrip().startswith(_NUMBERS):
        return word
    key, value = found[1].lstrip("+"), found[2]
    last = key.rpartition(".")[2]
    is_text = last in TEXT and key not in typed
    if is_text | (key in typed) and value.strip() in ("", "''", '""') and last != "prefix":
        raise SettingError(key, "empty", "text", "leave it out for its default")
    if not is_text and (not (key in typed or last in TEXT_OR_NUMBER) or "[" in value):
        return word
    value = _CHOICE.sub(r"\1", value)  # the same sweep without choice(), in which Hydra would lose the quotes
    return f"{found[1]}={_WORD.sub(lambda part: _text(part[0], is_text=is_text), value)}"


def _text(word: str, *, is_text: bool) -> str:
    """The word, quoted if Hydra would read it as a number, with ``~`` replaced by the home folder.

    Args:
        is_text: false for a setting that also takes numbers, or whose numbers are converted to text unchanged.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    bare = word.strip()
    inside = bare[1:-1] if bare[:1] in ("'", '"') else bare
    if inside == "~" or inside.startswith("~/"):  # a shell expands ~ only at the start of a word
        home = str(Path(inside).expanduser()).replace("'", "\\'")
        return word.replace(bare, f"'{home}'")
    try:
        value = OverridesParser.create().parse_override(f"x={bare}").value()
    except OverrideParseException:
        return word  # part of a longer value; Hydra reports errors of the whole
    if not isinstance(value, bool | int | float) or (str(value) == bare and not is_text):
        return word
    return word.replace(bare, f"'{bare}'")


def text_fields(schema: type, prefix: str = "") -> Iterator[str]:
    """Dotted names of the text fields of a command's root."""
    for each in fields(schema):
        kind: typing.Any = each.type
        if is_dataclass(kind) and isinstance(kind, type):
            yield from text_fields(kind, f"{prefix}{each.name}.")
        elif kind in (str, str | None):
            yield f"{prefix}{each.name}"
