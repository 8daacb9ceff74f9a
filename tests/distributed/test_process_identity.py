"""A process is told from a later one of the same number, and from a zombie."""

import os
import subprocess
import sys

import pytest

from restore.distributed.process_identity import ProcessIdentity


def test_a_process_is_alive_until_it_ends() -> None:
    assert ProcessIdentity.of(os.getpid()).is_alive()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        found = ProcessIdentity.of(child.pid)
        assert found.is_alive()
    assert not found.is_alive()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="times of start are read from /proc")
def test_a_zombie_and_a_reused_number_are_not_alive() -> None:
    assert not ProcessIdentity(os.getpid(), "1").is_alive()
    child = os.fork()
    if not child:
        os._exit(0)
    found = ProcessIdentity.of(child)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has read its status
    assert not found.is_alive()
    os.waitpid(child, 0)
