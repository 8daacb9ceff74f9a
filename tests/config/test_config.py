import json
import math
import os
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from restore.__main__ import COMMANDS
from restore.config import build, resolvers
from restore.config.command import conf_dir
from restore.io.errors import SettingError
from tests.conftest import TINY, Cli, photo, subprocess_cli

CONF = Path(conf_dir())
GROUPS = ["model", "data", "trainer", "logger", "callbacks", "experiment"]
OPTIONS = [f"{group}={file.stem}" for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]

LOADED = """
import contextlib, importlib, io, sys
for command in {commands}:
    main = importlib.import_module("restore." + command).main
    for options in (["--help"], ["--cfg", "job"]):
        sys.argv, shown = [command, *options], io.StringIO()
        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(shown):
            main()
        print(command, bool(shown.getvalue().strip()), *(m for m in {heavy} if m in sys.modules))
"""
HEAVY = ("torch", "lightning", "wandb", "kornia")


@pytest.mark.parametrize("option", OPTIONS)
def test_every_yaml_composes_and_names_what_exists(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORE_DATA", "anywhere")
    is_one_picture = option in ("data=single_image", "experiment=zero_shot")
    missing = f"data.{'image' if is_one_picture else 'root'}=somewhere"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("fit", overrides=[option, missing], return_hydra_config=True)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", cfg)
    targets = [pair for group in GROUPS[:-1] for pair in build._targets(cfg[group], group)]
    assert len(targets) >= 8
    for place, target in targets:
        assert callable(hydra.utils.get_object(target["_target_"])), place


def test_help_and_cfg_import_nothing_heavy(tmp_path: Path) -> None:
    """One fresh process for all commands."""
    code = LOADED.format(commands=list(COMMANDS), heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{command} True" for command in COMMANDS for _ in range(2)]
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


EARLY = [
    ("fit", ["trainer.max_steps=abc"], "trainer.max_steps"),
    ("fit", ["model.lr=abc"], "model.lr"),
    ("fit", ["model.lr=-1"], "model.lr"),
    ("fit", ["model.schedule=steep"], "model.schedule"),
    ("fit", ["data=sr_folder"], "data.root"),
    ("fit", ["data=sr_folder", "data.root=nowhere"], "data.root"),
    ("fit", ["data.validation=nowhere"], "data.validation"),
    ("fit", ["data.batch_size=0"], "data.batch_size"),
    ("fit", ["callbacks.ema.decay=much"], "callbacks.ema.decay"),
    ("fit", ["init_from=super_resolution_x5"], "did you mean super_resolution_x4?"),
    ("fit", ["resume=nothing.ckpt"], "resume"),
    ("fit", ["lr=0.1"], "did you mean model.lr?"),
    ("check", ["data=sr_folder", "data.root=nowhere"], "data.root"),
    ("check", ["data=single_image", "model=zero_shot", "data.image=nothing.png"], "data.image"),
    ("predict", ["nothing.jpg", "scale=2"], "input"),
    ("predict", ["no*.jpg", "scale=2"], "input"),
    ("predict", ["a.png", "b.png"], "input is 2 words"),
    ("predict", ["ckpt_path=bicubic", "input=pyproject.toml"], "scale"),
    ("predict", ["pyproject.toml", "ckpt_path=super_resolution_x5"], "did you mean super_resolution_x4?"),
    ("evaluate", ["ckpt_path=bicubi"], "did you mean bicubic?"),
    ("evaluate", ["ckpt_path=super_resolution_x2", "benchmarks=[nowhere]"], "benchmarks"),
    ("export", ["ckpt_path=nothing.ckpt"], "ckpt_path"),
    ("export", ["ckpt_path=super_resolution_x2", "format=gguf"], "format"),
]

EACH = """
import contextlib, io, json, sys
from importlib import import_module
for command, words in {lines!r}:
    sys.argv, said = [command, *(["--run"]), *words], io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
        import_module("restore." + command).main()
    print(json.dumps([said.getvalue(), "torch" in sys.modules]), file=sys.__stdout__)
"""


def test_what_needs_no_torch_is_refused_before_its_import(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    code = EACH.format(lines=[(command, words) for command, words, _ in EARLY])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for line, (command, words, expected) in zip(done.stdout.splitlines(), EARLY, strict=True):
        said, has_torch = json.loads(line)
        assert expected in said, (command, words, said)
        assert len(said.splitlines()) == 1, said
        assert not has_torch, (command, words, said)


def test_a_mistyped_key_ends_in_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess_cli("fit", "model.scal=2", cwd=tmp_path)
    assert done.returncode == 1
    assert "model.scal is not a setting; did you mean model.scale?" in done.stderr
    assert "Traceback" not in done.stderr


def test_full_error_shows_the_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    done = subprocess_cli("fit", "model.scal=2", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["seed=abc"], ["seed", "abc", "Integer"]),
        (["seed=-1"], ["seed", "-1", "at least 0"]),
        (["seeed=3"], ["seeed", "did you mean seed"]),
        (["model.scale=5"], ["model.scale", "5", "2, 3, 4 or 8"]),
        (["model.lr=fast"], ["model.lr", "fast", "number"]),
        (["model.attention=much"], ["model.attention", "much", "'gain'"]),
        (["model=super_resoluton"], ["super_resoluton", "choose one of", "super_resolution_tiny"]),
        (["trainer.max_steps=0"], ["trainer.max_steps", "0", "at least 1"]),
        (["trainer.accumulate_grad_batches=0"], ["trainer.accumulate_grad_batches", "0", "at least 1"]),
        (["checkpoint.every_steps=0"], ["checkpoint.every_steps", "0", "at least 1"]),
        (["data.patch_size=33"], ["data.patch_size", "33", "multiple of the scale 2", "for example"]),
        (["data.batch_size=0"], ["data.batch_size", "0", "positive"]),
        (["data=sr_folder"], ["data.root", "not set"]),
        (["data.root=nowhere"], ["data.root is nowhere", "expected a folder"]),
        (["data.root=empty"], ["data.root", "empty", "no image"]),
        (["data._target_=os.system"], ["data._target_", "os.system"]),
        (["init_from=nothing.ckpt"], ["nothing.ckpt", "not a file"]),
        (["resume=nothing.ckpt"], ["resume", "nothing.ckpt", "not a file"]),
        (["trainer.log_every_n_steps=0"], ["trainer.log_every_n_steps", "0", "at least 1"]),
        (["trainer.precision=64"], ["trainer.precision", "64", "64-true"]),
        (["trainer.gradient_clip_val=nan"], ["trainer.gradient_clip_val", "nan", "above 0"]),
        (["threads=100000"], ["threads", "100000", "at most 1024"]),
        (["trainer.gradient_clip_val=-1"], ["trainer.gradient_clip_val", "-1", "above 0"]),
        (["model.betas=[0.9]"], ["model.betas", "[0.9]", "two numbers"]),
        (["data.root=[]"], ["data.root", "empty"]),
        (["data.scale=3", "data.patch_size=33"], ["data.scale is 3", "expected model.scale"]),
        (["data.degradations=[blur]"], ["data.degradations", "blur"]),
        (["data.benchmarks=[photos_held_out]"], ["data.benchmarks is photos_held_out", "rename"]),
        (["logger=null"], ["~logger"]),
        (["run_id=a/../b"], ["run_id", "without slashes"]),
        (["data.root=a b(c"], ["quote"]),
        (["trainer.devices=two"], ["trainer.devices", "two", "at least 1, or auto"]),
        (["trainer.precision=foo"], ["trainer", "foo"]),
        (["threads=0"], ["threads", "0", "at least 1"]),
        (["data.num_workers=-1"], ["data.num_workers", "-1", "at least 0"]),
        (["data.val_limit=0"], ["data.val_limit", "0", "at least 1"]),
        (["callbacks.ema.decay=1.5"], ["callbacks.ema.decay", "1.5"]),
        (["data.validation=9"], ["data.validation is 9", "the 4 images in data.root"]),
        (["model=deblur_tiny"], ["data.scale is 1", "data=synthetic_blur", "data=gopro"]),
        (["data=synthetic_blur"], ["data.scale is 2", "model=deblur"]),
        (
            ["model=deblur_tiny", "data=synthetic_blur", "data.patch_size=30"],
            ["data.patch_size is 30", "multiple of 4"],
        ),
        (["model=deblur_tiny", "data=gopro"], ["data.root is data/GoPro"]),
        (["model=deblur_tiny", "model.scale=2", "data=synthetic_blur"], ["model.scale is 2", "expected 1"]),
        (["callbacks=attention"], ["callbacks.attention", "callbacks=default"]),
        (
            ["model=deblur_tiny", "data=synthetic_blur", "callbacks=attention"],
            ["callbacks.attention.module is a6.2", "a6.0"],
        ),
        (["data=contours"], ["data.scale is 2", "model=translation"]),
        (["model=deblur_tiny", "data=facades"], ["data.root is data/facades"]),
        (["model=deblur_tiny", "data=contours", "data.load_size=20"], ["data.load_size is 20", "data.patch_size=32"]),
        (["model=deblur_tiny", "data=contours", "data.direction=left"], ["data.direction", "'a_to_b' or 'b_to_a'"]),
        (
            [
                "model=deblur_tiny",
                "data=contours",
                "data.input_kind=labels",
                "data.one_hot=true",
                "data.classes=2",
                "data.degradations=[]",
            ],
            ["data.in_channels is 3", "expected 2", "set model.in_channels"],
        ),
        (
            ["model=deblur_tiny", "data=synthetic_blur", "data.validation=true"],
            ["data.validation is true", "a folder of images"],
        ),
        (
            ["model=deblur_tiny", "data=synthetic_blur", "data.degradations.0.high=1"],
            ["data.degradations.0.low is 2 and high is 1", "low <= high"],
        ),
        (
            ["data=photos_degraded", "data.degradations.0.steps.1.steps.0.high=101"],
            ["fit: data.degradations.0.steps.1.steps.0.low is 30 and high is 101, expected 1 <= low <= high <= 100"],
        ),
        (["model=deblur_tiny", "model.frequency_weight=-1"], ["model.frequency_weight is -1", "at least 0"]),
        (["callbacks=attention", "callbacks.attention.images=-1"], ["callbacks.attention.images is -1", "at least 1"]),
        (["callbacks=entropy", "model=deblur_tiny", "data=synthetic_blur"], ["callbacks.entropy", "callbacks=default"]),
        (["name=../../x"], ["name is ../../x", "without slashes"]),
        (["photo.jpg"], ["photo.jpg has no = in it, expected key=value"]),
        (["data.root=[a,"], ["data.root=[a, is cut off; write no space after a comma"]),
        (["init_from=run"], ["run is a run's folder", "set init_from=run/checkpoints/best.ckpt"]),
        (["name=.."], ["name is ..", "without slashes"]),
        (["run_id=.."], ["run_id is ..", "without slashes"]),
        (["callbacks.panels.zoom=100000"], ["callbacks.panels.zoom is 100000", "at most 256"]),
        (["callbacks.panels.zoom=0"], ["callbacks.panels.zoom is 0", "at least 1"]),
        (["callbacks.panels.images=-1"], ["callbacks.panels.images is -1", "callbacks.panels=null"]),
        (["callbacks.panels.max_side=0"], ["callbacks.panels.max_side is 0", "at least 1"]),
        (["callbacks.panels.error_gain=nan"], ["callbacks.panels.error_gain is nan", "finite"]),
        (["callbacks.panels.zom=1"], ["callbacks.panels.zom is not a setting; did you mean callbacks.panels.zoom?"]),
        (["callbacks.panels.x=1"], ["is not a setting; known are images, max_side, error_gain, zoom"]),
        (["callbacks=entropy", "callbacks.entropy.bins=1"], ["callbacks.entropy.bins is 1", "at least 2"]),
        (["+trainer.foo=1"], ["trainer.foo is 1, expected nothing: Trainer of Lightning has no such setting"]),
        (["init_from=deblur_narrow"], ["init_from is deblur_narrow", "weights fit model=super_resolution"]),
        (["model.groups=0"], ["model.groups is 0, expected at least 1"]),
    ],
)
def test_bad_settings_are_named_with_a_remedy(cli: Cli, tmp_path: Path, overrides: list[str], parts: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "best.ckpt").touch()
    outcome = cli("fit", *TINY, *overrides)
    assert outcome.status == 1
    assert all(part in outcome.err for part in parts), outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        (["data.batch_size=0"], "data.batch_size is 0"),
        (["callbacks=attention"], "callbacks.attention is set"),
        (["model=deblur_tiny", "data=synthetic_blur", "callbacks=attention"], "callbacks.attention.module is a6.2"),
        (["model=deblur_tiny", "data=synthetic_blur", "callbacks=entropy"], "callbacks.entropy is set"),
        (["model=deblur_tiny", "data=single_image", "data.image=one.png"], "data is single_image"),
        (["data=single_image", "data.image=one.png"], "data is single_image"),
        (["model=zero_shot", "model.scale=2"], "data is image_pairs"),
    ],
)
def test_what_does_not_go_together_is_refused_before_a_folder_is_described(
    cli: Cli, tmp_path: Path, overrides: list[str], word: str
) -> None:
    photo(tmp_path / "one.png", 64, 64)
    outcome = cli("fit", *(each for each in TINY if each != "data.val_limit=1"), *overrides, "run_id=a")
    assert outcome.status == 1
    assert word in outcome.err
    assert not (tmp_path / "outputs").exists()


