"""The documents hold what they promise: commands run, links lead somewhere, settings and quoted errors exist.

How a page is written so that it passes stands in ``tests/docs_lines.py``.
"""

import ast
import contextlib
import dataclasses
import importlib
import importlib.util
import json
import os
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import cache
from glob import glob
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image
from starlette.testclient import TestClient

from restore.__main__ import COMMANDS
from restore.checkpoints import locate
from restore.config import schemas
from restore.config.command import conf_dir
from restore.config.errors import sentence
from restore.models.loading import METHODS
from restore.predict import FELL_BACK
from restore.profiling import workload
from restore.training import launcher
from restore.web import isolated_process, server
from restore.web.limits import Limits
from tests import docs_folder, fork_server
from tests.conftest import CHROMIUM, Cli, required
from tests.docs_lines import (
    PAGES,
    ROOT,
    SMALLER_SCRIPTS,
    STUDIES,
    STUDY_LIST,
    ByTest,
    InFile,
    Line,
    blocks,
    lines_for,
    lines_of,
    smaller,
)

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
        if line.language == "python" or line.elsewhere:
            continue
        words = shlex.split(line.text)
        if line.restore is None and runner(words) is None:
            unknown.append(f"{line.place}: nobody runs `{line.text}`; make it a `restore` command or see ELSEWHERE")
        elif line.restore is not None and line.restore[0] not in (*COMMANDS, "--help", "--version"):
            unknown.append(f"{line.place}: `{line.text}` names no command")
        elif {"|", "&&", "||", ">", ";", "&", "<", "2>&1"} & set(words):
            unknown.append(f"{line.place}: write one command to a line: `{line.text}`")
    assert not unknown, "\n".join([*unknown, HOW])


@every_page
def test_every_command_composes_as_it_stands(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORE_DATA", "data")
    wrong = []
    for line in lines_of(page):
        words = line.restore if line.language == "sh" else None
        if words is None or not is_composed(words[0]) or (not line.elsewhere and set(words) <= set(smaller(words))):
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
    """What the pages of one test process share."""

    template: Path
    done: set[tuple[str, ...]]  # commands that have run, each behind the page it stands on


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("documents")
    docs_folder.build(folder / "world")
    return Files(folder / "world", set())


@pytest.fixture
def world(files: Files, cli: Cli, points_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the reader of a page has it, after `make demo`; the processes that commands start are forked."""
    if not (files.template / "outputs").exists():
        commands = [["fit", "name=demo", "run_id=demo"]]
        commands += [
            ["evaluate", "ckpt_path=bicubic", f"scale={scale}", "benchmarks=[data/Set5]", f"output={folder}"]
            for scale, folder in enumerate(docs_folder.EVALUATIONS, 2)
        ]
        with monkeypatch.context() as here:
            here.chdir(files.template)
            for command in commands:
                outcome = cli(*smaller(command))
                assert outcome.status == 0, outcome.err
        for folder in docs_folder.RUNS:
            shutil.copytree(files.template / docs_folder.RUN, files.template / folder)
    shutil.copytree(files.template, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path / docs_folder.PICTURES))
    for module in (launcher, workload):
        monkeypatch.setattr(module, "subprocess", SimpleNamespace(Popen=fork_server.popen, run=fork_server.run))
    return tmp_path


@pytest.fixture
def studied(world: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Its copy of the studies' scripts is the one that is imported, and what they start runs in this process.

    Weights that they give away go to a folder of this test's.
    """
    docs_folder.study_scripts(world / "experiments", SMALLER_SCRIPTS)
    shutil.copytree(locate.SHIPPED, world / "weights")
    monkeypatch.setattr(locate, "SHIPPED", world / "weights")
    monkeypatch.syspath_prepend(world)
    known = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "experiments"}
    start = subprocess.run

    def run(argv: list[str], **options: Any) -> "subprocess.CompletedProcess[Any]":
        if argv[:2] != [sys.executable, "-m"] or not argv[2].startswith("restore."):
            return start(argv, **options)
        outcome = cli(argv[2].removeprefix("restore."), *argv[3:])
        assert outcome.status == 0, f"{argv}: {outcome.err}"
        return subprocess.CompletedProcess(argv, 0)

    monkeypatch.setattr(subprocess, "run", run)
    yield world
    for name in [name for name in sys.modules if name.partition(".")[0] == "experiments"]:
        del sys.modules[name]
    sys.modules.update(known)


def test_the_list_of_studies_names_commands_of_their_pages() -> None:
    """Which run there."""
    run = [set(line.restore or line.text.split()) for page in STUDIES if page != STUDY_LIST for line in lines_of(page)]
    for line in lines_of(STUDY_LIST):
        assert any(set(line.restore or line.text.split()) <= words for words in run), line


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in STUDIES if page != STUDY_LIST], ids=named)
def test_a_study_is_done_again_by_its_page(page: Path, studied: Path, files: Files, cli: Cli) -> None:
    """At a tiny size; every table and picture that its lines are said to make is another one then."""
    wrong = [problem for line in lines_of(page) for problem in [_problem(line, cli, files.done)] if problem is not None]
    assert not wrong, "\n".join([*wrong, HOW])
    shown = [*page.parent.glob("*.csv"), *page.parent.glob("*.[pj][np]g")]
    kept = {file.name for file in shown if (studied / file.relative_to(ROOT)).read_bytes() == file.read_bytes()}
    assert kept <= NO_SCRIPT_DRAWS, f"no line of {named(page)} makes {kept} anew"


