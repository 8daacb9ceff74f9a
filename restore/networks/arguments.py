"""An error about a network's argument, as data."""


class ArgumentError(ValueError):
    """An argument of a network is invalid; a model turns this into an error about its setting.

    Args:
        name: name of the argument. got: its value. expected: in words.

    >>> str(ArgumentError("width", 0, "at least 1"))
    'width is 0, expected at least 1'
    """

    def __init__(self, name: str, got: object, expected: str) -> None:
        super().__init__(name, got, expected)  # arguments with which unpickling in another process calls the class
        self.name, self.got, self.expected = name, got, expected

    def __str__(self) -> str:
        return f"{self.name} is {self.got}, expected {self.expected}"


def refuse_below_one(**counts: int) -> None:
    """Refuse arguments, passed by name, that count something and are below 1.

    Raises:
        ArgumentError
    """
    for name, count in counts.items():
        if count < 1:
            raise ArgumentError(name, count, "at least 1")