def test_data_of_a_variable_that_is_not_set_asks_for_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESTORE_DATA", raising=False)
    for options in (["data=photos_free"], ["model=deblur_tiny", "data=deblur_free"]):
        outcome = cli("fit", *TINY, *options)
        assert outcome.status == 1
        assert "needs the environment variable RESTORE_DATA; export RESTORE_DATA=" in outcome.err, outcome.err


def test_an_error_is_one_sentence_and_leaves_no_run_folder(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("fit", *TINY, "data.patch_size=33")
    (only,) = outcome.err.strip().splitlines()
    assert only.startswith("fit: data.patch_size is 33, expected a multiple of the scale 2")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.max_steps=-1", "hydra.run.dir=runs/${hydra:job.name}/${run_id:${run_id}}"],
        ["data=sr_folder", "data.root=gone", "hydra.run.dir=runs/fit/a"],
    ],
)
def test_a_refused_run_removes_the_folders_that_it_made_and_no_others(
    cli: Cli, tmp_path: Path, overrides: list[str]
) -> None:
    (tmp_path / "runs").mkdir()
    assert cli("fit", *TINY, *overrides).status == 1
    assert (tmp_path / "runs").is_dir()
    assert not any((tmp_path / "runs").iterdir())
    (tmp_path / "runs" / "fit" / "b").mkdir(parents=True)
    assert cli("fit", *TINY, *overrides).status == 1
    assert [each.name for each in (tmp_path / "runs" / "fit").iterdir()] == ["b"]


