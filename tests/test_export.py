"""Exported files run as their users run them: in onnxruntime, in torch alone, in predict and evaluate."""

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from restore.checkpoints import reader
from restore.inference import exporters
from restore.inference.load import open_restorer
from restore.models import loading
from restore.models.base import RestorationModel
from restore.models.deblur import Deblur
from restore.models.super_resolution import SuperResolution
from restore.models.translation.model import Translation
from restore.models.zero_shot.model import ZeroShotSuperResolution
from restore.ops import resize
from tests.conftest import TINY_ZERO_SHOT, Cli, photo, subprocess_cli

SMALL = {"scale": 2, "groups": 1, "blocks": 1, "channels": 8}


def stirred(model: RestorationModel) -> RestorationModel:
    """With weights that are nowhere zero, so that every part of the network counts."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.05)
    return model.eval()


def early() -> Translation:
    model = Translation(width=4, blocks=1, levels=2)
    model.network.top.fill_(1)
    return model


MODELS = {  # super-resolution and deblurring as they are by default: the tests below
    "super_resolution x3": lambda: SuperResolution(
        scale=3, groups=1, blocks=1, channels=8, attention="second_order", image_skip="none"
    ),
    "deblur, channels": lambda: Deblur(width=4, modules=1, attention="channel_spatial"),
    "zero_shot x3 in steps": lambda: ZeroShotSuperResolution(scale=3.0, width=4, depth=1),
    "translation, bicubic, a level not trained yet": early,
}


def save(path: Path, model: RestorationModel, **facts: Any) -> str:
    """A checkpoint as a training writes it, as far as use goes."""
    known = {"format": 1, "method": model.method, "arguments": dict(model.hparams), "best": 1.0}
    state = {f"network.{name}": value for name, value in model.network.state_dict().items()}
    torch.save({"restore": known | facts, "state_dict": state}, path)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_onnx_runs_as_the_model_does_at_sizes_it_was_not_traced_at(name: str, tmp_path: Path) -> None:
    model = stirred(MODELS[name]())
    written = exporters.Onnx(18)
    written.write(tmp_path / "a.onnx", model.network, {})
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    for size in ((1, 3, 1, 1), (1, 3, 3, 4), (2, 3, 29, 18), (1, 3, 16, 47)):
        lq = torch.rand(size)
        with torch.inference_mode():
            expected = model.restore_whole(lq).numpy()
        np.testing.assert_allclose(session.run(None, {"lq": lq.numpy()})[0], expected, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_onnx_of_a_fresh_process_tells_the_contract_and_what_was_checked(tmp_path: Path) -> None:
    model = stirred(Deblur(width=4, modules=1))
    source, out = save(tmp_path / "tiny.ckpt", model), tmp_path / "out"
    outcome = subprocess_cli("export", f"ckpt_path={source}", "output=out/a.onnx", "opset=19", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    session = onnxruntime.InferenceSession(out / "a.onnx")
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    told = session.get_modelmeta().custom_metadata_map
    expected = {"method": "deblur", "scale": "1", "in_channels": "3", "input_kind": "rgb", "multiple_of": "4"}
    assert expected.items() <= told.items()
    assert (told["min_size"], told["protocol"], told["opset"]) == ("1", "deblur_rgb", "19")
    assert told["package"].startswith("restore ")
    assert json.loads(told["source"])["sha256"] == hashlib.sha256(Path(source).read_bytes()).hexdigest()
    beside = json.loads((out / "a.onnx.json").read_text())
    differences = json.loads(told["largest_difference"])
    assert beside["largest_difference"] == differences
    assert list(differences) == ["1x3x1x1", "2x3x17x31", "1x3x39x11"]
    assert all(0 <= difference < 1e-4 for difference in differences.values())
    assert "1x3x1x1: at most" in outcome.stdout
    assert {each.version for each in onnx.load(out / "a.onnx").opset_import if each.domain == ""} == {19}
    assert sorted(file.name for file in out.iterdir()) == ["a.onnx", "a.onnx.json"]
    lq = torch.rand(1, 3, 31, 18)
    with torch.inference_mode():
        expected_image = model.restore_whole(lq).numpy()
    np.testing.assert_allclose(session.run(None, {"lq": lq.numpy()})[0], expected_image, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["onnx", "torch_export", "safetensors"])
def test_what_differs_from_the_model_is_refused_and_leaves_nothing(
    format_: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save(tmp_path / "tiny.ckpt", stirred(SuperResolution(**SMALL)))  # type: ignore[arg-type]
    side = 3 if format_ == "torch_export" else 1
    kind: Any = {"onnx": exporters.Onnx, "torch_export": exporters.TorchExport, "safetensors": exporters.Safetensors}[
        format_
    ]
    opened = kind.open

    def off(self: Any, path: Path) -> Any:
        run = opened(self, path)
        return lambda lq: run(lq) + 2e-4

    monkeypatch.setattr(kind, "open", off)
    Path("out").mkdir()
    outcome = cli("export", f"ckpt_path={source}", f"format={format_}", f"output=out/a{kind.suffix}")
    assert outcome.status == 1
    assert f"differs from the network by 0.0002 at 1x3x{side}x{side}, expected less than 0.0001" in " ".join(
        outcome.err.split()
    )
    assert list(Path("out").iterdir()) == []


@pytest.mark.slow
def test_a_program_of_torch_export_runs_without_this_package(cli: Cli, tmp_path: Path) -> None:
    model = stirred(Deblur(width=4, modules=1))
    source = save(tmp_path / "tiny.ckpt", model)
    assert cli("export", f"ckpt_path={source}", "format=torch_export", "output=a.pt2").status == 0
    extra = {"contract.json": ""}
    loaded = torch.export.load("a.pt2", extra_files=extra).module()
    assert json.loads(extra["contract.json"])["contract"]["multiple_of"] == 4
    lq = torch.rand(3, 3, 21, 10)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(lq), model.restore_whole(lq), atol=1e-4, rtol=0)


@pytest.mark.slow
def test_the_network_an_image_trained_is_exported_and_its_weights_restore_as_the_checkpoint(
    cli: Cli, tmp_path: Path
) -> None:
    photo(tmp_path / "lq.png", 30, 28)
    fit = (
        *TINY_ZERO_SHOT,
        "data.image=lq.png",
        "model.scale=2",
        "trainer.max_steps=12",
        "callbacks.panels=null",
        "run_id=a",
    )
    assert cli("fit", *fit).status == 0
    ckpt = "outputs/zero_shot/a/checkpoints/best.ckpt"
    outcome = cli("export", f"ckpt_path={ckpt}", "format=safetensors")
    assert outcome.status == 0, outcome.err
    card = json.loads(Path("zero_shot_a_best.json").read_text())
    assert (card["method"], card["contract"]["scale"], card["results"]["steps"]) == ("zero_shot", 2, 12)
    for path, output in ((ckpt, "one.png"), ("zero_shot_a_best.safetensors", "two.png")):
        outcome = cli("predict", f"ckpt_path={path}", "input=lq.png", f"output={output}", "device=cpu")
        assert outcome.status == 0, outcome.err
    assert Path("one.png").read_bytes() == Path("two.png").read_bytes()


def test_safetensors_of_a_checkpoint_restore_and_score_as_it_does(cli: Cli, tmp_path: Path) -> None:
    model = stirred(SuperResolution(**SMALL))  # type: ignore[arg-type]
    source = save(tmp_path / "tiny.ckpt", model)
    assert cli("export", f"ckpt_path={source}", "format=safetensors", "output=a.safetensors").status == 0
    lq = torch.rand(3, 9, 11)
    assert torch.equal(open_restorer("a.safetensors").restore(lq), open_restorer(source).restore(lq))
    card = json.loads(Path("a.json").read_text())
    assert card["sha256"] == reader.sha256("a.safetensors")
    photo(tmp_path / "set" / "HR" / "a.png")
    for path, output in ((source, "one"), ("a.safetensors", "two")):
        outcome = cli("evaluate", f"ckpt_path={path}", "benchmarks=[set]", f"output={output}", "baseline=null")
        assert outcome.status == 0, outcome.err
    one, two = (list(json.loads(Path(f"{each}/results.json").read_text())["means"].values()) for each in ("one", "two"))
    assert one == two


def test_a_card_keeps_where_shipped_weights_come_from(cli: Cli) -> None:
    outcome = cli("export", "ckpt_path=deblur_narrow", "format=safetensors", "output=mine.safetensors")
    assert outcome.status == 0, outcome.err
    shipped = reader.read("deblur_narrow")["restore"]
    mine = json.loads(Path("mine.json").read_text())
    assert mine["training"] == shipped["training"]
    assert mine["results"] == shipped["results"]


# --- bare weights ---

SETTINGS = ("model=super_resolution", "model.groups=1", "model.blocks=1", "model.channels=8")
NESTS: dict[str, Any] = {
    "plain": lambda state: state,
    "params_ema": lambda state: {"params": {"other": torch.zeros(1)}, "params_ema": state},
    "state_dict": lambda state: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}},
    "model": lambda state: {"model": {f"module.network.{k}": v for k, v in state.items()}, "optimizer": {"lr": 0.1}},
}


@pytest.mark.parametrize("nest", NESTS)
def test_bare_weights_become_ours(nest: str, cli: Cli, tmp_path: Path) -> None:
    model = stirred(SuperResolution(**SMALL))  # type: ignore[arg-type]
    torch.save(NESTS[nest](model.network.state_dict()), tmp_path / "theirs.pth")
    outcome = cli("export", "ckpt_path=theirs.pth", *SETTINGS, "format=safetensors", "output=ours.safetensors")
    assert outcome.status == 0, outcome.err
    lq = torch.rand(3, 7, 5)
    with torch.inference_mode():
        assert torch.equal(open_restorer("ours.safetensors").restore(lq), model.restore_whole(lq[None])[0])


def test_a_card_takes_the_place_of_a_card_alone(cli: Cli, tmp_path: Path) -> None:
    """A run folder's result.json would be lost to weights named after it."""
    Path("result.json").write_text('{"metrics": {}}')
    words = ("export", "ckpt_path=deblur_narrow", "format=safetensors")
    outcome = cli(*words, "output=result.safetensors")
    assert outcome.status == 1
    assert "output is result.safetensors" in " ".join(outcome.err.split())
    assert "result.json exists and is not a card" in " ".join(outcome.err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    for _ in range(2):  # a card that stands there already may be replaced
        assert cli(*words, "output=mine.safetensors").status == 0


def test_keys_that_do_not_fit_are_reported_and_refused_unless_allowed(cli: Cli, tmp_path: Path) -> None:
    state = stirred(SuperResolution(**SMALL)).network.state_dict()  # type: ignore[arg-type]
    state["left"] = state.pop("tail.bias")
    state["head.weight"] = torch.zeros(4, 3, 3, 3)
    torch.save(state, tmp_path / "theirs.pth")
    command = ("ckpt_path=theirs.pth", *SETTINGS, "format=safetensors", "output=ours.safetensors")
    outcome = cli("export", *command)
    said = " ".join(outcome.out.split())
    assert outcome.status == 1
    assert "1 missing: tail.bias" in said
    assert "1 unexpected: left" in said
    assert "1 reshaped: head.weight" in said
    assert "fit model=super_resolution (1 missing, 1 unexpected, 1 reshaped" in " ".join(outcome.err.split())
    assert not Path("ours.safetensors").exists()
    assert cli("export", *command, "strict=false").status == 0
    report = json.loads(Path("ours.json").read_text())["keys"]
    assert report == {"missing": ["tail.bias"], "unexpected": ["left"], "reshaped": ["head.weight"]}


class Bomb:
    """What a hostile file holds: unpickling it makes a folder."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("command", ["predict", "export", "evaluate"])
def test_a_file_that_runs_code_is_refused_and_runs_none(command: str, nested: bool, cli: Cli, tmp_path: Path) -> None:
    weights: Any = {"tail.bias": torch.zeros(3), "hidden": Bomb()}
    torch.save({"state_dict": weights} if nested else weights, tmp_path / "theirs.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb()))
    photo(tmp_path / "a.png")
    more = {"predict": ("input=a.png",), "export": SETTINGS, "evaluate": ("benchmarks=[photos_held_out]",)}[command]
    for name in ("theirs.pth", "plain.pth"):
        outcome = cli(command, f"ckpt_path={name}", *more)
        assert outcome.status == 1
        assert f"ckpt_path is {name}, expected a valid checkpoint" in " ".join(outcome.err.split())
    assert not Path("exploded").exists()
    pickle.loads((tmp_path / "plain.pth").read_bytes())  # the file is sharp: this is what was not done
    assert Path("exploded").is_dir()


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["ckpt_path=bicubic"], ["bicubic is not a file"]),
        (["ckpt_path=gone.ckpt"], ["gone.ckpt is not a file"]),
        (["ckpt_path=tiny.ckpt", "format=tflite"], ["format is tflite", "onnx, torch_export, safetensors"]),
        (["ckpt_path=tiny.ckpt", "opset=9"], ["opset is 9", "18 to 23"]),
        (["ckpt_path=tiny.ckpt", "output=a.pt2"], ["output is a.pt2", "ends in .onnx"]),
        (["ckpt_path=tiny.ckpt", *SETTINGS], ["ckpt_path is tiny.ckpt", "written by this package", "leave model out"]),
        (["ckpt_path=super_resolution_x2", *SETTINGS], ["written by this package", "leave model out"]),
        (["ckpt_path=list.pth", *SETTINGS], ["ckpt_path is list.pth", "tensors by name"]),
        (["ckpt_path=other.pth", *SETTINGS], ["none of its weights fits model=super_resolution", "body.0"]),
        (["ckpt_path=other.pth"], ["ckpt_path is other.pth", "written by this package"]),
        (["ckpt_path=tiny.ckpt", "output=tiny.ckpt/a.onnx"], ["output is tiny.ckpt", "files can be written"]),
    ],
)
def test_what_cannot_be_exported_is_named(cli: Cli, tmp_path: Path, overrides: list[str], parts: list[str]) -> None:
    save(tmp_path / "tiny.ckpt", SuperResolution(**SMALL))  # type: ignore[arg-type]
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    torch.save({"body.0": torch.zeros(3)}, tmp_path / "other.pth")
    before = sorted(tmp_path.iterdir())
    outcome = cli("export", *overrides)
    assert outcome.status == 1
    assert all(part in " ".join(outcome.err.split()) for part in parts), outcome.err
    assert "Traceback" not in outcome.err
    assert sorted(tmp_path.iterdir()) == before


def test_prefixes_are_taken_away_only_where_they_hide_our_names(tmp_path: Path) -> None:
    state = SuperResolution(**SMALL).network.state_dict()  # type: ignore[arg-type]
    wrapped: dict[str, Tensor] = {f"module.model.{name}": value for name, value in state.items()}
    torch.save(wrapped | {"step": 3}, tmp_path / "theirs.pth")
    model = SuperResolution(**SMALL)  # type: ignore[arg-type]
    report = loading.load_into(model.network, reader.bare_weights(tmp_path / "theirs.pth"), model.method)
    assert report == {"missing": [], "unexpected": [], "reshaped": []}
    assert all(torch.equal(value, state[name]) for name, value in model.network.state_dict().items())


@pytest.mark.parametrize("factor", [2.0, 2.5, 3**0.5, 8 ** (1 / 3), 4.37])
def test_a_graphs_sides_are_those_of_the_image(factor: float) -> None:
    class Sides(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.arange(resize.new_length(x.shape[0], factor))

    program = torch.export.export(Sides(), (torch.zeros(7),), dynamic_shapes={"x": {0: torch.export.Dim("n", min=3)}})
    for length in (3, 4, 100, 101, 1999, 4096):
        assert len(program.module()(torch.zeros(length))) == resize.new_length(length, factor)
