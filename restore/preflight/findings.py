"""What ``restore check`` found, a sentence each, shown as soon as it is found."""

import math
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from restore.config.inference import Inference
from restore.data.base import PairedData
from restore.data.checks import Checked
from restore.data.known_sets import miscounted
from restore.data.pairs import Pair
from restore.inference.load import open_restorer
from restore.models import loading
from restore.models.base import RestorationModel
from restore.preflight import memory
from restore.preflight.dry_run import Measured, quiet
from restore.preflight.forecast import Forecast, Plan
from restore.training.train import Data

GIB = 2**30
TIGHT = 0.9  # of the available memory
SHARE_OF_DATA = 0.2  # of a step spent waiting for data, above which data is the bottleneck
SIGNS = {"good": ("ok", "green"), "warning": ("note", "yellow"), "bad": ("BAD", "red"), "doing": ("...", "dim")}


class Finding(NamedTuple):
    """A row of the table; the run would fail by what is ``bad``."""

    what: str
    found: str
    verdict: Literal["good", "warning", "bad"] = "good"


class Report(list[Finding]):
    """All findings; each is shown when it is added."""

    def add(self, findings: Iterable[Finding]) -> None:
        """Keep and show them."""
        for finding in findings:
            self.append(finding)
            _show(finding.verdict, finding.what, finding.found)

    def doing(self, what: str, how: str) -> None:
        """Show what is looked at next, and takes a while."""
        _show("doing", what, how)


def _show(verdict: str, what: str, found: str) -> None:
    row = Table.grid(Column(width=4), Column(width=22, overflow="fold"), Column(overflow="fold"), padding=(0, 1))
    row.add_row(Text(*SIGNS[verdict]), Text(what), Text(found))
    Console().print(row)


class Opened(NamedTuple):
    """How many pairs were opened, how many there are, and how many in each test set."""

    opened: int
    total: int
    tests: dict[str, int]


def open_files(data: Data, limit: int | None) -> Opened:
    """Open every file, or those of ``limit`` pairs of each set, evenly spread, to which test sets are then cut.

    Raises:
        DataProblem: with all bad files.
    """
    if not isinstance(data, PairedData):
        data.prepare()
        return Opened(1, 1, {})
    train, tests = data.train_pairs, data.test_sets
    if limit is not None:
        data.train_pairs = _spread(train, limit)
        data.test_sets = {name: _spread(pairs, limit) for name, pairs in tests.items()}
    with quiet():  # its warnings become findings
        data.prepare()
    opened = len(data.train_pairs) + sum(map(len, data.test_sets.values()))
    data.train_pairs = train
    if limit is not None:
        data.warnings = data.compare_sets(data.checked)  # now of the whole training set
    return Opened(opened, len(train) + sum(map(len, tests.values())), {name: len(each) for name, each in tests.items()})


