"""Tests and measures a GPU in at most nine minutes, with one table as the result; run by ``make gpu``.

Each measurement runs in its own process with a time limit, so that a failing or slow one does not affect the others.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from restore.config.build import build
from restore.config.command import conf_dir

ROOT = Path(__file__).parents[2]
ALL = 530.0  # seconds in total
TESTS, TRAINING = 210.0, 45.0  # seconds for the tests, and for one short training
RUNS = 20  # timed steps
STEPS = 120  # of a short training


class Case(NamedTuple):
    """A network, its training crops (gt pixels), the seconds allowed for compilation, and the data of a training."""

    model: str
    batch: int
    patch: int
    compiling: float
    data: str


CASES = (
    Case("super_resolution", 16, 96, 60, "photos"),
    Case("super_resolution_medium", 16, 96, 60, "photos"),
    Case("super_resolution_published", 16, 96, 110, "photos"),
    Case("deblur", 8, 256, 70, "synthetic_blur"),
)
Row = tuple[str, str]


def measured(case: Case, device: str, *, compiled: bool, side: int = 8192) -> list[Row]:
    """Speed of a step, as a fraction of the peak of matrix products, and next to RCAN of the same size in float32.

    Args:
        side: side of the matrices whose product gives the peak.
    """
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        settings = compose("fit", overrides=[f"model={case.model}"]).model
    network: Any = build(settings, "model").network.to(device, memory_format=torch.channels_last)
    side_lq = case.patch // round(network.scale)
    lq = torch.rand(case.batch, 3, side_lq, side_lq, device=device).contiguous(memory_format=torch.channels_last)
    gt = torch.rand(case.batch, 3, case.patch, case.patch, device=device)
    flops = _flops(network, lq, gt)
    peak = 2 * side**3 / _seconds(_product(side, device), device)
    if compiled:
        network.compile()
    seconds = _seconds(_step(network, lq, gt, use_bf16=True), device)
    kind = f"bf16, channels_last{', compiled' if compiled else ''}"
    rows = [
        (f"{case.model}, {kind}", f"{1 / seconds:.2f} steps/s of {case.batch} crops of {case.patch} px"),
        (f"{case.model}, share of the matrix peak", f"{flops / seconds / peak:.1%} of {peak / 1e12:.1f} TFLOP/s"),
    ]
    if "groups" in settings:
        peer = _seconds(_step(_rcan(settings).to(device), lq.contiguous(), gt, use_bf16=False), device)
        found = f"{1 / peer:.2f} steps/s; ours / RCAN {peer / seconds:.2f}"
        rows.append((f"RCAN of {case.model}'s size, float32", found))
    return rows


def _rcan(settings: Any) -> nn.Module:
    from spandrel.architectures.RCAN import RCAN

    size = {"n_resgroups": settings.groups, "n_resblocks": settings.blocks, "n_feats": settings.channels}
    network: nn.Module = RCAN(scale=settings.scale, rgb_range=1, **size)
    return network


def _step(network: nn.Module, lq: Tensor, gt: Tensor, *, use_bf16: bool) -> Callable[[], None]:
    optimizer = torch.optim.Adam(network.parameters())

    def work() -> None:
        optimizer.zero_grad()
        with torch.autocast(lq.device.type, torch.bfloat16, enabled=use_bf16):
            loss = (network(lq) - gt).abs().mean()
        loss.backward()
        optimizer.step()

    return work


def _product(side: int, device: str) -> Callable[[], object]:
    a, b = (torch.rand(side, side, device=device).to(torch.bfloat16) for _ in range(2))
    return lambda: a @ b


def _flops(network: nn.Module, lq: Tensor, gt: Tensor) -> int:
    """FLOPs of a forward and a backward pass, as counted by PyTorch."""
    with FlopCounterMode(display=False) as counter:
        (network(lq) - gt).abs().mean().backward()
    return int(counter.get_total_flops())


def _seconds(work: Callable[[], object], device: str) -> float:
    """Mean time of several calls, after two for warm-up."""
    for _ in range(2):
        work()
    _wait(device)
    started = time.perf_counter()
    for _ in range(RUNS):
        work()
    _wait(device)
    return (time.perf_counter() - started) / RUNS


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def waiting(case: Case, device: str, seconds: float) -> Row:
    """Fraction of a short training's time spent waiting for data."""
    what = f"{case.model}, training on {case.data}"
    with tempfile.TemporaryDirectory(prefix="restore_gpu_") as folder:
        words = [f"model={case.model}", f"data={case.data}", f"hydra.run.dir={folder}/run", "callbacks.panels=null"]
        words += [f"trainer.accelerator={'gpu' if device == 'cuda' else device}", f"trainer.max_steps={STEPS}"]
        said = _run([sys.executable, "-m", "restore.fit", *words, "val_every_steps=1000000"], seconds)
        if said is not None:
            return what, said
        rows = list(csv.DictReader((Path(folder) / "run" / "metrics.csv").open()))
    last = [row for row in rows if row["data_share"]][-1]
    return what, f"waits for data {float(last['data_share']):.1%}; {float(last['samples_per_s']):.1f} samples/s"