NO_SCRIPT_DRAWS = {
    "butterfly_x2.png",  # a part of a sheet that `restore evaluate save_images=true` makes
    "emoji.csv",  # of a font that no package of ours brings
    "emoji.png",
    "pack_training.csv",  # trainings by the clock, on one process and on two
}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if lines_of(page)], ids=named)
def test_a_page_runs_from_top_to_bottom(
    page: Path, world: Path, files: Files, cli: Cli, request: pytest.FixtureRequest
) -> None:
    if any("experiments." in line.text and not line.elsewhere for line in lines_of(page)):
        request.getfixturevalue("studied")
    wrong = [problem for line in lines_of(page) for problem in [_problem(line, cli, files.done)] if problem is not None]
    assert not wrong, "\n".join([*wrong, HOW])


def _problem(line: Line, cli: Cli, done: set[tuple[str, ...]]) -> str | None:
    if line.language == "python":
        try:
            exec(compile(line.text, line.place, "exec"), {"__name__": "document"})
        except Exception as error:  # noqa: BLE001, whatever it is belongs to the page
            return f"{line.place}: {type(error).__name__}: {error}"
        return None
    if line.elsewhere:
        return None
    words = line.restore
    if words is not None and words[0] in COMMANDS:
        return _command_problem(line, words, cli, done)
    words = shlex.split(line.text)
    run = runner(words)
    assert run is not None, line  # another test holds that
    try:
        run([each for word in words for each in _expanded(word)])
    except Exception as error:  # noqa: BLE001, whatever it is belongs to the page
        return f"{line.place}: `{line.text}`\n  {type(error).__name__}: {error}"
    return None


def _command_problem(line: Line, words: list[str], cli: Cli, done: set[tuple[str, ...]]) -> str | None:
    small = smaller([os.path.expandvars(word) for word in words])
    # a training without a name leaves nothing that a page could go on with: once is enough for all pages
    is_nameless = small[0] == "fit" and not re.search(r"\b(run_id|name|output|experiment)=", line.text)
    known = ("" if is_nameless else line.place.partition(":")[0], *small)
    if known in done:
        return None
    outcome = cli(*small)
    if line.refusal is None:
        is_fine = outcome.status in (0, FELL_BACK)  # of so few steps of zero-shot some do not beat bicubic
    else:  # a table may have broken the sentence
        said = re.sub(r"\s+", " ", outcome.out + outcome.err)
        is_fine = outcome.status == 1 and re.search(line.refusal, said) is not None
    if is_fine:
        if not re.search(r"\b(run_id|output)=", line.text):  # what such a line makes, a later one may want
            done.add(known)
        return None
    return (
        f"{line.place}: `{line.text}`\n  run as: restore {' '.join(small)}\n"
        f"  status {outcome.status}, expected {line.refusal or 'none but 0'}: {outcome.out[-2000:]} {outcome.err}"
    )


