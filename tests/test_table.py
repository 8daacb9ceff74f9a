"""restore table: real run folders, and names that nobody wants."""

import contextlib
import csv
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import yaml

from restore.runs.reader import find
from restore.table import parse
from tests.conftest import Cli, subprocess_cli
from tests.runs.run_folders import results_csv, run_folder


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_unfinished_and_damaged_runs_are_listed(tmp_path: Path, cli: Cli) -> None:
    run_folder(tmp_path / "runs" / "good")
    (run_folder(tmp_path / "runs" / "stopped", value=None) / "metrics.csv").write_text("step,a\n10,1\n20,2\n3")
    run_folder(tmp_path / "runs" / "young", value=None)
    (run_folder(tmp_path / "runs" / "torn") / "result.json").write_text('{"monitor": "best')
    (run_folder(tmp_path / "runs" / "odd") / "result.json").write_text(
        '{"metrics": {"a/b": "x"}, "protocol": 1, "steps": 2}'
    )
    (run_folder(tmp_path / "runs" / "bytes") / "results.csv").write_bytes(b"benchmark,image\n\xff\xfe,1\n")
    (tmp_path / "runs" / "judged").mkdir()
    (tmp_path / "runs" / "judged" / "partial.json").write_text("{}")
    outcome = cli("table", "runs", "format=csv")
    states = {row[0]: row[1] for row in rows_of(outcome.out)[1:]}
    assert outcome.status == 0
    assert states == {
        "bytes": "finished",
        "good": "finished",
        "judged": "not finished",
        "odd": "damaged (ValueError)",
        "stopped": "not finished, at step 20",
        "torn": "damaged (result.json)",
        "young": "not finished",
    }
    assert "results.csv is damaged" in outcome.err


def test_a_sweep_an_evaluation_and_files_as_output(tmp_path: Path, cli: Cli) -> None:
    for seed in (0, 1):
        folder = run_folder(tmp_path / "multirun" / "x" / f"seed={seed},model.lr=0.1", value=30.0 + seed, seed=seed)
        results_csv(folder / "results.csv", {"p": 30.0 + seed, "q": 31.0})
    judged = tmp_path / "outputs" / "evaluate" / "best"
    results_csv(judged / "results.csv", {"p": 33.0, "q": 33.0})
    means = {"best": {"Set5": {"psnr_y": 33.0, "lpips_alex": None}}, "bicubic": {"Set5": {"psnr_y": 3.0}}}
    (judged / "results.json").write_text(json.dumps({"means": means, "protocol": "sr_y", "ckpt_path": "c"}))
    outcome = cli("table", "multirun/x/*", "outputs", "multirun", "format=csv", "output=t.csv")
    assert (outcome.status, outcome.out) == (0, "")
    header, first, second, third = rows_of(Path("t.csv").read_text())
    assert header[:3] == ["run", "state", "seed"]
    assert header[3:] == ["Set5/psnr_y (sr_y)", "Set5/lpips_alex (sr_y)", "steps", "seconds"]
    assert first == ["multirun/x/seed=0,model.lr=0.1", "finished", "0", "30.000", "", "4", "12.3"]
    assert second[2:4] == ["1", "31.000"]
    assert third == ["outputs/evaluate/best", "finished", "", "33.000", "", "", ""]
    _, gain, best = rows_of(Path("t_paired.csv").read_text())
    assert gain[5:9] == ["+0.500", "+0.000 to +1.000", "50%", "2"]
    assert best[5] == "+2.500"


HOSTILE = [
    "a|b",
    "$x_y%&#{}~^",
    "line\nbreak",
    "tab\t",
    "`code` *b* [l](u) <b>",
    "-rf",
    "seed=1",
    "Käse 漢字",
    '"q,q"',
    "\\end{x}",
]