def tests(seconds: float) -> list[Row]:
    """Each test marked ``gpu``, with its outcome."""
    with tempfile.TemporaryDirectory(prefix="restore_gpu_") as folder:
        report = Path(folder) / "tests.xml"
        words = ["-m", "pytest", "-q", "-m", "gpu", "tests/test_gpu.py", f"--junitxml={report}"]
        said = _run([sys.executable, *words], seconds)
        if not report.is_file():
            return [("tests marked gpu", said or "failed: no report")]
        cases = list(ET.parse(report).iter("testcase"))
    return [(_words(each), _ending(each)) for each in cases] or [("tests marked gpu", "failed: none was found")]


def _words(case: ET.Element) -> str:
    return case.get("name", "").removeprefix("test_").replace("_", " ")


def _ending(case: ET.Element) -> str:
    for kind, said in {"failure": "failed", "error": "failed", "skipped": "skipped"}.items():
        found = case.find(kind)
        if found is not None:
            return f"{said}: {found.get('message', '').splitlines()[0][:160]}"
    return f"passed in {float(case.get('time', 0)):.0f} s"


def _run(words: Sequence[str], seconds: float) -> str | None:
    """Run a command; None, or how it failed."""
    try:
        done = subprocess.run(words, cwd=ROOT, timeout=max(seconds, 1), capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return f"failed: not finished in {seconds:.0f} s"
    sentences = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()
    return None if done.returncode == 0 else f"failed: {sentences[-1][:160]}"


def _apart(case: Case, device: str, seconds: float, *, compiled: bool) -> list[Row]:
    """Run :func:`measured` in another process."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        words = [f"--case={case.model}", f"--device={device}", f"--output={file.name}"]
        words += ["--compile"] if compiled else []
        said = _run([sys.executable, "-m", "experiments.performance.gpu", *words], seconds)
        if said is None:
            return [(what, found) for what, found in json.loads(Path(file.name).read_text())]
    return [(f"{case.model}, {'compiled' if compiled else 'not compiled'}", said)]


def everything(device: str) -> list[Row]:
    """All rows for which there is time."""
    ends = time.monotonic() + ALL
    rows = tests(TESTS)
    for case in CASES:
        found = _apart(case, device, min(case.compiling, ends - time.monotonic()), compiled=True)
        if len(found) == 1:
            found += _apart(case, device, min(TRAINING, ends - time.monotonic()), compiled=False)
        rows += found
    for case in CASES:
        if ends - time.monotonic() < TRAINING:
            rows.append((f"{case.model}, training on {case.data}", "left out: no time is left"))
            continue
        rows.append(waiting(case, device, TRAINING))
    return rows


def main() -> None:
    """Print the table; exit with status 1 if a part failed or there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--case", choices=[each.model for each in CASES], help="measure this network alone")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--output", type=Path, help="for the rows of --case")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu: torch finds no GPU on this machine; nothing was measured")
    if given.case is not None:
        case = next(each for each in CASES if each.model == given.case)
        rows = measured(case, given.device, compiled=given.compile)
        if given.output is not None:
            given.output.write_text(json.dumps(rows))
    else:
        rows = everything(given.device)
    name = torch.cuda.get_device_name() if given.device == "cuda" else given.device
    print(f"\n{name}, torch {torch.__version__}\n\n| what | found |\n|---|---|")
    print("\n".join(f"| {what} | {found} |" for what, found in rows))
    if any(found.startswith("failed") for _, found in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
