"""Errors as data: what was got, what was expected, which setting, the remedy."""


class SettingError(ValueError):
    """A setting, or an input that a setting names, is not what it must be.

    Tests look at the parts; a person reads ``<key> is <got>, expected <expected>; <remedy>``.

    Args:
        key: dotted name of the setting, as a person would write it, for example ``data.batch_size``.
        got: its value. expected: in words, with the reason where it is not plain. remedy: what to do; may be empty.

    >>> str(SettingError("scale", 0, "at least 1", "set scale=2"))
    'scale is 0, expected at least 1; set scale=2'
    """

    def __init__(self, key: str, got: object, expected: str, remedy: str = "") -> None:
        super().__init__(key, got, expected, remedy)  # what unpickling in another process calls it with
        self.key, self.got, self.expected, self.remedy = key, got, expected, remedy

    def __str__(self) -> str:
        return f"{self.key} is {self.got}, expected {self.expected}" + (f"; {self.remedy}" if self.remedy else "")