def test_hostile_names_stay_in_their_cells(tmp_path: Path, cli: Cli) -> None:
    for name in HOSTILE:
        run_folder(tmp_path / "h" / name)
    if os.name == "posix":
        run_folder(tmp_path / "h" / os.fsdecode(b"\xff\xfe") / "1")
    cells = [row[0] for row in rows_of(cli("table", "h", "format=csv").out)[1:]]
    assert sorted(cells) == sorted(
        [
            *(name.replace("\n", "\\n").replace("\t", "\\t").replace("-rf", "'-rf") for name in HOSTILE),
            "\\xff\\xfe/1",
        ]
    )
    lines = cli("table", "h").out.splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == len(HOSTILE) + 3
    assert {line.replace("\\|", "").count("|") for line in rows} == {rows[0].count("|")}
    text = cli("table", "h", "format=latex").out
    assert text.count(r"\end{tabular}") == text.count(r"\toprule") == 1
    assert r"\$x\_y\%\&\#\{\}\textasciitilde{}\textasciicircum{}" in text
    assert r"\textbackslash{}end\{x\}" in text


def test_a_folder_that_looks_like_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_folder(tmp_path / "seed=1")
    assert parse(["seed=1", "x/format=1", "runs=[a,'b,c']", "runs=d"]).runs == ["seed=1", "x/format=1", "a", "b,c", "d"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "runs is []"),
        (("nowhere",), "nowhere is not a folder"),
        (("empty",), "holds no run"),
        (("empty", "format=html"), "expected one of markdown, csv, latex"),
        (("empty", "formt=csv"), "did you mean format?"),
        (("runs=[a",), "runs is [a, expected folders, for example runs=[a,b]; close"),
        (("empty", "output=file/a.md"), "output is file, expected a folder where files can be written"),
    ],
)
def test_refusals_are_one_sentence(tmp_path: Path, cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    outcome = cli("table", *arguments)
    assert outcome.status == 1
    assert words in outcome.err
    assert "Traceback" not in outcome.err


def test_a_run_is_found_once_and_what_lies_in_it_is_no_run(tmp_path: Path) -> None:
    run_folder(tmp_path / "a" / "1")
    results_csv(tmp_path / "a" / "1" / "evaluate" / "results.csv", {"p": 1})
    assert find([str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "1")]) == [tmp_path / "a" / "1"]


def test_help_and_cfg_need_no_torch(tmp_path: Path) -> None:
    outcome = subprocess_cli("table", "--cfg", "job", "a", "format=csv", cwd=tmp_path)
    assert yaml.safe_load(outcome.stdout) == {"runs": ["a"], "format": "csv", "output": None}
    run = "sys.argv = ['table', '--help']; restore.table.main(); assert 'torch' not in sys.modules"
    code = f"import sys, restore.table; {run}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage: restore table" in done.stdout


def in_a_terminal(width: int, *arguments: str, cwd: Path) -> str:
    """What is seen in one of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    argv = [sys.executable, "-m", "restore.table", *arguments]
    process = subprocess.Popen(argv, cwd=cwd, stdout=theirs, env=environment | {"TERM": "xterm"})
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError), open(ours, "rb", buffering=0) as screen:  # which ends in an error on Linux
        while piece := screen.read(65536):
            seen += piece
    assert process.wait(60) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", seen.decode()).replace("\r\n", "\n")


def test_a_terminal_sees_drawn_tables_of_its_width_and_a_pipe_plain_lines(tmp_path: Path) -> None:
    for seed in (0, 1):
        folder = run_folder(tmp_path / "h" / f"[red]seed={seed}", seed=seed, note="word " * 30)
        results_csv(folder / "results.csv", {"p": 30.0 + seed, "q": 31.0})
    for width in (70, 220):
        seen = in_a_terminal(width, "h", cwd=tmp_path)
        assert "|---|" not in seen
        assert "Gain over" in seen
        assert max(map(len, seen.splitlines())) <= width
    drawn = [line for line in seen.splitlines() if "[red]seed=1" in line]
    assert len(drawn) == 2  # a row of each table, on one line
    assert "┃" in seen
    markdown_anyway = in_a_terminal(70, "h", "format=markdown", cwd=tmp_path)
    piped = subprocess_cli("table", "h", cwd=tmp_path).stdout
    assert markdown_anyway == piped
    assert max(map(len, piped.splitlines())) > 150
    assert sum(line.startswith("|---|") for line in piped.splitlines()) == 2
