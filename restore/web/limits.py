"""What a client may ask of the server, and the error that refuses more."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from restore.io.errors import SettingError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# of settings that are null: the value where this machine alone is served, which suits photos of phones, and elsewhere
_DEFAULTS = {"max_mb": (25.0, 1.0), "max_side": (8000, 2048), "max_output_side": (16384, 8192), "timeout": (3600, 300)}


class Refused(Exception):
    """A request is not served.

    Args:
        status: of HTTP, 4xx where the client can do something about it.
        sentence: got, expected, remedy.
        retry_after: seconds after which it may work, or None.
    """

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.retry_after = status, sentence, retry_after


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Settings of ``restore serve`` that limit what a client can use; ``conf/serve.yaml`` says what each is.

    Raises:
        SettingError: one of them leaves nothing to use.
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
        """Those of a configuration, with the defaults of what is null there."""
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
        """Names of the settings."""
        return [field.name for field in fields(cls)]

    @property
    def max_bytes(self) -> int:
        """Of an uploaded file."""
        return int(self.max_mb * 1_000_000)

    @property
    def keep_bytes(self) -> int:
        """Of the files of all finished jobs."""
        return int(self.keep_mb * 1_000_000)


def own_names(cfg: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names that the server answers to where this machine alone is served; None elsewhere.

    Args:
        cfg: of the command; behind a proxy others are served, whatever ``host`` is.
    """
    return _LOOPBACK if cfg["host"] in _LOOPBACK and not cfg["behind_proxy"] else None
