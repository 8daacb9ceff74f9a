import os
import subprocess
import sys

import pytest

import restore
from restore.__main__ import COMMANDS, main


def test_the_top_command_lists_and_refuses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["restore", "--help"])
    main()
    out = capsys.readouterr().out
    assert all(f"  {command} " in out for command in COMMANDS)
    monkeypatch.setattr(sys, "argv", ["restore", "--version"])
    main()
    assert capsys.readouterr().out == f"restore {restore.__version__}\n"
    monkeypatch.setattr(sys, "argv", ["restore", "train"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "train is not a command" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["restore", "fitt"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "did you mean fit?" in capsys.readouterr().err


def test_it_hands_over(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["restore", "fit", "model.scal=2"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert "did you mean model.scale" in capsys.readouterr().err


def test_who_reads_the_first_lines_only_hears_of_no_error() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    argv = [sys.executable, "-m", "restore", "predict", "--help"]
    done = subprocess.run(argv, stdout=writes, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writes)
    assert done.stderr == ""
