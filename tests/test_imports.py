"""The import rules of the house, walked file by file."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "restore"
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
COMMANDS = {"fit", "evaluate", "predict", "serve", "benchmark", "average_frames", "check", "table", "export"}

# part of the house -> the parts of ours it may import
ALLOWED = {
    "names": set(),
    "config": {"config", "inference", "names"},
    "place": set(),
    "launch": {"run_folder", "signals"},
    "rank": {"callbacks", "config", "processes", "run_folder", "training"},
    "collectives": set(),
    "sweep": {"config", "launch", "layout", "place", "run_folder", "signals"},
    "run_folder": set(),
    "seal": set(),
    "results": {"layout", "run_folder"},
    "image": {"image"},
    "loading": set(),
    "resize": set(),
    "matfile": set(),
    "kernels": {"matfile"},
    "kernel_estimation": {"kernels", "networks", "resize"},
    "tiling": set(),
    "metrics": set(),
    "losses": set(),
    "perceptual": {"loading"},
    "gan_losses": {"losses"},
    "diff_augment": {"collectives"},
    "drawing": set(),
    "degradations": {"resize"},
    "synthetic_blur": {"degradations"},
    "networks": {"networks"},
    "models": {
        "collectives",
        "card",
        "kernels",
        "kernel_estimation",
        "models",
        "networks",
        "loading",
        "losses",
        "gan_losses",
        "diff_augment",
        "lr_policy",
        "metrics",
        "tiling",
        "resize",
        "degradations",
    },
    "data": {"data", "image", "names", "resize", "degradations"},
    "callbacks": {
        "callbacks",
        "collectives",
        "image",
        "drawing",
        "metrics",
        "report",
        "results",
        "run_folder",
        "seal",
    },
    "report": {"run_folder"},
    "card": set(),
    "signals": set(),
    "inference": set(),
    "lr_policy": set(),
    "processes": set(),
    "quieten": set(),
    "adaptation": {"quieten", "data", "inference", "models", "resize", "restorers", "tiling"},
    "checkpoint": {"card", "loading", "models", "seal"},
    "restorers": {"data", "resize", "image"},
    "network_restorer": {"data", "image", "inference", "models", "restorers", "tiling"},
    "foreign": {"checkpoint", "models", "tiling"},
    "portable": {"card", "checkpoint", "models", "tiling"},
    "state_dict": {"checkpoint", "models"},
    "opening": {"adaptation", "card", "checkpoint", "foreign", "inference", "models", "network_restorer", "restorers"},
    "export": {"card", "checkpoint", "config", "models", "opening", "portable", "run_folder", "state_dict"},
    "trainer": {"callbacks", "config", "models", "place"},
    "training": {
        "callbacks",
        "checkpoint",
        "collectives",
        "config",
        "quieten",
        "report",
        "resuming",
        "run_folder",
        "trainer",
    },
    "resuming": {"run_folder", "seal"},
    "fit": {
        "callbacks",
        "collectives",
        "config",
        "launch",
        "place",
        "resuming",
        "run_folder",
        "signals",
        "sweep",
        "training",
    },
    "benchmarks": {"data", "restorers"},
    "memory": set(),
    "clocks": set(),
    "rehearsal": {"checkpoint", "clocks", "memory", "trainer", "callbacks", "data"},
    "forecast": {"rehearsal"},
    "inspection": {"checkpoint", "memory", "data", "forecast", "inference", "opening", "rehearsal"},
    "check": {
        "callbacks",
        "clocks",
        "config",
        "place",
        "signals",
        "run_folder",
        "inspection",
        "fit",
        "forecast",
        "quieten",
        "rehearsal",
        "trainer",
        "training",
        "resuming",
    },
    "runs": {"names", "results", "run_folder"},
    "layout": set(),
    "table": {"layout", "results", "run_folder", "runs"},
    "scoring": {"data", "image", "metrics", "opening", "processes", "restorers", "results"},
    "evaluate": {
        "scoring",
        "benchmarks",
        "config",
        "layout",
        "run_folder",
        "results",
        "checkpoint",
        "opening",
        "restorers",
        "metrics",
        "perceptual",
        "tiling",
        "image",
        "drawing",
        "data",
        "processes",
        "signals",
    },
    "output_names": {"config", "data", "image", "names", "run_folder"},
    "predict": {
        "config",
        "names",
        "processes",
        "run_folder",
        "checkpoint",
        "opening",
        "output_names",
        "restorers",
        "image",
        "signals",
    },
    "serve": {"config", "signals", "web"},
    "web": {"web", "config", "processes", "checkpoint", "opening", "restorers", "image", "resize"},
    "benchmark": {"config", "inference", "network_restorer", "opening", "metrics", "resize", "losses", "image", "data"},
    "average_frames": {"config", "run_folder", "image", "data", "synthetic_blur"},
    "__init__": {"inference", "opening", "restorers"},
    "__main__": set(),
}


def imported(file: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(str(node.module))
            if node.module == "restore":
                names |= {f"restore.{alias.name}" for alias in node.names}
    return names


def part(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES)
def test_a_file_imports_only_what_the_house_allows(file: str) -> None:
    ours = {name.split(".")[1] for name in imported(file) if name.startswith("restore.")} - {"__version__"}
    assert ours <= ALLOWED[part(file)]


@pytest.mark.parametrize("file", FILES)
def test_libraries_stay_in_their_rooms(file: str) -> None:
    tops = {name.split(".")[0] for name in imported(file)}
    if part(file) not in COMMANDS | {"config", "rank", "sweep"}:
        assert not tops & {"hydra", "omegaconf"}
    if part(file) == "networks":
        assert not tops & {"lightning", "torchvision", "kornia", "numpy"}
    assert "wandb" not in tops
    if part(file) != "image" and file != "web/uploads.py":  # which reads headers, in a process without torch
        assert not tops & {"PIL", "tifffile", "imagecodecs"}
    if part(file) != "foreign":
        assert "spandrel" not in tops
    if part(file) != "portable":
        assert not tops & {"onnx", "onnxruntime", "onnxscript"}


def test_every_package_init_is_empty_but_the_top_one() -> None:
    for init in ROOT.rglob("__init__.py"):
        if init.parent != ROOT:
            assert init.read_text() == ""
