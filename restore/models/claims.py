"""Compares a file's description of a network with its weights, before the network is built and takes memory."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

MOST_CLAIMED = 1024  # maximum of any argument that counts something, whatever the weights


def refuse_claims(build: Callable[..., nn.Module], arguments: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Refuse numbers of blocks or channels, alone or multiplied, for which the file has no weights.

    The network is built once on the meta device, which takes no memory for weights, and no further than the file's
    weights.

    Args:
        build: the network's class. arguments: its arguments. state: the weights.

    Raises:
        ValueError: a number exceeds both the number of weights and all their sides, or the network described has other
            weights than the file.
    """
    most = max([MOST_CLAIMED, len(state), *(side for weight in state.values() for side in weight.shape)])
    for name, value in arguments.items():
        nested = list(value.values()) if isinstance(value, Mapping) else value
        numbers = nested if isinstance(nested, list | tuple) else [nested]
        if any(isinstance(number, int | float) and number > most for number in numbers):
            raise ValueError(f"{name} is {value}, but its {len(state)} weights have sides of at most {most}")
    with _at_most(len(state)), torch.device("meta"):
        described = build(**arguments).state_dict()
    for name in [*described, *state]:
        own, found = (tuple(each[name].shape) if name in each else None for each in (described, state))
        if own != found:
            raise ValueError(f"{name} is {found or 'missing'}, where the described network has {own or 'none'}")


@contextmanager
def _at_most(count: int) -> Iterator[None]:
    """Within the block, raise ValueError if this thread builds more than ``count`` parameters."""
    thread, built = threading.get_ident(), 0

    def count_one(*_: Any) -> None:
        nonlocal built
        if threading.get_ident() == thread:
            built += 1
            if built > count:
                raise ValueError(f"the described network has more than its {count} weights")

    hook = register_module_parameter_registration_hook(count_one)
    try:
        yield
    finally:
        hook.remove()
