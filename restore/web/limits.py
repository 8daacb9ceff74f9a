"""What a client may ask of the server, and the error that refuses more."""

from dataclasses import dataclass, fields

from restore.io.errors import SettingError


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
