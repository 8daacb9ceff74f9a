"""Keeps text settings in configuration files as typed, as on the command line (:mod:`restore.config.override_quoting`).

YAML would read the commit ``3e563`` as infinity and the folder ``2024_06_01`` as a number. A user's file may also come
from a stranger, so its size is checked before it is parsed.
"""

import dataclasses
import os
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigLoadError, ConfigResult
from omegaconf import OmegaConf

from restore.config.override_quoting import TEXT, TEXT_OR_NUMBER, text_fields
from restore.config.schemas import SCHEMAS
from restore.io.bounded_yaml import refuse_large

_SHIPPED = Path(__file__).resolve().parents[1]
_TYPED = frozenset(key for schema in SCHEMAS.values() for key in text_fields(schema))


class FileConfigSource(file_config_source.FileConfigSource):
    """Reads configuration files. It has the name of Hydra's own class, which it replaces."""

    def load_config(self, config_path: str) -> ConfigResult:
        """The content of a file, with text settings as typed.

        Raises:
            ConfigLoadError: no such file, or its YAML is too large.
        """
        file = Path(os.path.realpath(os.path.join(self.path, self._normalize_file_name(config_path))))  # noqa: PTH118
        if not file.is_file() or file.is_relative_to(_SHIPPED) or file.is_relative_to(_SHIPPED.parent / "conf"):
            return super().load_config(config_path)
        text = file.read_text(encoding="utf-8")
        try:
            refuse_large(text)
        except ValueError as error:
            raise ConfigLoadError(f"{file} has {error}") from error
        result = super().load_config(config_path)
        package = result.header.get("package") or ".".join(PurePosixPath(config_path).parent.parts)
        plain: Any = OmegaConf.to_container(result.config, resolve=False)
        _keep(yaml.compose(text, Loader=yaml.SafeLoader), plain, "" if package == "_global_" else package)
        return dataclasses.replace(result, config=OmegaConf.create(plain))


def _keep(node: yaml.Node | None, plain: Any, place: str) -> None:
    """Restore the text of settings that YAML parsed as numbers.

    Args:
        node: a part of the file. plain: the same part as parsed, changed in place. place: its dotted key.
    """
    if not isinstance(node, yaml.MappingNode) or not isinstance(plain, dict):
        return
    for key, value in node.value:
        if key.value not in plain:  # the key is not text
            continue
        dotted, found = f"{place}.{key.value}".lstrip("."), plain[key.value]
        if isinstance(value, yaml.ScalarNode):
            plain[key.value] = _text(value, found, dotted)
        elif isinstance(value, yaml.SequenceNode):
            pairs = zip(value.value, found, strict=True)
            plain[key.value] = [_text(each, old, dotted) for each, old in pairs]
        else:
            _keep(value, found, dotted)


def _text(node: yaml.Node, found: Any, dotted: str) -> Any:
    """The parsed value, or the text as typed where the setting is text."""
    last = dotted.rpartition(".")[2]
    if not isinstance(node, yaml.ScalarNode) or not isinstance(found, bool | int | float):
        return found
    is_text = last in TEXT or dotted in _TYPED
    return node.value if is_text or (last in TEXT_OR_NUMBER and str(found) != node.value) else found


def register() -> None:
    """Make Hydra read files with this class in this process; calling it again has no effect."""
    SourcesRegistry.instance().register(FileConfigSource)  # registered before Hydra's own class, which Hydra then skips
