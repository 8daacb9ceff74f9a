"""What ``restore check`` says about data, a trial and its forecast, a sentence each."""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from restore.config.inference import Inference
from restore.data.base import PairedData
from restore.data.checks import Checked
from restore.data.known_sets import miscounted
from restore.data.pairs import Pair
from restore.inference.load import open_restorer
from restore.models import loading
from restore.preflight import memory
from restore.preflight.dry_run import Measured, quiet
from restore.preflight.forecast import Forecast, steps_left

GIB = 2**30
TIGHT = 0.9  # of the memory there is
SHARED = 1.3  # times the seconds alone, from which others are at work on the machine
SHARE_OF_DATA = 0.2  # of a step spent waiting, from which the data are the bottleneck


class Finding(NamedTuple):
    """A row of the table; ``bad`` is what the run would fail by."""

    what: str
    found: str
    verdict: Literal["good", "warning", "bad"] = "good"


class Opened(NamedTuple):
    """How many pairs were opened, how many there are, and how many in each test set."""

    opened: int
    total: int
    tests: dict[str, int]


def read(data: Any, limit: int | None) -> Opened:
    """Open every file, or those of so many pairs of each set, spread evenly.

    Test sets are cut to what was opened.

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
    with quiet():  # what it warns of becomes a row
        data.prepare()
    opened = len(data.train_pairs) + sum(map(len, data.test_sets.values()))
    data.train_pairs = train
    if limit is not None:
        data.warnings = data.compare_sets(data.checked)  # of the whole set, not of a few of its pictures
    return Opened(opened, len(train) + sum(map(len, tests.values())), {name: len(each) for name, each in tests.items()})


def _spread(pairs: list[Any], limit: int) -> list[Any]:
    return [pairs[k * (len(pairs) - 1) // (limit - 1)] for k in range(limit)] if len(pairs) > limit else pairs


def data(data: Any, opened: Opened, *, known_counts: bool) -> list[Finding]:
    """A row for each set, and one for each thing that is odd about them."""
    if not isinstance(data, PairedData):
        height, width = data.image.shape[1:]
        return [Finding("data", f"{data.stem}, {width}x{height} px")]
    counts = {"training": len(data.train_pairs), **opened.tests}
    sets = {"training": data.train_pairs, **data.test_sets}
    rows = [Finding(f"data: {name}", _set(data.checked[name], sets[name], count)) for name, count in counts.items()]
    wrong = miscounted(pair for pairs in sets.values() for pair in pairs)
    remedy = "; complete it, or set check.known_counts=false if it is a part on purpose" if known_counts else ""
    rows += [Finding("data", text + remedy, "bad" if known_counts else "warning") for text in wrong]
    return rows + [Finding("data", text, "warning") for text in data.warnings]


def _set(checked: Checked, pairs: list[Pair], count: int) -> str:
    sizes = sorted(checked.sizes, key=math.prod)
    (h, w), (height, width) = sizes[0], sizes[-1]
    size = f"{w}x{h}" if (h, w) == (height, width) else f"{w}x{h} to {width}x{height}"
    prepared = sum(pair.lq is not None for pair in pairs)
    made = "pairs" if prepared == len(pairs) else "pictures whose input is made" if not prepared else "pairs and photos"
    if count == 1:
        made = {"pairs": "pair", "pictures whose input is made": "picture whose input is made"}.get(made, made)
    kinds = ", ".join(f"{number} {kind}" for kind, number in checked.kinds.items())
    opened = "" if len(sizes) == count else f"; {len(sizes)} of them opened"
    return f"{count} {made}, {size} px; files: {kinds}{opened}"


def uncached_bytes(data: Any, opened: Opened) -> int:
    """Memory that decoded training pictures will take beyond those of a sample."""
    if not isinstance(data, PairedData) or opened.opened == opened.total:
        return 0
    kept = data.cache.kept_bytes
    whole = kept * len(data.train_pairs) / len(data.checked["training"].sizes)
    return int(min(whole, kept + data.cache.room) - kept)


def trial(model: Any, data: Any, measured: Measured, file: Path) -> list[Finding]:
    """What became of the pieces that were tried."""
    rows = [Finding("data path", f"{1e3 * measured.wall.sample:.1f} ms a training sample, in one process")]
    loss = measured.loss
    if not math.isfinite(loss):
        rows.append(Finding("training", f"the loss is {loss}; lower model.lr, or look at the data", "bad"))
    rows.append(_round_trip(model, data, measured, file))
    restorer = open_restorer(str(file), inference=Inference(device="cpu"))
    lq = _largest(data)
    size = f"{lq.shape[2]}x{lq.shape[1]}"
    pred = restorer.restore(lq)
    shape = f"{pred.shape[2]}x{pred.shape[1]}"
    is_finite = bool(torch.isfinite(pred).all())
    rows.append(Finding("predict", f"{size} px became {shape} px", "good" if is_finite else "bad"))
    return rows


def _largest(data: Any) -> torch.Tensor:
    """The input of the first picture validated on, which is the largest."""
    loaders = data.val_dataloader()
    loader = loaders[0] if isinstance(loaders, list) else loaders
    lq: torch.Tensor = loader.dataset[0]["lq"]
    return lq


def _round_trip(model: Any, data: Any, measured: Measured, file: Path) -> Finding:
    """Whether what was saved gives the same picture, to the last bit."""
    opened = loading.load_model(file, "raw")
    lq = _largest(data)[None, :, :64, :64]
    own = model.cpu().eval()
    with torch.inference_mode():
        same = torch.equal(own.restore_whole(lq), opened.restore_whole(lq))
    size, seconds = _bytes(measured.checkpoint_bytes), measured.wall.save
    if not same:
        return Finding("checkpoint", "opened again it gives another picture; please report this", "bad")
    return Finding("checkpoint", f"{size}, saved in {seconds:.2f} s; opened again it gives the same picture")


def outlook(
    ahead: Forecast,
    measured: Measured,
    alone: Forecast,
    lengths: Mapping[str, int],
    uncached: int,
    *,
    begin: int,
    processes: int,
    here: int,
) -> list[Finding]:
    """Time, memory, disk space, and what takes the time; of so many processes, and of those on one machine.

    Args:
        ahead: by the clock on the wall. alone: without what others had the cores for.
    """
    rows = []
    left = steps_left(lengths, begin)
    for name, step in ahead.step.items():
        steps = f"{left[name]} of {lengths[name]}" if begin else lengths[name]
        share = step.wait / step.seconds
        text = f"{1e3 * step.seconds:.0f} ms a step, {share:.0%} of it waiting for data; {steps} steps"
        rows.append(Finding(f"stage: {name}", text))
    rows += [_memory(memory_needed(measured, uncached, here), here), _disk(measured.checkpoint_bytes)]
    parts = {
        "start": ahead.before + ahead.start,
        "training": ahead.steps + ahead.change,
        "validation": ahead.validations,
        "checkpoints": ahead.saves,
        "test": ahead.test,
    }
    text = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts.items())
    of = f" for each of {processes} processes, without what they say to one another" if processes > 1 else ""
    rows.append(Finding("time", f"about {duration(ahead.total)}{of}: {text}"))
    if ahead.training > SHARED * alone.training:
        text = f"others had the cores for {1 - alone.training / ahead.training:.0%} of the trial's time; alone on the "
        rows.append(Finding("machine", f"{text}machine the run would take about {duration(alone.total)}", "warning"))
    return [*rows, bottleneck(ahead)]


def bottleneck(ahead: Forecast) -> Finding:
    """What to change first if the run is to be faster."""
    if ahead.validations > 0.5 * ahead.total:
        share = ahead.validations / ahead.total
        return Finding(
            "bottleneck", f"validation, {share:.0%} of the run; raise val_every_steps, or set data.val_limit", "warning"
        )
    if ahead.waiting > SHARE_OF_DATA:
        text = f"data, {ahead.waiting:.0%} of a step waits for them; raise data.num_workers or data.cache_gb"
        return Finding("bottleneck", text, "warning")
    return Finding("bottleneck", f"compute, {1 - ahead.waiting:.0%} of a step")


def _kind() -> str:
    return "cuda" if torch.cuda.is_available() and torch.cuda.is_initialized() else "cpu"


def memory_needed(measured: Measured, uncached: int, here: int) -> int:
    """Bytes on this machine for all its processes, or on an accelerator, of which each process has its own."""
    return measured.peak_bytes if _kind() == "cuda" else (measured.peak_bytes + uncached) * here


def _memory(needed: int, here: int) -> Finding:
    kind = _kind()
    there = memory.available_bytes(kind)
    where = "the accelerator" if kind == "cuda" else "this machine"
    of = f" for {here} processes" if here > 1 and kind == "cpu" else ""
    text = f"{_bytes(needed)} at the peak{of}"
    if there is None:
        return Finding("memory", text)
    text += f", {where} has {_bytes(there)} to give"
    if needed > there:
        return Finding("memory", f"{text}; lower data.batch_size, data.patch_size or data.cache_gb", "bad")
    return Finding("memory", text, "warning" if needed > TIGHT * there else "good")


def _disk(checkpoint_bytes: int) -> Finding:
    """``last.ckpt``, the one before it, ``best.ckpt``, and the one being written."""
    needed, there = 4 * checkpoint_bytes, shutil.disk_usage(Path.cwd()).free
    text = f"{_bytes(needed)} for checkpoints, {_bytes(there)} free here"
    return Finding("disk", text, "bad" if needed > there else "good")


def facts(ahead: Forecast, alone: Forecast, busy: Forecast, measured: Measured, needed: int) -> dict[str, Any]:
    """The forecast for programs: seconds and bytes."""
    return {
        "seconds": _parts(ahead),
        "seconds_alone": _parts(alone),
        "processor_seconds": _parts(busy),
        "seconds_per_step": {name: step.seconds for name, step in ahead.step.items()},
        "waiting_share": ahead.waiting,
        "peak_bytes": needed,
        "checkpoint_bytes": measured.checkpoint_bytes,
    }


def _parts(ahead: Forecast) -> dict[str, float]:
    names = ("before", "start", "steps", "change", "validations", "saves", "test", "training", "total")
    return {name: float(getattr(ahead, name)) for name in names}


def duration(seconds: float) -> str:
    """In words: ``0.4 s``, ``12 s``, ``3.2 min``, ``5.1 h``, ``2.3 days``."""
    for unit, length, largest in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 48 * 3600)):
        if seconds < largest:
            digits = 0 if unit == "s" and seconds >= 10 else 1
            return f"{seconds / length:.{digits}f} {unit}"
    return f"{seconds / 86400:.1f} days"


def _bytes(count: float) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB / 10 else f"{count / 2**20:.1f} MiB"
