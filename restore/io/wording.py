"""Numbers with their nouns, for messages."""


def counted(number: int, noun: str) -> str:
    """The number and the noun, whose plural takes an s except for 1.

    >>> counted(1, "pair"), counted(2, "pair"), counted(0, "loader process")
    ('1 pair', '2 pairs', '0 loader processes')
    """
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{ending}"
