"""What a CPU cannot show. Skipped without a GPU; with RESTORE_GPU=cpu these tests themselves are tried on a CPU."""

import csv
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
import torch.distributed as dist
from torch import nn

from restore.config.inference import Inference
from restore.distributed import collectives
from restore.inference.accelerator_memory import budget_gb
from restore.inference.network import NetworkRestorer
from restore.networks.contract import RestorationNetwork
from restore.profiling import speed
from tests.conftest import TINY, TINY_DEBLUR, Cli, required
from tests.test_fit import QUICK, last, run_folder, same_weights, survive
from tests.tiny_checkpoints import content, network_of

pytestmark = pytest.mark.gpu
DEVICE = os.environ.get("RESTORE_GPU", "cuda")
TRAINER = f"trainer.accelerator={'gpu' if DEVICE == 'cuda' else DEVICE}"
MIB = 2**20


@pytest.fixture(autouse=True)
def _needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    required("gpu", DEVICE == "cpu" or torch.cuda.is_available())
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is computed


def test_a_training_in_bf16_with_a_compiled_network(cli: Cli, tmp_path: Path) -> None:
    options = (*TINY, *QUICK, TRAINER, "trainer.precision=bf16-mixed", "model.compile=true", "run_id=a")
    outcome = cli("fit", *options)
    assert outcome.status == 0, outcome.err
    start = json.loads((run_folder(tmp_path, "a") / "environment.json").read_text())["starts"][0]
    assert start["device"].startswith(DEVICE)
    assert start["precision"] == "bf16-mixed"
    rows = list(csv.DictReader((run_folder(tmp_path, "a") / "metrics.csv").open()))
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert len(losses) == 4
    assert all(0 < loss < 1 for loss in losses)


@pytest.mark.parametrize("method", ["super_resolution", "deblur"])
def test_a_killed_run_ends_bit_identical_with_deterministic_kernels(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    settings = {"super_resolution": TINY, "deblur": TINY_DEBLUR}[method]
    options = (*settings, *QUICK, TRAINER, "trainer.deterministic=true", "trainer.max_steps=6", "name=x")
    options = (*options, "checkpoint.every_steps=2")
    assert cli("fit", *options, "run_id=whole").status == 0
    survive(cli, monkeypatch, (*options, "run_id=killed"), [3])
    assert same_weights(last(tmp_path, "whole", name="x"), last(tmp_path, "killed", name="x"))


def test_one_process_of_nccl(tmp_path: Path) -> None:
    backend = "nccl" if DEVICE == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        torch.manual_seed(0)
        plain = nn.Conv2d(3, 3, 3).to(DEVICE)
        wrapped = nn.parallel.DistributedDataParallel(plain)
        images = torch.rand(2, 3, 8, 8, device=DEVICE)
        (averaged,) = torch.autograd.grad(plain(images).sum(), [plain.weight])
        wrapped(images).sum().backward()
        assert plain.weight.grad is not None
        assert torch.allclose(averaged, plain.weight.grad)
        total = images.clone()
        dist.all_reduce(total)
        assert torch.equal(total, images)
        dist.barrier()
    finally:
        collectives.leave()


def test_tiles_are_chosen_by_the_free_memory_and_made_smaller_where_it_was_too_little() -> None:
    network = cast("RestorationNetwork", network_of(content(attention="none")))
    image = torch.rand(3, 700, 900)
    whole = NetworkRestorer("x", network, Inference(device="cpu", tile="none")).restore(image)
    restorer = NetworkRestorer("x", network, Inference(device=DEVICE, tile="none", memory_gb=1e6))
    assert torch.allclose(restorer.restore(image), whole, atol=1e-3)
    if DEVICE == "cpu":
        return
    device = torch.device(DEVICE)
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    assert budget_gb(1e6, device) <= total / 2**30
    ballast = torch.empty(int(0.7 * free), dtype=torch.uint8, device=device)
    assert budget_gb(1e6, device) < 0.5 * free / 2**30
    del ballast
    torch.cuda.empty_cache()
    needed = 700 * 900 * network.bytes_per_pixel
    try:
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + needed / 8 + 8 * MIB) / total)
        pred = restorer.restore(image)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert restorer._in_memory._too_large <= 700 * 900  # it did not fit as a whole
    assert torch.allclose(pred, whole, atol=1e-3)


def test_the_forecast_of_check_is_within_30_percent(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    small = (*TINY, *QUICK) if DEVICE == "cpu" else ("callbacks.panels=null", "callbacks.progress=null")

    def in_this_process(module: str, *words: str) -> None:
        outcome = cli(module.removeprefix("restore."), *small, TRAINER, *words)
        assert outcome.status == 0, outcome.err

    monkeypatch.setattr(speed, "run", in_this_process)
    steps = 4 if DEVICE == "cpu" else 600
    lines = dict(speed.forecast(SimpleNamespace(steps=steps, model_overrides=[])))  # type: ignore[arg-type]
    found = re.search(r"forecast / actual ([\d.]+)", lines[f"training of {steps} steps, actual"])
    assert found is not None
    assert DEVICE == "cpu" or 0.7 <= float(found[1]) <= 1.3
