"""Handles the words of a command line that are not ``key=value``."""

import re
from collections.abc import Sequence

from restore.io.errors import SettingError

# Hydra's flags that take the next word as their value
_WITH_VALUE = {
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    *("--experimental-rerun", "--info", "-i"),
}


def named(words: Sequence[str], key: str) -> list[str]:
    """The words, with the one without ``=`` turned into the value of ``key`` and quoted for Hydra.

    >>> named(["my photo.jpg", "scale=2"], "input")
    ['input="my photo.jpg"', 'scale=2']

    Raises:
        SettingError: there are several such words, for example from a glob that the shell expanded.
    """
    places = [k for k, word in enumerate(words) if _is_plain(word, words[k - 1] if k else "")]
    if len(places) > 1:
        first, last = words[places[0]], words[places[-1]]
        raise SettingError(
            key,
            f"{len(places)} words, {first} to {last}",
            "one: a file, a folder or a glob",
            "quote a glob, for example 'photos/*.jpg', and names that contain spaces",
        )
    return [f"{key}={_quoted(word)}" if k in places else word for k, word in enumerate(words)]


def value_of(words: Sequence[str], *flags: str) -> str | None:
    """The value of one of these flags: the next word, or the text after ``=``."""
    for k, word in enumerate(words):
        flag, sign, value = word.partition("=")
        if flag in flags and (sign or k + 1 < len(words)):
            return value if sign else words[k + 1]
    return None


def overrides(words: Sequence[str]) -> list[str]:
    """The words that are neither flags nor values of flags."""
    return [
        word for k, word in enumerate(words) if not word.startswith("-") and not (k and words[k - 1] in _WITH_VALUE)
    ]


def _is_plain(word: str, before: str) -> bool:
    return not word.startswith(("-", "~")) and "=" not in word and before not in _WITH_VALUE


def _quoted(word: str) -> str:
    """Quoted for Hydra, which reads doubled backslashes only before a quote and at the end."""
    return '"' + re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), word) + '"'
