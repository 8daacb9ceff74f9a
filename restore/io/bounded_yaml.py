"""Reads YAML that a stranger may have written: an alias repeats a part, so a few lines can name billions of nodes."""

from typing import Any

import yaml

MOST_NODES = 100_000  # with every alias written out
DEEPEST = 64


def load_yaml(text: str) -> Any:
    """What :func:`yaml.safe_load` gives.

    Raises:
        ValueError: nested too deeply, or too many nodes. yaml.YAMLError: no YAML.
    """
    refuse_large(text)
    return yaml.safe_load(text)


def refuse_large(text: str) -> None:
    """Walk through the events of the parser, which builds nothing.

    Raises:
        ValueError: nested too deeply, or too many nodes. yaml.YAMLError: no YAML.
    """
    sizes: dict[str | None, int] = {}  # anchor -> nodes
    open_ones: list[tuple[str | None, int]] = []  # anchor, and nodes before it
    nodes = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            nodes += sizes.get(event.anchor, 0) + 1
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_ones.append((event.anchor, nodes))
            nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_ones.pop()
            if anchor is not None:
                sizes[anchor] = nodes - before
        if nodes > MOST_NODES or len(open_ones) > DEEPEST:
            raise ValueError(f"more than {MOST_NODES} nodes, or nested more than {DEEPEST} deep")
