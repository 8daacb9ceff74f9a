import signal
import threading
import time
import weakref
from contextlib import suppress

import pytest

from restore.distributed import signals
from restore.distributed.signals import StopRequested


def test_a_request_to_stop_names_its_signal_and_is_no_failure() -> None:
    stop = StopRequested(signal.SIGTERM)
    assert (str(stop), stop.number, stop.is_own, stop.is_common) == ("SIGTERM", signal.SIGTERM, True, False)
    assert not isinstance(stop, Exception)
    assert StopRequested(signal.SIGUSR1, is_own=False, is_common=True).is_common


def test_a_handler_is_there_within_the_block_only() -> None:
    before = signal.getsignal(signal.SIGUSR2)
    with signals.handled(signals.interrupt, [signal.SIGUSR2]), pytest.raises(StopRequested) as stop:
        signal.raise_signal(signal.SIGUSR2)
    assert stop.value.number == signal.SIGUSR2
    assert signal.getsignal(signal.SIGUSR2) is before


def test_a_signal_that_python_ignores_comes_again() -> None:
    class Referred:
        pass

    def forget_and_wait() -> None:
        held.clear()  # what the callback raises is ignored
        time.sleep(60)

    held = [Referred()]
    callback = weakref.ref(held[0], lambda _: signal.raise_signal(signal.SIGUSR2))
    handling = signals.handled(signals.interrupt, [signal.SIGUSR2])
    with signals.never_ignored(), handling, pytest.raises(StopRequested) as stop:
        forget_and_wait()
    assert stop.value.number == signal.SIGUSR2
    assert callback() is None


def test_a_signal_that_a_library_swallows_stops_again() -> None:
    with signals.interrupting() as stop_again:
        stop_again()
        with suppress(StopRequested):  # as PyTorch does while it imports NumPy
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(StopRequested) as stop:
            stop_again()
    assert stop.value.number == signal.SIGINT


def test_outside_the_main_thread_nothing_is_handled() -> None:
    found: list[object] = []

    def ask() -> None:
        with signals.handled(signals.interrupt, [signal.SIGUSR2]):
            found.append(signal.getsignal(signal.SIGUSR2))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGUSR2)]


def test_the_first_signal_is_noted_and_the_second_ends() -> None:
    with signals.stopping() as received:
        assert received() == 0
        signal.raise_signal(signal.SIGINT)
        assert received() == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_without_slurm_nothing_is_requeued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert not signals.requeue(signal.SIGUSR1)
