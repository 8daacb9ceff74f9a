"""The documents hold what they promise: commands run, links lead somewhere, settings and quoted errors exist.

How a page is written so that it passes stands in ``tests/docs_lines.py``.
"""

import ast
import contextlib
import dataclasses
import importlib
import importlib.util
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from restore.__main__ import COMMANDS
from restore.callbacks import curves
from restore.checkpoint import METHODS
from restore.config import schemas
from restore.config.command import conf_dir
from restore.config.errors import sentence
from restore.data.photos import EMBEDDED
from tests import docs_world
from tests.conftest import Cli
from tests.docs_lines import PAGES, ROOT, STUDIES, Line, blocks, lines_of, smaller

HOW = "tests/docs_lines.py says how a page is written"


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("page", [*PAGES, *STUDIES], ids=named)


# --- commands ---


@every_page
def test_every_line_of_a_shell_block_is_known(page: Path) -> None:
    unknown = []
    for start, language, _ in blocks(page):
        if language in ("", "bash", "shell", "console", "zsh", "shell-session", "py", "pycon"):
            unknown.append(f"{named(page)}:{start}: a block of {language or 'no language'}; name sh, python or text")
    for line in lines_of(page):
        if line.language == "python" or line.reason is not None:
            continue
        words = line.restore
        if words is None or (words[0] not in COMMANDS and words[0] not in ("--help", "--version")):
            unknown.append(f"{line.place}: nobody runs `{line.text}`; make it a `restore` command or add it to NOT_RUN")
        elif {"|", "&&", "||", ">", ";", "&", "<", "2>&1"} & set(words):
            unknown.append(f"{line.place}: write one command to a line: `{line.text}`")
    assert not unknown, "\n".join([*unknown, HOW])


