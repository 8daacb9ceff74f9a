"""Limits on what a client may ask of the server, and the error that refuses a request."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from restore.io.errors import SettingError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# defaults of settings that are null: on a private server (large enough for photos of phones), and on a public one
_DEFAULTS = {"max_mb": (25.0, 1.0), "max_side": (8000, 2048), "max_output_side": (16384, 8192), "timeout": (3600, 300)}


class Refused(Exception):
    """A request is refused.

    Args:
        status: HTTP status, 4xx if the client can do something about it.
        sentence: got, expected, remedy.
        retry_after: seconds until a retry may succeed, or None.
    """

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.retry_after = status, sentence, retry_after


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Settings of ``restore serve`` that limit what a client can use; documented in ``conf/serve.yaml``.

    Raises:
        SettingError: a limit that would refuse everything.
    """

    max_mb: float
    max_side: int
    max_output_side: int
    part_side: int
    max_seconds: float
    timeout: float
    queue: int
    devices: int
    jobs_per_client: int
    requests_per_minute: int
    read_seconds: float
    patience: float
    keep_seconds: float
    keep_mb: float
    base64: bool
    behind_proxy: bool

    @classmethod
    def of(cls, cfg: Mapping[str, Any]) -> "Limits":
        """The limits in a configuration, with defaults for those that are null."""
        position = 0 if own_names(cfg) else 1
        given: dict[str, Any] = {name: cfg[name] for name in cls.names()}
        for name, defaults in _DEFAULTS.items():
            if given[name] is None:
                given[name] = defaults[position]
        return cls(**given)

    def __post_init__(self) -> None:
        for name in self.names():
            value = getattr(self, name)
            if value is None or (not isinstance(value, bool) and not value > 0):
                raise SettingError(name, value, "a number above 0")
        if self.max_seconds > self.timeout:
            raise SettingError(
                "max_seconds", f"{self.max_seconds:g}", f"at most timeout={self.timeout:g}", "raise timeout"
            )

    @classmethod
    def names(cls) -> list[str]:
        """The names of the settings."""
        return [field.name for field in fields(cls)]

    @property
    def max_bytes(self) -> int:
        """Maximum size of an uploaded file in bytes."""
        return int(self.max_mb * 1_000_000)

    @property
    def keep_bytes(self) -> int:
        """Maximum size of the files of all finished jobs in bytes."""
        return int(self.keep_mb * 1_000_000)


def own_names(cfg: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Host names that the server answers to if it serves only this machine, else None.

    Args:
        cfg: root of ``restore serve``; behind a proxy other machines are served, whatever ``host`` is.
    """
    return _LOOPBACK if cfg["host"] in _LOOPBACK and not cfg["behind_proxy"] else None
