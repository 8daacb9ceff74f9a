import contextlib
import csv
import json
import os
import signal
import struct
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record
from wandb.sdk.wandb_run import Run

from restore.io.files import read_mapping
from restore.runs.report import newest_panels, write_report
from tests import fork_server
from tests.callbacks.test_graceful_stop import signal_in_batch
from tests.conftest import TINY, Cli, photo
from tests.test_fit import crash_at, run_folder

SMALL = (*TINY, "data=sr_folder", "data.root=photos", "data.validation=1", "data.num_workers=0", "val_every_steps=2")
OFFLINE = ("logger=wandb", "logger.wandb.offline=true")


@pytest.fixture(autouse=True)
def photos(tmp_path: Path) -> None:
    for k in range(3):
        photo(tmp_path / "photos" / f"{k}.png", seed=k)


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each run of Weights & Biases holds when it is finished."""
    seen: list[dict[str, Any]] = []
    original = Run.finish

    def spy(self: Run, exit_code: int | None = None, **others: Any) -> None:
        seen.append({"id": self.id, "config": dict(self.config), "summary": dict(self.summary), "status": exit_code})
        original(self, exit_code=exit_code, **others)

    monkeypatch.setattr(Run, "finish", spy)
    return seen


def table(file: Path) -> list[dict[str, str]]:
    with file.open() as lines:
        return list(csv.DictReader(lines))


def test_a_dashboard_holds_configuration_code_panels_scores_and_checkpoints(
    cli: Cli, tmp_path: Path, finished: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, str, str]] = []
    original = Run.log_artifact

    def spy(self: Run, given: Any, name: str = "", type: str = "") -> Any:
        if not isinstance(given, str):  # a table is one too
            return original(self, given)
        sent.append((Path(given).name, name, type))
        return original(self, given, name=name, type=type)

    monkeypatch.setattr(Run, "log_artifact", spy)
    options = (*SMALL, *OFFLINE, "checkpoint.artifacts=true", "checkpoint.every_steps=2", "run_id=x")
    with monkeypatch.context() as patch:
        crash_at(patch, 3)
        with contextlib.suppress(BaseException):  # the crash has a class of its own
            cli("fit", *options)
    outcome = cli("fit", *options)
    assert outcome.status == 0, outcome.err
    folder = run_folder(tmp_path, "x")
    token = (folder / "run_token").read_text()
    assert [run["id"] for run in finished] == [token, token]
    assert [run["status"] for run in finished] == [1, 0]
    run = finished[1]
    assert {key: run["config"][key] for key in ("model", "seed", "name")} == {
        key: read_mapping(folder / "config.yaml")[key] for key in ("model", "seed", "name")
    }
    assert set(run["config"]["git"] or {"commit", "dirty"}) == {"commit", "dirty"}
    assert "lr" not in run["config"]  # model.lr, once
    result = json.loads((folder / "result.json").read_text())
    assert run["summary"]["best/psnr_y"] == pytest.approx(result["value"])
    name = "test/photos_held_out/psnr_y"
    assert run["summary"][name] == pytest.approx(result["metrics"][name])
    assert run["summary"]["results"]["_type"] == "table-file"
    assert run["summary"]["results"]["nrows"] == len(table(folder / "results.csv"))
    assert [key for key in run["summary"] if key.startswith("panels/")] == ["panels/2"]
    assert run["summary"]["panels/2"]["captions"] == ["step 4: lq, restored, reference, error x4"]
    assert sent == [(f"{stem}.ckpt", f"{stem}-{token}", "model") for stem in ("best", "last")]
    # each start leaves one folder that can be sent: one file in the format of Weights & Biases, under the same id
    left = sorted((folder / "wandb").glob(f"offline-run-*-{token}"))
    assert len(left) == len(list((folder / "wandb").glob("offline-run-*")))
    for each in left:
        assert (each / f"run-{token}.wandb").read_bytes()[:4] == b":W&B"
    assert wandb.run is None


def test_the_scores_of_all_images_are_those_of_evaluate(cli: Cli, tmp_path: Path) -> None:
    for k in range(12):
        photo(tmp_path / "more" / f"{k}.png", seed=k)
    assert cli("fit", *SMALL, "data.benchmarks=[more]", "data.val_limit=null", "run_id=x").status == 0
    folder = run_folder(tmp_path, "x")
    rows = table(folder / "results.csv")
    assert [row["image"] for row in rows] == ["2", *sorted(map(str, range(12)))]
    means = json.loads((folder / "result.json").read_text())["metrics"]
    for name, mean in means.items() - {"step": 4.0}.items():
        _, benchmark, column = name.split("/")
        own = [float(row[column]) for row in rows if row["benchmark"] == benchmark]
        assert sum(own) / len(own) == pytest.approx(mean, abs=1e-5)
    best = folder / "checkpoints" / "best.ckpt"
    assert cli("evaluate", f"ckpt_path={best}", "benchmarks=[more]", "output=scored", "baseline=null").status == 0
    header, *lines = (tmp_path / "scored" / "results.csv").read_text().splitlines()
    written = (folder / "results.csv").read_text().splitlines()
    assert written[0] == header
    assert written[2:] == lines


def test_tensorboard_gets_numbers_images_and_the_table(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("fit", *SMALL, "logger=tensorboard", "run_id=x")
    assert outcome.status == 0, outcome.err
    folder = run_folder(tmp_path, "x")
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0}).Reload()
    rows = [row for row in table(folder / "metrics.csv") if row["train/loss"]]
    assert [each.step for each in events.Scalars("train/loss")] == [int(row["step"]) for row in rows]
    assert events.Scalars("train/loss")[-1].value == pytest.approx(float(rows[-1]["train/loss"]))
    pictures = events.Images("panels/2")
    assert [picture.step for picture in pictures] == [2, 4]
    width, height = struct.unpack(">II", (folder / "panels" / "2_0000004.png").read_bytes()[16:24])
    assert (pictures[-1].width, pictures[-1].height) == (width, height)
    shown = events.Tensors("results/text_summary")[0].tensor_proto.string_val[0].decode()
    assert shown.splitlines()[2].split(" | ")[1] == "2"


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (("logger=wandb",), "logger.wandb is online"),
        (("checkpoint.artifacts=true",), "checkpoint.artifacts is true"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_the_training(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: tuple[str, ...], words: str
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "NETRC", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine elsewhere.org login user password secret\n")
    outcome = cli("fit", *SMALL, *extra, "run_id=x")
    assert outcome.status == 1
    assert words in outcome.err
    assert "Traceback" not in outcome.err
    assert not run_folder(tmp_path, "x").exists()


class Page(HTMLParser):
    """What a page shows and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.loaded: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [str(value) for key, value in attrs if key in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def page(folder: Path) -> Page:
    read = Page()
    read.feed((folder / "report.html").read_text())
    return read


@pytest.mark.usefixtures("real_curves")
def test_the_report_is_one_page_that_needs_nothing_else(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", *SMALL, "run_id=x").status == 0
    folder = run_folder(tmp_path, "x")
    read = page(folder)
    assert len(read.loaded) == 2  # the curves, and the newest panel of the one image
    assert all(address.startswith("data:image/png;base64,") for address in read.loaded)
    assert not read.tags & {"script", "link", "iframe", "object"}
    words = "".join(read.words)
    assert "finished after 4 steps" in words
    assert "2, step 4" in words
    result = json.loads((folder / "result.json").read_text())
    assert f"{result['value']:.3f}" in words
    assert "error x4" in words
    assert "psnr_y of bicubic" in words
    assert yaml.safe_dump(read_mapping(folder / "config.yaml"), sort_keys=False) in words
    assert f"{float(table(folder / 'results.csv')[0]['psnr_y']):.3f}" in words
    own = table(folder / "baseline.csv")
    assert [row["image"] for row in own] == [row["image"] for row in table(folder / "results.csv")]
    assert f"{float(own[0]['psnr_y']):.3f}" in words


def test_the_report_escapes_what_it_shows_and_leaves_out_what_is_not_there(tmp_path: Path) -> None:
    evil = "<script>alert('1')</script>"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"name": evil, "data": {"root": evil}}))
    start = {"git": None, "warnings": [evil]}
    (tmp_path / "environment.json").write_text(json.dumps({"starts": [start]}))
    (tmp_path / "results.csv").write_text("benchmark,image\n" + f"set,{evil}\n" * 201)
    photo(tmp_path / "panels" / "<b>bold_0000003.png")
    write_report(tmp_path, evil)
    read = page(tmp_path)
    assert not read.tags & {"script", "b"}
    words = "".join(read.words)
    assert words.count(evil) == 1 + 1 + 1 + 1 + 200 + 2 + 1  # title, heading, state, warning, rows, config, environment
    assert "and 1 more in results.csv" in words


