"""Errors about a network's arguments as errors about the settings that hold them."""

from collections.abc import Iterator
from contextlib import contextmanager

from restore.io.errors import SettingError
from restore.networks.arguments import ArgumentError


@contextmanager
def arguments_as_settings() -> Iterator[None]:
    """Name the setting ``model.<argument>`` where a network that is built in the block refuses an argument.

    Raises:
        SettingError
    """
    try:
        yield
    except ArgumentError as error:
        raise SettingError(f"model.{error.name}", error.got, error.expected) from error
