"""Errors that a user can cause, and the message for each."""

import difflib
import re
from collections.abc import Iterator
from typing import Any

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from restore.config.system_errors import with_setting
from restore.io.files import FULL, encodable


class UserError(Exception):
    """Ends a command with its message and exit status 1; for errors other than a wrong setting (``SettingError``)."""


# errors that a user can cause; any other is a bug of this package and shows its traceback
USER_ERRORS = (ValueError, OSError, FloatingPointError, UserError)


def refuse_unset(cfg: Any) -> None:
    """Refuse a configuration in which a mandatory value is missing.

    Raises:
        MissingMandatoryValue: names the first such key.
    """
    for key in sorted(OmegaConf.missing_keys(cfg)):
        OmegaConf.select(cfg, key, throw_on_missing=True)


def sentence(error: BaseException, settings: DictConfig | None = None) -> str:
    """The error in one sentence, with the name of the setting where known; unencodable characters are replaced.

    Args:
        settings: of the command, to find the setting that names the file of an OSError.
    """
    named = with_setting(error, settings) if isinstance(error, OSError) and settings is not None else error
    return encodable(_words(named))


def _words(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.parent_node is not None:
            return _unknown_key(cause)
        cause = cause.__cause__
    inner = error.__cause__ if isinstance(error, ConfigCompositionException) and error.__cause__ else error
    if isinstance(error, MissingConfigException) and error.options:
        return f"there is no {error.missing_cfg_file}; choose one of {', '.join(error.options)}"
    if isinstance(inner, OverrideParseException):
        return _unreadable(str(inner.override))
    if "group override must be a string or a list" in str(inner):
        return "a group cannot be null; leave it out with a tilde, for example ~logger"
    if isinstance(inner, OSError) and inner.errno in FULL:
        file = f"{inner.filename} " if inner.filename else "a file "
        return (
            f"{file}could not be written ({inner.strerror}); finished files are unchanged; free disk space, "
            "then start the same command again"
        )
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    if isinstance(inner, MissingMandatoryValue):
        return f"{inner.full_key} is not set, and has no default; give it a value"
    if isinstance(inner, OmegaConfBaseException):
        if "Cannot convert 'list' to string" in lines[0] or "Cannot convert 'ListConfig' to string" in lines[0]:
            remedy = "; name a folder, or a glob such as 'photos/*.jpg'" if inner.full_key == "input" else ""
            return f"{inner.full_key or 'a setting'} is a list, expected a single text{remedy}"
        own = re.fullmatch(r"SettingError raised while resolving interpolation: (.*)", lines[0])
        if own:  # raised by one of our resolvers; OmegaConf keeps only its text
            return own[1]
        key = inner.full_key or "a setting"
        missing = re.search(r"Environment variable '(\w+)' not found", lines[0])
        if missing:
            return f"{key} needs the environment variable {missing[1]}; export {missing[1]}=<the folder of the data>"
        return f"{key}: {lines[0]}; give it another value"
    return "\n  ".join(lines)


def _unreadable(word: str) -> str:
    """Message for an override that Hydra cannot parse, with the most likely cause."""
    if "=" not in word:
        return (
            f"{word} has no = in it, expected key=value, without spaces around the =; quote a value that "
            "contains spaces"
        )
    if word.count("[") > word.count("]") or word.count("{") > word.count("}"):
        return f"{word} is cut off; write no space after a comma, or quote all of it: '{word} ...'"
    return f"{word} cannot be read; quote what holds special characters: 'input=\"my photo (1).jpg\"'"


def _unknown_key(error: OmegaConfBaseException) -> str:
    key, parent = str(error.full_key or error.key), error.parent_node
    known = [str(k) for k in parent if k != "_target_"] if isinstance(parent, DictConfig) else []
    prefix, _, last = key.rpartition(".")
    below = [each for each in _dotted(parent) if each.rpartition(".")[2] == last] if not prefix else []
    close = [f"{prefix}.{each}" if prefix else each for each in difflib.get_close_matches(last, known, 1)]
    if below or close:
        return f"{key} is not a setting; did you mean {' or '.join(below[:3] or close)}?"
    return f"{key} is not a setting; known are {', '.join(each for each in known if each != 'hydra')}"


def _dotted(node: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings except Hydra's own; the values, which may be missing, are not read."""
    for key in map(str, node if isinstance(node, DictConfig) else ()):
        if f"{prefix}{key}" == "hydra":
            continue
        yield f"{prefix}{key}"
        if not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key):
            yield from _dotted(node[key], f"{prefix}{key}.")