def test_of_each_image_the_newest_panel_is_shown(tmp_path: Path) -> None:
    for name in ("a_0000002", "a_0000010", "scene/b_1_0000002", "scene/b_1_10000002"):
        photo(tmp_path / f"{name}.png", 8, 8)
    found = [(name, step) for name, step, _ in newest_panels(tmp_path)]
    assert found == [("a", 10), ("scene/b_1", 10000002)]


SCORES_OF_TWO = """
import os, sys
from types import SimpleNamespace
from pathlib import Path
import torch
from restore.callbacks.image_scores import ImageScores
rank = int(os.environ["RANK"])
torch.distributed.init_process_group("gloo")
trainer = SimpleNamespace(world_size=2, global_rank=rank, is_global_zero=rank == 0, default_root_dir=".", loggers=[])
model = SimpleNamespace(scale=2, protocol="sr_y", scores={name: SimpleNamespace(newest={}) for name in ("one", "two")})
scores = ImageScores()
scores.on_test_start(trainer, model)
for number, count in enumerate((5, 2)):
    for k, index in enumerate(range(rank, count, 2)):
        list(model.scores.values())[number].newest = {"psnr_y": float(10 * number + index)}
        scores.on_test_batch_end(trainer, model, None, {"name": [f"p{index}"]}, k, number)
scores.on_test_end(trainer, model)
"""