# --- commands that are not ours ---


def runner(words: list[str]) -> Callable[[list[str]], None] | None:
    """What runs a line, in the folder this process is in, and raises where it does not do what it should."""
    if words[0] == "restore" and words[1].startswith("--"):
        return _run_restore
    if words[:2] == ["python", "-m"] and words[2].startswith("experiments."):
        return _run_script
    return {"torchrun": _run_torchrun, "tensorboard": _run_tensorboard}.get(words[0])


def _expanded(word: str) -> list[str]:
    """As the shell does: variables, and patterns of files."""
    word = os.path.expandvars(word)
    return sorted(glob(word)) if "*" in word else [word]


def _run_restore(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout


def _run_script(words: list[str]) -> None:
    """As `python -m` would, in this process."""
    with pytest.MonkeyPatch.context() as here:
        here.setattr(sys, "argv", words[2:])
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)


def _run_torchrun(words: list[str]) -> None:
    """With two processes in all: on one machine, or one process on each of two machines, which are this one twice."""
    at = words.index("-m")
    options, training = words[1:at], smaller([words[at + 1].removeprefix("restore."), *words[at + 2 :]])
    given = dict(zip(options[::2], options[1::2], strict=True))
    machines = int(given.get("--nnodes", "1"))
    given |= {"--nproc-per-node": "1"} if machines > 1 else {}
    given |= {"--master-addr": "127.0.0.1", "--master-port": str(free_port())} if "--master-addr" in given else {}
    starts = []
    for node in range(machines):
        node_rank = {"--node-rank": str(node)} if machines > 1 else {}
        own = [word for pair in (given | node_rank).items() for word in pair]
        devices = ["trainer.devices=1"] if machines > 1 else []
        argv = ["-m", "torch.distributed.run", *own, words[at], words[at + 1], *training[1:], *devices]
        starts.append(fork_server.start(*argv, cwd=Path.cwd()))
    said = [start.communicate(timeout=200)[0] for start in starts]
    assert all(start.returncode == 0 for start in starts), said
    run_id = next(word.partition("=")[2] for word in training if word.startswith("run_id="))
    (result,) = Path("outputs").glob(f"*/{run_id}/result.json")
    assert json.loads(result.read_text())["processes"] == 2


