"""Errors as data: which setting, the value it has, the value expected, the remedy."""


class SettingError(ValueError):
    """A setting, or an input named by a setting, is invalid.

    Tests compare the parts; users read ``<key> is <got>, expected <expected>; <remedy>``.

    Args:
        key: dotted name of the setting as users write it, for example ``data.batch_size``.
        got: the value. expected: in words, with the reason if it is not obvious. remedy: what to do; may be empty.

    >>> str(SettingError("scale", 0, "at least 1", "set scale=2"))
    'scale is 0, expected at least 1; set scale=2'
    """

    def __init__(self, key: str, got: object, expected: str, remedy: str = "") -> None:
        super().__init__(key, got, expected, remedy)  # arguments for unpickling in another process
        self.key, self.got, self.expected, self.remedy = key, got, expected, remedy

    def __str__(self) -> str:
        return f"{self.key} is {_as_written(self.got)}, expected {self.expected}" + (
            f"; {self.remedy}" if self.remedy else ""
        )


def _as_written(value: object) -> str:
    """None and booleans as in YAML and on the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