def _spread(pairs: list[Pair], limit: int) -> list[Pair]:
    return [pairs[k * (len(pairs) - 1) // (limit - 1)] for k in range(limit)] if len(pairs) > limit else pairs


def of_data(data: Data, opened: Opened, *, known_counts: bool) -> Iterable[Finding]:
    """One for each set, and one for each oddity of them."""
    if not isinstance(data, PairedData):
        height, width = data.image.shape[1:]
        yield Finding("data", f"{data.stem}, {width}x{height} px")
        return
    sets = {"training": data.train_pairs, **data.test_sets}
    for name, count in {"training": len(data.train_pairs), **opened.tests}.items():
        yield Finding(f"data: {name}", _set(data.checked[name], sets[name], count))
    remedy = "; complete it, or set check.known_counts=false if it is a part on purpose" if known_counts else ""
    for text in miscounted(pair for pairs in sets.values() for pair in pairs):
        yield Finding("data", text + remedy, "bad" if known_counts else "warning")
    for text in data.warnings:
        yield Finding("data", text, "warning")


def _set(checked: Checked, pairs: list[Pair], count: int) -> str:
    sizes = sorted(checked.sizes, key=math.prod)
    smallest, largest = (f"{width}x{height}" for height, width in (sizes[0], sizes[-1]))
    size = smallest if smallest == largest else f"{smallest} to {largest}"
    prepared = sum(pair.lq is not None for pair in pairs)
    plural = "" if count == 1 else "s"
    made = f"image{plural} whose input is made" if not prepared else f"pair{plural}"
    kinds = ", ".join(f"{number} {kind}" for kind, number in checked.kinds.items())
    opened = "" if len(sizes) == count else f"; {len(sizes)} of them opened"
    mixed = " and images" if 0 < prepared < len(pairs) else ""
    return f"{count} {made}{mixed}, {size} px; files: {kinds}{opened}"


def uncached_bytes(data: Data, opened: Opened) -> int:
    """Memory that decoded training images will take beyond those that were opened."""
    if not isinstance(data, PairedData) or opened.opened == opened.total:
        return 0
    kept = data.cache.kept_bytes
    whole = kept * len(data.train_pairs) / len(data.checked["training"].sizes)
    return int(min(whole, kept + data.cache.room) - kept)


def of_checkpoint(model: RestorationModel, data: Data, measured: Measured, file: Path) -> Iterable[Finding]:
    """Whether the loss is finite, whether the checkpoint gives the same output, and what ``predict`` makes of it."""
    yield Finding("data path", f"{1e3 * measured.sample:.1f} ms a training sample, in one process")
    if not math.isfinite(measured.loss):
        yield Finding("training", f"the loss is {measured.loss}; lower model.lr, or look at the data", "bad")
    lq = _largest(data)
    part, own, opened = lq[None, :, :64, :64], model.cpu().eval(), loading.load_model(file, "raw")
    with torch.inference_mode():
        same = torch.equal(own.restore_whole(part), opened.restore_whole(part))
    if same:
        text = f"{_bytes(measured.checkpoint_bytes)}, saved in {measured.save:.2f} s; loaded again it gives the same"
        yield Finding("checkpoint", f"{text} output")
    else:
        yield Finding("checkpoint", "loaded again it gives another output; please report this", "bad")
    pred = open_restorer(str(file), inference=Inference(device="cpu")).restore(lq)
    text = f"{lq.shape[2]}x{lq.shape[1]} px became {pred.shape[2]}x{pred.shape[1]} px"
    yield Finding("predict", text, "good" if bool(torch.isfinite(pred).all()) else "bad")


def _largest(data: Data) -> torch.Tensor:
    """The first image validated on, which is the largest: (C, H, W)."""
    loaders: Any = data.val_dataloader()
    lq: torch.Tensor = (loaders[0] if isinstance(loaders, list) else loaders).dataset[0]["lq"]
    return lq


def of_forecast(ahead: Forecast, plan: Plan) -> Iterable[Finding]:
    """Time of each stage, time of the whole run and its parts, and what to change first to make it faster."""
    for name, step in ahead.step.items():
        steps = f"{plan.steps_left[name]} of {plan.stages[name]}" if plan.begin else plan.stages[name]
        share = step.wait / step.seconds
        text = f"{1e3 * step.seconds:.0f} ms a step, {share:.0%} of it waiting for data; {steps} steps"
        yield Finding(f"stage: {name}", text)
    parts = {
        "start": ahead.before + ahead.start,
        "training": ahead.steps + ahead.change,
        "validation": ahead.validations,
        "checkpoints": ahead.saves,
        "test": ahead.test,
    }
    text = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts.items())
    of = f" for each of {plan.processes} processes, without their communication" if plan.processes > 1 else ""
    yield Finding("time", f"about {duration(ahead.total)}{of}: {text}")
    yield bottleneck(ahead)


def bottleneck(ahead: Forecast) -> Finding:
    """What to change first to make the run faster."""
    if ahead.validations > 0.5 * ahead.total:
        text = f"validation, {ahead.validations / ahead.total:.0%} of the run; raise val_every_steps, or set "
        return Finding("bottleneck", f"{text}data.val_limit", "warning")
    if ahead.waiting > SHARE_OF_DATA:
        text = f"data, {ahead.waiting:.0%} of a step waits for it; raise data.num_workers or data.cache_gb"
        return Finding("bottleneck", text, "warning")
    return Finding("bottleneck", f"compute, {1 - ahead.waiting:.0%} of a step")


def of_load(load: float) -> Iterable[Finding]:
    """Whether other programs use the machine.

    Args:
        load: average number of running processes before the dry run.
    """
    cores = os.cpu_count() or 1
    if load > cores:
        text = f"load average {load:.1f} on {cores} cores: other programs slow the run down, and the forecast with it"
        yield Finding("machine", text, "warning")


def of_memory(needed: int, device: str, processes: int) -> Finding:
    """Whether the memory suffices.

    Args:
        needed: bytes on this machine for all its ``processes``, or on the accelerator that each process has.
    """
    available, is_gpu = memory.available_bytes(device), device == "cuda"
    text = f"{_bytes(needed)} at the peak" + (f" for {processes} processes" if processes > 1 and not is_gpu else "")
    if available is None:
        return Finding("memory", text)
    text += f", {'the accelerator' if is_gpu else 'this machine'} has {_bytes(available)} available"
    if needed > available:
        return Finding("memory", f"{text}; lower data.batch_size, data.patch_size or data.cache_gb", "bad")
    return Finding("memory", text, "warning" if needed > TIGHT * available else "good")


def of_disk(checkpoint_bytes: int) -> Finding:
    """Whether ``last.ckpt``, the one before it, ``best.ckpt`` and the one being written have room."""
    needed, free = 4 * checkpoint_bytes, shutil.disk_usage(Path.cwd()).free
    text = f"{_bytes(needed)} for checkpoints, {_bytes(free)} free here"
    return Finding("disk", text, "bad" if needed > free else "good")


def duration(seconds: float) -> str:
    """In words: ``0.4 s``, ``12 s``, ``3.2 min``, ``5.1 h``, ``2.3 days``."""
    for unit, length, largest in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 48 * 3600)):
        if seconds < largest:
            digits = 0 if unit == "s" and seconds >= 10 else 1
            return f"{seconds / length:.{digits}f} {unit}"
    return f"{seconds / 86400:.1f} days"


def _bytes(count: float) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB / 10 else f"{count / 2**20:.1f} MiB"
