"""Reads untrusted YAML: since an alias repeats a part of it, a few lines can stand for billions of nodes."""

from typing import Any

import yaml

MOST_NODES = 100_000  # counting each alias as the nodes that it repeats
DEEPEST = 64


def load_yaml(text: str) -> Any:
    """Like :func:`yaml.safe_load`, with limits.

    Raises:
        ValueError: nested too deeply, or too many nodes. yaml.YAMLError: not YAML.
    """
    refuse_large(text)
    return yaml.safe_load(text)


def refuse_large(text: str) -> None:
    """Check the parser's events, without building anything.

    Raises:
        ValueError: nested too deeply, or too many nodes. yaml.YAMLError: not YAML.
    """
    sizes: dict[str | None, int] = {}  # anchor -> number of nodes
    open_ones: list[tuple[str | None, int]] = []  # anchor, and number of nodes before it
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
