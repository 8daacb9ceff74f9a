"""Turns errors about a network's arguments into errors about the settings that hold them."""

from collections.abc import Iterator
from contextlib import contextmanager

from restore.io.errors import SettingError
from restore.networks.arguments import ArgumentError


@contextmanager
def arguments_as_settings() -> Iterator[None]:
    """Within the block, an error about a network's argument names the setting ``model.<argument>``.

    Raises:
        SettingError
    """
    try:
        yield
    except ArgumentError as error:
        raise SettingError(f"model.{error.name}", error.got, error.expected) from error