@every_page
def test_every_command_composes_as_it_stands(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORE_DATA", "data")
    wrong = []
    for line in lines_of(page):
        words = line.restore if line.language == "sh" else None
        if words is None or not is_composed(words[0]) or (line.reason is None and set(words) <= set(smaller(words))):
            continue  # what is run with all its words is composed there
        try:
            with initialize_config_dir(conf_dir(), version_base="1.3"):
                compose(words[0], [*_without_sweeps(words[1:])], return_hydra_config=True)
        except Exception as error:  # noqa: BLE001, whatever it is belongs to the line
            wrong.append(f"{line.place}: `{line.text}`\n  {sentence(error)}")
    assert not wrong, "\n".join([*wrong, HOW])


def is_composed(command: str) -> bool:
    """Whether Hydra composes the command's settings; `restore table` reads folders, and no configuration."""
    return (Path(conf_dir()) / f"{command}.yaml").is_file()


def _without_sweeps(words: list[str]) -> Iterator[str]:
    """Each word, of a sweep the first point."""
    for word in words:
        if "=" not in word:  # an option, or one of the folders of `restore table`
            continue
        override = OverridesParser.create().parse_override(word)
        if override.is_discrete_sweep():
            yield f"{word.partition('=')[0]}={next(iter(override.sweep_string_iterator()))}"
        elif not override.is_sweep_override():
            yield word


class Files(NamedTuple):
    """What the pages of one test process share: their folder, and small photos in place of the embedded ones."""

    template: Path
    embedded: dict[str, tuple[str, ...]]
    done: set[tuple[str, ...]]  # commands that have run, each behind the page it stands on


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("documents")
    docs_world.build(folder / "world")
    return Files(folder / "world", docs_world.small_embedded(folder / "embedded"), set())


@pytest.fixture
def world(files: Files, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the reader of a page has it, behind `make demo`."""
    for name, photos in files.embedded.items():
        monkeypatch.setitem(EMBEDDED, name, photos)
    monkeypatch.setattr(curves, "draw_curves", lambda *_: None)  # a third of a training of four steps
    if not (files.template / "outputs").exists():
        commands = [["fit", "name=demo", "run_id=demo"]]
        commands += [
            ["evaluate", "ckpt_path=bicubic", f"scale={scale}", "benchmarks=[data/Set5]", f"output={folder}"]
            for scale, folder in enumerate(docs_world.EVALUATIONS, 2)
        ]
        with monkeypatch.context() as here:
            here.chdir(files.template)
            for command in commands:
                outcome = cli(*smaller(command))
                assert outcome.status == 0, outcome.err
        for folder in docs_world.RUNS:
            shutil.copytree(files.template / docs_world.RUN, files.template / folder)
    shutil.copytree(files.template, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if lines_of(page)], ids=named)
def test_a_page_runs_from_top_to_bottom(page: Path, world: Path, files: Files, cli: Cli) -> None:
    wrong = [problem for line in lines_of(page) for problem in [_problem(line, cli, files.done)] if problem is not None]
    assert not wrong, "\n".join([*wrong, HOW])


def _problem(line: Line, cli: Cli, done: set[tuple[str, ...]]) -> str | None:
    if line.language == "python":
        try:
            exec(compile(line.text, line.place, "exec"), {"__name__": "document"})
        except Exception as error:  # noqa: BLE001, whatever it is belongs to the page
            return f"{line.place}: {type(error).__name__}: {error}"
        return None
    words = line.restore
    if line.reason is not None or words is None or words[0] not in COMMANDS:
        return None
    small = smaller(words)
    # a training without a name leaves nothing that a page could go on with: once is enough for all pages
    is_nameless = small[0] == "fit" and not re.search(r"\b(run_id|name|output)=", line.text)
    known = ("" if is_nameless else line.place.partition(":")[0], *small)
    if known in done:
        return None
    # without an option Hydra composes twice, first to find out whether it is a sweep
    is_plain = is_composed(small[0]) and not any(word.startswith("-") for word in small)
    outcome = cli(small[0], *(["--run"] if is_plain else []), *small[1:])
    if outcome.status == 0:
        if not re.search(r"\b(run_id|output)=", line.text):  # what such a line makes, a later one may want
            done.add(known)
        return None
    return f"{line.place}: `{line.text}`\n  run as: restore {' '.join(small)}\n  status {outcome.status}: {outcome.err}"


@pytest.mark.slow
@pytest.mark.skipif("serve" not in COMMANDS, reason="there is no page yet")
def test_requests_to_the_page_are_answered(world: Path) -> None:
    """One page, small and on a free port, for the `curl` lines of all documents, in their order."""
    requests = [line for page in PAGES for line in lines_of(page) if line.text.startswith(("curl ", "printf "))]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = "ckpt_path=[super_resolution_x2,zero_shot,bicubic]"
    words = [*smaller(["serve", served]), "base64=true", "part_side=16", f"port={port}"]
    wrong, job = [], ""
    with subprocess.Popen([sys.executable, "-m", "restore", *words], stdout=subprocess.DEVNULL) as server:
        try:
            _wait_for(port, server)
            for line in requests:
                # a result is asked for before it is there, and refused until then
                again = "--retry 30 --retry-delay 1 --retry-all-errors" if "/jobs/ID" in line.text else ""
                typed = line.typed.replace(":7860", f":{port}").replace("jobs/ID", f"jobs/{job}")
                typed = typed.replace("curl ", f"curl -sS --fail-with-body {again} ")
                shell = ["bash", "-o", "pipefail", "-c", typed]
                done = subprocess.run(shell, capture_output=True, text=True, timeout=120)
                job = next(iter(re.findall(r'"id": ?"([\w-]+)"', done.stdout)), job)  # of token_urlsafe, with - in it
                if done.returncode:
                    wrong.append(f"{line.place}: `{line.text}`\n  {done.stdout[-300:]} {done.stderr[-300:]}")
        finally:
            server.terminate()
    assert not wrong, "\n".join(wrong)
    assert job, "no answer held the id of a job"


PAGES_SERVED = dict.fromkeys(
    tuple(word for word in line.restore if word != "&")
    for page in PAGES
    for line in lines_of(page)
    if line.restore is not None and line.restore[0] == "serve"
)


@pytest.mark.slow
@pytest.mark.parametrize("words", PAGES_SERVED, ids=" ".join)
def test_a_page_is_served_as_the_documents_say(world: Path, words: tuple[str, ...]) -> None:
    """On a free port; stopped as soon as it says what it serves."""
    (world / "my_models").mkdir(exist_ok=True)
    shutil.copy(world / "outputs/demo/demo/checkpoints/best.ckpt", world / "my_models" / "mine.ckpt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = [word for word in words if not word.startswith("port=")]
    command = [sys.executable, "-m", "restore", *given, f"port={port}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            _wait_for(port, server)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/methods", timeout=60) as answer:
                assert json.load(answer)
        finally:
            server.terminate()


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert server.poll() is None, "the page did not start"
        time.sleep(0.2)
    pytest.fail("the page did not start within two minutes")


def test_makefile_targets_and_scripts_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in (line for page in [*PAGES, *STUDIES] for line in lines_of(page) if line.language == "sh"):
        words = line.text.split()
        if words[0] == "make":
            assert words[1] in targets, line
        if words[0] == "python" and words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file(), line
        if words[:2] == ["python", "-m"] and words[2].startswith("experiments."):
            assert importlib.util.find_spec(words[2]) is not None, line


# --- drawings ---


def test_a_drawing_shows_the_network_as_it_is_built() -> None:
    path = ROOT / "docs" / "drawings.py"
    spec = importlib.util.spec_from_file_location("drawings", path)
    assert spec is not None
    assert spec.loader is not None
    drawings = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawings)
    assert set(drawings.DRAWINGS) == set(METHODS)
    for method in METHODS:
        with Image.open(path.parent / "methods" / f"{method}.png") as file:
            drawn = file.info["Description"]
        assert drawn == drawings.texts(drawings.made(method)), f"{method}: python {named(path)} draws it anew"


# --- links, settings, quoted errors ---


@every_page
def test_every_linked_file_exists(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text)
    missing = [link for link in links if not (page.parent / link).resolve().exists()]
    assert not missing, f"{named(page)} links to {missing}"


NO_SETTINGS = {"key", "weights_only", "antialias"}  # an example, and keywords of Python


@cache
def settings() -> frozenset[str]:
    """Every key of every configuration file, with its dots, and every group."""
    found = set()
    for file in Path(conf_dir()).rglob("*.yaml"):
        group = file.parent.relative_to(conf_dir()).as_posix()
        is_root = group in (".", "experiment")
        prefix = "" if is_root else f"{group.partition('/')[0]}."
        content = yaml.safe_load(file.read_text()) or {}
        found |= {f"{prefix}{key}" for key in _keys({key: each for key, each in content.items() if key != "defaults"})}
        found |= set() if is_root else {group}
    others = [importlib.import_module(f"restore.{command}") for command in COMMANDS if not is_composed(command)]
    for schema in (each for module in (schemas, *others) for each in vars(module).values()):
        if dataclasses.is_dataclass(schema):
            found |= {field.name for field in dataclasses.fields(schema)}
    return frozenset(found | {"experiment"})


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        yield f"{prefix}{key}"
        yield from _keys(value, f"{prefix}{key}.")


@every_page
def test_every_setting_named_in_the_text_exists(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    spans = [word for span in re.findall(r"`([^`\n]+)`", text) for word in span.split()]
    keys = {match[1] for word in spans for match in [re.match(r"[~+]*([a-z_]+(?:[./][a-z_]+)*)=", word)] if match}
    known = settings() | {f"zero_shot.{key}" for key in settings()}
    unknown = sorted(key for key in keys - NO_SETTINGS if key not in known and not key.startswith("hydra"))
    assert not unknown, f"{named(page)} names {unknown}, which no file of conf/ has; {HOW}"


@cache
def messages() -> tuple[re.Pattern[str], ...]:
    """A pattern for every sentence in the code; what it fills in matches anything."""
    found = []
    for file in (ROOT / "restore").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            fixed = [each.value if isinstance(each, ast.Constant) else None for each in parts]
            plain = [each for each in fixed if isinstance(each, str)]
            if sum(map(len, plain)) >= 15 and " " in "".join(plain):
                text = "".join(re.escape(each) if isinstance(each, str) else ".+?" for each in fixed)
                found += [re.compile(re.sub(r"%[\d.]*[a-z]", ".+?", line)) for line in text.split("\\\n")]
    return tuple(found)


def test_every_quoted_error_exists_in_the_code() -> None:
    """Those that stand as a block quote in the page on trouble."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = [line.removeprefix("> ").strip("` ") for line in text.splitlines() if line.startswith("> ")]
    assert len(quoted) > 10
    missing = [each for each in quoted if not any(pattern.fullmatch(each) for pattern in messages())]
    assert not missing
