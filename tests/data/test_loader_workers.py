import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing import resource_sharer
from multiprocessing.resource_sharer import DupFd
from typing import NoReturn

import pytest
from torch.utils.data import DataLoader, Dataset

from restore.data.loader_workers import loader_workers
from restore.data.sampling import one_thread
from restore.io.errors import SettingError


class Failing(Dataset[int]):
    """Fails at its second sample, in a worker."""

    def __init__(self, fail: Callable[[], NoReturn]) -> None:
        self.fail = fail

    def __len__(self) -> int:
        return 4

    def __getitem__(self, k: int) -> int:
        return k if k == 0 else self.fail()


def no_memory() -> NoReturn:
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left on device (28)")


def no_queue() -> NoReturn:
    raise OSError(28, "No space left on device")


def bad_image() -> NoReturn:
    raise ValueError("photos/1.png is damaged:\n  it ends early")


def bad_setting() -> NoReturn:
    raise SettingError("data.patch_size", 3, "a multiple of 2", "set it")


def gone() -> NoReturn:
    open("photos/1.png").close()
    raise AssertionError


def defect() -> NoReturn:
    raise ZeroDivisionError("a defect of the package")


def killed() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


CASES: list[tuple[Callable[[], NoReturn], type[Exception], list[str]]] = [
    (no_memory, SettingError, ["data.num_workers is 2", "set data.num_workers=0"]),
    (bad_image, ValueError, ["data: photos/1.png is damaged:\n  it ends early"]),
    (bad_setting, ValueError, ["data: data.patch_size is 3, expected a multiple of 2; set it"]),
    (gone, ValueError, ["data: [Errno 2] No such file or directory: 'photos/1.png'"]),
    (defect, ZeroDivisionError, ["a defect of the package", "Traceback"]),
    (killed, ChildProcessError, ["a loader worker was killed", "data.num_workers"]),
]


@pytest.mark.parametrize(("fail", "kind", "parts"), CASES)
def test_an_error_in_a_worker_ends_all_workers_and_is_one_sentence(
    fail: Callable[[], NoReturn], kind: type[Exception], parts: list[str]
) -> None:
    loader = DataLoader(Failing(fail), num_workers=2, worker_init_fn=one_thread)
    handler = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(kind) as raised, loader_workers(2):  # noqa: PT012  the iterator lives on, as in a training
        numbers = iter(loader)
        for _ in numbers:
            pass
    assert multiprocessing.active_children() == []  # they ignore SIGTERM, which Python's exit sends before it waits
    assert all(part in str(raised.value) for part in parts)
    assert signal.getsignal(signal.SIGCHLD) == handler or handler in (signal.SIG_DFL, None)


def test_a_worker_that_is_killed_while_it_hands_over_a_tensor_is_named_too() -> None:
    """What a tensor comes through is gone with its worker; here it is closed instead."""
    given = DupFd(os.open(os.devnull, os.O_RDONLY))
    resource_sharer.stop(1)
    with pytest.raises(ChildProcessError, match="a loader worker was killed"), loader_workers(2):
        given.detach()
    with pytest.raises(ConnectionError), loader_workers(2):  # a dashboard's, for example
        raise ConnectionResetError


def test_a_full_memory_for_queues_names_the_setting_and_a_full_disk_does_not() -> None:
    with pytest.raises(SettingError) as refused, loader_workers(2):
        no_queue()
    assert refused.value.key == "data.num_workers"
    with pytest.raises(OSError, match=r"a\.png"), loader_workers(2):
        raise OSError(28, "No space left on device", "a.png")
    with pytest.raises(OSError, match="No space"), loader_workers(0):
        no_queue()