@pytest.mark.slow
def test_several_processes_put_their_scores_together_in_order(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(SCORES_OF_TWO)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(10000 + os.getpid() % 10000), "WORLD_SIZE": "2"}
    ranks = [
        fork_server.start("two.py", cwd=tmp_path, env=os.environ | shared | {"RANK": str(rank)}) for rank in range(2)
    ]
    said = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    rows = [(row["benchmark"], row["image"], float(row["psnr_y"])) for row in table(tmp_path / "results.csv")]
    first = [("one", f"p{k}", float(k)) for k in range(5)]
    assert rows == [*first, ("two", "p0", 10.0), ("two", "p1", 11.0)]


@pytest.mark.parametrize(
    ("logger", "module", "words"),
    [
        ("tensorboard", "tensorboard", "logger.tensorboard is set, expected the package tensorboard"),
        ("wandb", "wandb", "logger.wandb is set, expected the package wandb"),
    ],
)
@pytest.mark.parametrize("command", ["fit", "check"])
def test_a_logger_without_its_package_is_refused_in_a_sentence(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, logger: str, module: str, words: str
) -> None:
    for name in [module, *(each for each in sys.modules if each.startswith((f"{module}.", "torch.utils.tensorboard")))]:
        monkeypatch.setitem(sys.modules, name, None)  # as Python itself marks what must not be imported
    outcome = cli(command, *SMALL, f"logger={logger}", "run_id=x")
    assert outcome.status == 1
    assert words in outcome.err
    assert "pip install" in outcome.err
    assert "Traceback" not in outcome.err
    assert not run_folder(tmp_path, "x").exists()


@pytest.mark.slow
def test_a_server_that_does_not_answer_ends_the_run_in_a_sentence(tmp_path: Path) -> None:
    """In a process of its own: Weights & Biases keeps a service of its own alive for each."""
    online = {"WANDB_MODE": "online", "WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "a" * 40}
    argv = ["logger=wandb", "logger.wandb.settings.init_timeout=3", "run_id=x"]
    ended = fork_server.start("-m", "restore.fit", *SMALL, *argv, cwd=tmp_path, env=os.environ | online)
    said = ended.communicate(timeout=300)[0]
    assert ended.returncode == 1, said
    assert "fit: logger.wandb could not start its run" in said
    assert "expected an answer from http://127.0.0.1:9" in said
    assert "set logger.wandb.offline=true and send the run later with `wandb sync`" in said
    assert "Traceback" not in said
    assert not (run_folder(tmp_path, "x") / "metrics.csv").exists()
    assert not (run_folder(tmp_path, "x") / "checkpoints").exists()


def records(file: Path) -> list[Any]:
    """Of a ``.wandb`` file: a header of 7 bytes, then LevelDB's log format in blocks of 32 KiB."""
    raw, place, whole, found = file.read_bytes(), 7, b"", []
    while place + 7 <= len(raw):
        if 32768 - place % 32768 < 7:  # too short for a header: padding
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack("<HB", raw[place + 4 : place + 7])
        whole += raw[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            found.append(Record.FromString(whole))
            whole = b""
    return found


def test_an_interrupted_run_is_marked_as_preempted_and_no_other(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        signal_in_batch(patch, signal.SIGTERM, 2)
        assert cli("fit", *SMALL, *OFFLINE, "run_id=x").status == 128 + signal.SIGTERM
    (first,) = (run_folder(tmp_path, "x") / "wandb").glob("offline-run-*/*.wandb")
    assert cli("fit", *SMALL, *OFFLINE, "run_id=x").status == 0
    (second,) = set((run_folder(tmp_path, "x") / "wandb").glob("offline-run-*/*.wandb")) - {first}
    kinds = [[record.WhichOneof("record_type") for record in records(file)] for file in (first, second)]
    assert [each.count("preempting") for each in kinds] == [1, 0]
    assert kinds[0].index("preempting") < kinds[0].index("exit")
    assert [records(file)[kinds[k].index("exit")].exit.exit_code for k, file in enumerate((first, second))] == [1, 0]