def test_processes_that_would_find_different_folders_leave_none(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    outcome = cli("fit", *TINY)
    assert outcome.status == 1
    assert outcome.err.startswith("fit: run_id is not set"), outcome.err
    assert not (tmp_path / "outputs").exists()


def test_a_wrong_name_of_a_run_is_one_sentence(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("fit", *TINY, "name=a/b")
    (only,) = outcome.err.strip().splitlines()
    assert "name is a/b, expected a plain name without slashes" in only
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "overrides", "missing"),
    [
        ("export", [], "ckpt_path"),
        ("export", ["format=safetensors"], "ckpt_path"),
        ("predict", ["ckpt_path=bicubic", "scale=2"], "input"),
        ("average_frames", [], "input"),
        ("contours", [], "input"),
        ("average_frames", ["input=frames"], "output"),
    ],
)
def test_a_setting_that_is_missing_is_one_sentence(command: str, overrides: list[str], missing: str, cli: Cli) -> None:
    outcome = cli(command, *overrides)
    assert outcome.status == 1
    assert outcome.err == f"{command}: {missing} is not set, and has no default; give it a value\n"


def test_where_the_words_are_a_librarys_the_way_to_more_is_said(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(value: str) -> None:
        raise ValueError(f"invalid literal: {value}")

    monkeypatch.setattr("restore.inference.output_paths.refuse_no_input", fail)
    outcome = cli("predict", "ckpt_path=bicubic", "scale=2", "input=a.png")
    assert outcome.status == 1
    assert outcome.err == "predict: invalid literal: a.png\n(HYDRA_FULL_ERROR=1 shows where it happened)\n"


def test_every_bad_file_is_named_at_once(cli: Cli, tmp_path: Path) -> None:
    for k in range(4):
        photo(tmp_path / "set" / "HR" / f"{k}.jpg", 64, 64)
        photo(tmp_path / "set" / "LR_bicubic" / "X2" / f"{k}x2.png", 32, 32)
    broken = tmp_path / "set" / "HR" / "1.jpg"
    broken.write_bytes(broken.read_bytes()[:700])
    photo(tmp_path / "set" / "LR_bicubic" / "X2" / "2x2.png", 30, 32)
    (tmp_path / "set" / "LR_bicubic" / "X2" / "3x2.png").unlink()
    outcome = cli("fit", *TINY, "data=sr_folder", "data.root=set", "data.num_workers=0")
    assert outcome.status == 1
    assert "3 problems" in outcome.err
    assert "1.jpg: damaged or truncated" in outcome.err
    assert "2x2.png: 32x30 px, expected 32x32 px" in outcome.err
    assert "3.jpg: has no partner" in outcome.err


def test_a_users_own_config_folder_works(cli: Cli, tmp_path: Path) -> None:
    own = tmp_path / "mine" / "model"
    own.mkdir(parents=True)
    (own / "mini.yaml").write_text("defaults: [super_resolution_tiny, _self_]\nchannels: 8\n")
    outcome = cli("fit", "--config-dir", str(tmp_path / "mine"), "model=mini", "--cfg", "job", "--package", "model")
    assert outcome.status == 0
    assert "channels: 8" in outcome.out


def test_help_lists_the_groups_that_a_command_composes(cli: Cli, tmp_path: Path) -> None:
    own = tmp_path / "mine" / "model"
    own.mkdir(parents=True)
    (own / "mini.yaml").write_text("defaults: [super_resolution_tiny, _self_]\n")
    benchmark = cli("benchmark", "--config-dir", str(tmp_path / "mine"), "--help").out
    assert "mini" in next(line for line in benchmark.splitlines() if line.startswith("model: ")).split(", ")
    assert "trainer: " not in benchmark
    predict = cli("predict", "--help").out
    assert (
        "== Groups (group=option) ==\ndata@zero_shot.data: single_image\nmodel@zero_shot.model: zero_shot\n" in predict
    )


def test_help_shows_each_setting_with_its_comment_those_of_the_command_first(cli: Cli) -> None:
    lines = [" ".join(line.split()) for line in cli("predict", "--help").out.splitlines()]
    places = [lines.index(line) for line in ("ckpt_path=auto", "device=auto auto, cpu, cuda or mps")]
    assert lines[0] == "restore predict: restore an image, a folder of images or a glob."
    assert places == sorted(places)
    assert "a checkpoint file, shipped weights by name" in lines[places[0] + 1]
    fit = cli("fit", "--help", "model=deblur_tiny").out
    assert "model.width=" in fit
    assert "channels at full size" in fit
    assert "_target_" not in fit.partition("== Groups")[2]


def test_zero_shot_is_not_another_method(cli: Cli) -> None:
    outcome = cli("predict", "input=in.png", "scale=2", "model@zero_shot.model=deblur")
    assert outcome.status == 1
    assert "zero_shot.model is restore.models.deblur.Deblur, expected restore.models.zero_shot.model" in outcome.err
    assert "leave model@zero_shot.model out" in outcome.err


def test_targets_outside_the_allow_list_are_refused() -> None:
    node = OmegaConf.create({"a": {"_target_": "subprocess.run", "args": ["true"]}})
    with pytest.raises(SettingError) as error:
        build.build(node, "part")
    assert (error.value.key, error.value.got) == ("part.a._target_", "subprocess.run")


def test_a_sweeps_folders_are_short_and_flat() -> None:
    assert resolvers._folder_name("model.lr=0.1,seed=2") == "model.lr=0.1,seed=2"
    assert resolvers._folder_name("data.root=/a/b") == "data.root=_a_b"
    long = [resolvers._folder_name(f"{'key=value,' * 30}seed={seed}") for seed in (1, 2)]
    assert len(set(long)) == 2
    assert all(len(name) <= 100 for name in long)


def test_run_id_is_given_or_the_jobs_or_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert resolvers._run_id("mine") == "mine"
    assert resolvers._run_id(None) == "77"
    monkeypatch.delenv("SLURM_JOB_ID")
    assert resolvers._run_id(None).startswith("20")


def test_environment_of_the_caller_is_left_alone(cli: Cli) -> None:
    before = os.environ.get("HYDRA_FULL_ERROR")
    cli("fit", "seed=abc")
    assert os.environ.get("HYDRA_FULL_ERROR") == before


@pytest.mark.parametrize("model", sorted(file.stem for file in (Path(conf_dir()) / "model").glob("*.yaml")))
def test_a_weight_that_is_none_is_refused(model: str) -> None:
    """Every setting of a loss's weight."""
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        shipped = compose("fit", overrides=[f"model={model}"]).model
    for key in [str(key) for key in shipped if str(key).endswith(("_weight", "_weights"))]:
        for wrong in (-0.1, math.nan, math.inf, -math.inf, "much"):
            node = OmegaConf.merge(shipped, {key: [1.0, wrong] if key.endswith("s") else wrong})
            with pytest.raises(SettingError) as error:
                build.build(node, "model")
            assert error.value.key.removesuffix(".1") == f"model.{key}"
