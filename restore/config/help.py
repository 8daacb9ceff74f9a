"""The output of ``restore <command> --help``: settings with their comments from ``conf/``, and the groups' options.

The groups are listed from their folders. Hydra's own help would compose the configuration again for each group, which
takes five times as long as everything else.
"""

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

_LINE = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?P<value>[^#]*?)(?: *(?<!\S)# (?P<comment>.*))?$")
_FOOTER = "--cfg job shows the configuration as YAML, --hydra-help the flags and the settings of Hydra itself."


def show(command: str, usage: str, overrides: Sequence[str], folders: Sequence[Path], docs: Mapping[str, str]) -> None:
    """Print the help of a command.

    Args:
        command: also the name of its primary file. usage: the line below the title.
        overrides: words of the command line, so that the settings of the chosen options are shown.
        folders: configuration folders, first the shipped one, then the user's.
        docs: comments, by name, for settings without one in their file.
    """
    more = [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in folders[1:])}]"] if folders[1:] else []
    with initialize_config_dir(str(folders[0]), version_base="1.3", job_name=command):
        cfg = compose(command, overrides=[*overrides, *more], return_hydra_config=True)
    choices = {key: value for key, value in cfg.hydra.runtime.choices.items() if not str(key).startswith("hydra/")}
    plain: Any = OmegaConf.to_container(cfg, resolve=False)
    del plain["hydra"]
    values = dict(_leaves(plain))
    own = _with_bases(folders, "", command)
    comments = dict(docs)
    for group, choice in choices.items():
        if choice is not None:
            place, _, package = str(group).partition("@")
            comments |= _comments(_with_bases(folders, place, str(choice)), package or place)
    comments |= _comments(own, "")
    at_root = [file for file in own if file.parent in folders]
    first = [key for key in dict.fromkeys(each for file in at_root for each in _keys(file)) if key in values]
    parts = [str(group).partition("@")[2] or str(group) for group in choices]
    rest = [key for key in values if key not in first]
    groups = [part for part in parts if any(key.startswith(f"{part}.") for key in rest)]
    of_groups = {part: [key for key in rest if key.startswith(f"{part}.")] for part in groups}
    others = [key for key in rest if not any(key in keys for keys in of_groups.values())]
    lines = [_title(own[0]), "", f"usage: {usage}", "", "== Settings (key=value) =="]
    lines += _settings([*first, *others], values, comments)
    lines += ["", "== Groups (group=option) ==", *(_options(choices, folders) or ["none"])]
    for part, keys in of_groups.items():
        lines += ["", f"== Settings of {part} ==", *_settings(keys, values, comments)]
    sys.stdout.write("\n".join([*lines, "", _FOOTER]) + "\n")


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of each setting, without ``_target_`` and other keys that users do not set."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        elif key not in ("_target_", "run_token"):
            yield f"{prefix}{key}", value


def _with_bases(folders: Sequence[Path], group: str, name: str) -> list[Path]:
    """The file of an option, and the files in the same group that its ``defaults`` list."""
    for folder in reversed(folders):
        file = folder / group / f"{name}.yaml"
        if file.is_file():
            defaults = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("defaults", [])
            bases = [each for each in defaults if isinstance(each, str) and each != "_self_"]
            return [file, *(found for base in bases for found in _with_bases(folders, group, base))]
    return []


def _lines(file: Path) -> Iterator[tuple[str, str | None]]:
    """Dotted name and comment of each key in a file; the contents of lists are not settings."""
    above: list[tuple[int, str]] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        indent = len(found["indent"])
        above = [each for each in above if each[0] < indent] + [(indent, found["key"])]
        if above[0][1] not in ("defaults", "hydra"):
            yield ".".join(key for _, key in above), found["comment"]


def _keys(file: Path) -> Iterator[str]:
    return (key for key, _ in _lines(file))


def _comments(files: Iterable[Path], package: str) -> dict[str, str]:
    """Comments by dotted name; if several files comment on a key, the first one is used."""
    found: dict[str, str] = {}
    for file in files:
        is_global = "@package _global_" in file.read_text(encoding="utf-8").partition("\n")[0]
        prefix = "" if is_global or not package else f"{package}."
        for key, comment in _lines(file):
            if comment is not None:
                found.setdefault(prefix + key, comment)
    return found


def _title(file: Path) -> str:
    """The comment on the file's first line."""
    return file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def _settings(keys: Iterable[str], values: Mapping[str, Any], comments: Mapping[str, str]) -> list[str]:
    """One entry per setting, with its comment on the same line if both fit, else below."""
    width = max(40, min(shutil.get_terminal_size().columns, 120))
    lines = []
    for key in keys:
        line, comment = f"  {key}={_value(values[key])}", comments.get(key, "")
        if not comment:
            lines.append(line)
        elif len(line) <= 30 and 34 + len(comment) <= width:
            lines.append(f"{line:<32}  {comment}")
        else:
            lines += [line, *textwrap.wrap(comment, width, initial_indent=" " * 6, subsequent_indent=" " * 6)]
    return lines


def _value(value: Any) -> str:
    """The value as written on a command line."""
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()


def _options(choices: Mapping[Any, Any], folders: Sequence[Path]) -> list[str]:
    """One line per group of the command; a group with a package (``@``) is fixed, so only its choice is listed."""
    lines = []
    for group, choice in sorted(choices.items()):
        found = {file.stem for folder in folders for file in (folder / group).glob("*.yaml")}
        options = [str(choice)] if "@" in group else sorted(found)
        lines.append(f"{group}: {', '.join(options)}")
    return lines