def _run_tensorboard(words: list[str]) -> None:
    """On a free port; it must know the scalars of what was trained before."""
    port = free_port()
    argv = [sys.executable, "-m", "tensorboard.main", *words[1:], "--port", str(port)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(port, server)
            for _ in range(100):  # it reads the folder behind the start
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/plugin/scalars/tags", timeout=60) as answer:
                    tags = json.load(answer)
                if tags:
                    break
                time.sleep(0.2)
            assert any("train/loss" in scalars for scalars in tags.values()), tags
        finally:
            server.terminate()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_commands_that_a_page_leaves_to_other_tests_are_run_there() -> None:
    wrong = []
    for line in (line for page in [*PAGES, *STUDIES] for line in lines_of(page) if line.language == "sh"):
        wrong += [
            f"{line.place}: {each} does not run `{line.text}`" for each in line.elsewhere if not _does(each, line)
        ]
    assert not wrong, "\n".join(wrong)


def _does(who: ByTest | InFile, line: Line) -> bool:
    if isinstance(who, InFile):
        text = (ROOT / who.file).read_text(encoding="utf-8")
        patterns = [who.pattern.replace("{0}", re.escape(target)) for target in line.targets]
        return all(re.search(f"^{pattern}", text, re.MULTILINE) for pattern in patterns)
    file, _, name = who.id.partition("::")
    code = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    taken = [node.args[0] for node in ast.walk(code) if isinstance(node, ast.Call) and _name(node.func) == "lines_for"]
    takes = any(isinstance(each, ast.Constant) and each.value == who.id for each in taken)
    return takes and any(isinstance(node, ast.FunctionDef) and node.name == name for node in code.body)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


# --- the page of `restore serve`, and pictures ---


@pytest.mark.slow
def test_the_page_answers_requests_and_its_image_is_drawn_anew(world: Path) -> None:
    """One page, small and on a free port, for the script that draws it and the `curl` lines of all documents."""
    required("browser", CHROMIUM.exists() and importlib.util.find_spec("playwright") is not None)
    lines = lines_for("tests/test_docs.py::test_the_page_answers_requests_and_its_image_is_drawn_anew")
    serving, drawing = (next(each for each in lines if word in each.text) for word in ("restore serve", ".py"))
    assert serving.restore is not None
    with _served(*smaller(serving.restore), "base64=true", "part_side=16") as port:
        wrong = _problems_of_requests([each for each in lines if each not in (serving, drawing)], port)
        script, address = (word.replace(":7860", f":{port}") for word in shlex.split(drawing.text)[1:])
        argv = [sys.executable, str(ROOT / script), address, str(world / "serve.png")]
        subprocess.run(argv, cwd=world, timeout=900, check=True)
    assert not wrong, "\n".join(wrong)
    with Image.open(world / "serve.png") as file:
        assert file.size == (960, 600)
        assert len(file.getcolors() or ()) > 100  # more than an empty page


def _problems_of_requests(requests: list[Line], port: int) -> list[str]:
    """Those that the page refuses; they are made in their order."""
    wrong, job = [], ""
    for line in requests:
        # a result is asked for before it is there, and refused until then
        again = "--retry 600 --retry-delay 1 --retry-all-errors" if "/jobs/ID" in line.text else ""
        typed = line.typed.replace(":7860", f":{port}").replace("jobs/ID", f"jobs/{job}")
        typed = typed.replace("curl ", f"curl -sS --fail-with-body {again} ")
        done = subprocess.run(["bash", "-o", "pipefail", "-c", typed], capture_output=True, text=True, timeout=600)
        job = next(iter(re.findall(r'"id": ?"([\w-]+)"', done.stdout)), job)  # of token_urlsafe, with - in it
        if done.returncode:
            wrong.append(f"{line.place}: `{line.text}`\n  {done.stdout[-300:]} {done.stderr[-300:]}")
    return wrong if job else [*wrong, "no answer held the id of a job"]


PAGES_SERVED = dict.fromkeys(
    tuple(line.restore or ()) for line in lines_for("tests/test_docs.py::test_a_page_is_served_as_the_documents_say")
)


@pytest.mark.slow
@pytest.mark.parametrize("words", PAGES_SERVED, ids=" ".join)
def test_a_page_is_served_as_the_documents_say(
    world: Path, cli: Cli, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process up to the first answer; the test above has a real server."""
    (world / "my_models").mkdir(exist_ok=True)
    shutil.copy(world / "outputs/demo/demo/checkpoints/best.ckpt", world / "my_models" / "mine.ckpt")
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"):  # which the command sets
        monkeypatch.setenv(name, "")
    answers: list[Any] = []

    def opened(processes: Any, task: Callable[..., Any], *given: Any, report: Any, **_: Any) -> Any:
        return task(report, *given)

    def run(app: Any, limits: Limits, listening: socket.socket) -> None:
        listening.close()
        answers.append(TestClient(app, "http://127.0.0.1").get("/api/methods").json()["methods"])

    monkeypatch.setattr(isolated_process, "run", opened)
    monkeypatch.setattr(server, "run", run)
    outcome = cli(*(word for word in words if not word.startswith("port=")), "port=0")
    assert outcome.status == 0, outcome.err
    assert answers[0]


@pytest.mark.slow
def test_the_pictures_of_the_documents_are_drawn_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in lines_for("tests/test_docs.py::test_the_pictures_of_the_documents_are_drawn_anew"):
        script = ROOT / shlex.split(line.text)[1]
        drawn = tmp_path / script.stem if script.stem == "drawings" else tmp_path / f"{script.stem}.png"
        if not drawn.suffix:
            drawn.mkdir()
        monkeypatch.setattr(sys, "argv", [str(script), str(drawn)])
        runpy.run_path(str(script), run_name="__main__")
    sizes = {}
    for file in (*(ROOT / "docs/methods").glob("*.png"), ROOT / "docs/synthetic_blur.png"):
        folder = tmp_path / "drawings" if file.parent.name == "methods" else tmp_path
        with Image.open(file) as committed, Image.open(folder / file.name) as anew:
            sizes[file.name] = (committed.size, anew.size)
    assert len(sizes) == 5
    assert all(old == new for old, new in sizes.values()), sizes


@contextlib.contextmanager
def _served(*words: str) -> Iterator[int]:
    """A page on a free port."""
    port = free_port()
    argv = [sys.executable, "-m", "restore", *words, f"port={port}"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as server:
        try:
            _wait_for(port, server)
            yield port
        finally:
            server.terminate()


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(3000):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert server.poll() is None, "the page did not start"
        time.sleep(0.2)
    pytest.fail("the page did not start within ten minutes")


def test_makefile_targets_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in (line for page in [*PAGES, *STUDIES] for line in lines_of(page) if line.language == "sh"):
        words = line.text.split()
        assert words[0] != "make" or set(words[1:]) <= set(targets), line


def test_the_guide_to_slurm_shows_the_batch_script() -> None:
    shown = ["\n".join(content) for _, language, content in blocks(ROOT / "docs/slurm.md") if language == "text"]
    assert shown == [(ROOT / "docs/fit.sbatch").read_text(encoding="utf-8").rstrip("\n")]


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
    # the file that renders every SettingError would match every quote
    for file in set((ROOT / "restore").rglob("*.py")) - {ROOT / "restore" / "io" / "errors.py"}:
        for node in ast.walk(ast.parse(file.read_text())):
            fixed = _fixed(node)
            plain = [each for each in fixed if isinstance(each, str)]
            own = sum(map(len, plain)) - sum(map(len, JOINTS if _is_setting_error(node) else ()))
            if own >= 10 and " " in "".join(plain):
                text = "".join(re.escape(each) if isinstance(each, str) else ".+?" for each in fixed)
                lines = [re.sub(r"%[\d.]*[a-z]", ".+?", line) for line in text.split("\\\n")]
                found += [re.compile(line) for line in lines if len(line.replace(".+?", "")) >= 15]
    return tuple(found)


JOINTS = ("", " is ", ", expected ", "; ")  # of a SettingError's parts


def _is_setting_error(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("SettingError", "NotOurs")


def _fixed(node: ast.AST) -> list[object]:
    """The texts of a string or a SettingError, in order, with something else for what is filled in."""
    if isinstance(node, ast.Call) and _is_setting_error(node):
        return [each for word, part in zip(JOINTS, node.args, strict=False) for each in (word, *_fixed(part))]
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return [each.value if isinstance(each, ast.Constant) else None for each in parts]


def test_every_quoted_error_exists_in_the_code() -> None:
    """Those that stand as a block quote in the page on trouble."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = [line.removeprefix("> ").strip() for line in text.splitlines() if line.startswith("> ")]
    assert len(quoted) > 10
    missing = [each for each in quoted if not any(pattern.fullmatch(each) for pattern in messages())]
    assert not missing
