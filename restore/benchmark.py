"""``restore benchmark``: figures of speed and memory, each next to what it is to be compared with."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig

from restore.config.build import build
from restore.config.command import command
from restore.config.errors import UserError

Line = tuple[str, str]


def benchmark(cfg: DictConfig) -> None:
    """Run the asked-for measurements and print a table."""
    from rich.console import Console
    from rich.table import Table

    _check_settings(cfg)
    table = Table("measurement", "result", box=None)
    for what in cfg.what:
        if what not in MEASUREMENTS:
            raise UserError(f"what names {what}, expected some of {', '.join(MEASUREMENTS)}")
        for line in MEASUREMENTS[what](cfg):
            table.add_row(*line)
    Console().print(table)


def _check_settings(cfg: DictConfig) -> None:
    """Sizes and numbers that can be; the rest is the model's to say."""
    if cfg.runs < 1:
        raise UserError(f"runs is {cfg.runs}, expected how often each thing is timed, at least 1")
    if len(cfg.picture) != 2 or min(cfg.picture) < 1:
        raise UserError(
            f"picture is {list(cfg.picture)}, expected height and width in pixels, as in picture=[720,1280]"
        )
    for name in ("batch_size", "side"):
        if cfg[name] < 1:
            raise UserError(f"{name} is {cfg[name]}, expected at least 1")
    scale = cfg.model.get("scale", 1)
    if cfg.patch_size < scale or cfg.patch_size % scale:
        raise UserError(f"patch_size is {cfg.patch_size}, expected a multiple of model.scale={scale}")
    for name, unit in {"what": "measurements", "sides": "pixels", "budgets_gb": "GiB"}.items():
        if not cfg[name] or (name != "what" and min(cfg[name]) <= 0):
            raise UserError(f"{name} is {list(cfg[name])}, expected one or more {unit}{', above 0' * (name != 'what')}")


def _median_seconds(work: Callable[[], object], runs: int) -> float:
    work()  # not counted: caches fill, memory is taken
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[runs // 2]


def startup(cfg: DictConfig) -> Iterator[Line]:
    """Seconds until a command has shown its settings."""
    for option in (["--help"], ["--cfg", "job"]):
        argv = [sys.executable, "-m", "restore.fit", *option]
        seconds = _median_seconds(lambda argv=argv: subprocess.run(argv, check=True, capture_output=True), cfg.runs)  # type: ignore[misc]
        yield f"fit {' '.join(option)}", f"{seconds:.2f} s"


def data(cfg: DictConfig) -> Iterator[Line]:
    """What making lq from a crop costs, as a share of a training step."""
    import torch

    from restore.ops.resize import resize_8bit

    crop = torch.randint(0, 256, (3, cfg.patch_size, cfg.patch_size), dtype=torch.uint8)
    scale = cfg.model.scale
    lq = cfg.batch_size * _median_seconds(lambda: resize_8bit(crop, 1 / scale), 7 * cfg.runs)
    _kinds_of_attention(cfg)
    step = _median_seconds(_training_step(cfg, channels_last=True), cfg.runs)
    yield f"lq of {cfg.batch_size} crops of {cfg.patch_size} px", f"{1e3 * lq:.1f} ms"
    yield "training step", f"{1e3 * step:.0f} ms"
    yield "share of the step", f"{100 * lq / step:.1f} %"


def step(cfg: DictConfig) -> Iterator[Line]:
    """Training steps: memory layout, precision, and kinds of attention, each as a ratio in this run."""
    kinds = _kinds_of_attention(cfg)
    first = _median_seconds(_training_step(cfg, channels_last=True), cfg.runs)
    yield "training step, channels_last, 32 bit", f"{1e3 * first:.0f} ms, {cfg.batch_size / first:.1f} samples/s"
    others = {
        "default layout": _training_step(cfg, channels_last=False),
        "bf16": _training_step(cfg, channels_last=True, bf16=True),
    } | {f"attention {kind}": _training_step(cfg, channels_last=True, attention=kind) for kind in kinds[1:]}
    for name, work in others.items():
        seconds = _median_seconds(work, cfg.runs)
        yield f"training step, {name}", f"{1e3 * seconds:.0f} ms, {seconds / first:.2f} of the first"


def _kinds_of_attention(cfg: DictConfig) -> list[str]:
    """The model's own first; a network that is trained in stages has none, and is refused."""
    hints = get_type_hints(get_object(cfg.model._target_).__init__)
    if "attention" not in hints:
        raise UserError(
            f"model is {cfg.model._target_.rpartition('.')[2]}, expected one with kinds of attention to compare "
            "(super_resolution, deblur); `restore check model=...` measures a step of each stage of any model"
        )
    own = cfg.model.attention
    return [own, *(kind for kind in get_args(hints["attention"]) if kind != own)]


def _training_step(cfg: DictConfig, *, channels_last: bool, bf16: bool = False, **changes: Any) -> Callable[[], object]:
    import torch

    from restore.losses.pixel import l1

    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = build(cfg.model, "model", **changes).network.to(memory_format=layout)
    forward = network.traceable()  # leaves the layout as it is
    optimizer = torch.optim.Adam(network.parameters())
    side = cfg.patch_size // cfg.model.scale
    lq = torch.rand(cfg.batch_size, 3, side, side).contiguous(memory_format=layout)
    gt = torch.rand(cfg.batch_size, 3, cfg.patch_size, cfg.patch_size)

    def work() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = l1(forward(lq), gt)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return work


def inference(cfg: DictConfig) -> Iterator[Line]:
    """One picture through the network with each kind of attention, as a ratio in this run."""
    import torch

    lq = torch.rand(1, 3, cfg.side, cfg.side)
    first = 0.0
    for kind in _kinds_of_attention(cfg):
        model = build(cfg.model, "model", attention=kind).eval()
        with torch.inference_mode():
            seconds = _median_seconds(lambda model=model: model(lq), cfg.runs)  # type: ignore[misc]
        first = first or seconds
        yield (
            f"picture of {cfg.side}x{cfg.side} px, attention {kind}",
            f"{1e3 * seconds:.0f} ms, {seconds / first:.2f} of the first",
        )


def memory(cfg: DictConfig) -> Iterator[Line]:
    """Peak memory of restoring a picture against what ``tile=auto`` reckons with, in fresh processes."""
    model = build(cfg.model, "model")
    for side in cfg.sides:
        added = _fresh_process("peak", f"side={side}").split()[-2]
        reckoned = side * side * model.bytes_per_pixel / 2**20
        yield f"inference at {side}x{side}", f"{added} MiB, reckoned {reckoned:.0f} MiB"


def budgets(cfg: DictConfig) -> Iterator[Line]:
    """A picture under several budgets: the tile chosen, seconds, and peak memory."""
    height, width = cfg.picture
    for memory_gb in cfg.budgets_gb:
        settings = f"memory_gb={memory_gb:g}", f"picture=[{height},{width}]"
        yield f"{width}x{height} with memory_gb={memory_gb:g}", _fresh_process("budget", *settings)


def _fresh_process(what: str, *overrides: str) -> str:
    """The result of one line that another process, with this one's model, measures."""
    model = [each for each in HydraConfig.get().overrides.task if each.lstrip("+~").startswith("model")]
    argv = [sys.executable, "-m", "restore.benchmark", f"what=[{what}]", *model, *overrides]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    return done.stdout.strip().splitlines()[-1].split("  ")[-1].strip()


def budget(cfg: DictConfig) -> Iterator[Line]:
    """One picture within ``memory_gb``, in this process (Linux)."""
    import torch

    from restore.config.inference import Inference
    from restore.inference.network import NetworkRestorer

    height, width = cfg.picture
    inference = Inference(device="cpu", memory_gb=cfg.memory_gb)
    restorer = NetworkRestorer("untrained", build(cfg.model, "model").network, inference)
    restorer.restore(torch.rand(3, 8, 8))
    before = _reset_high_water_mib()
    started = time.perf_counter()
    restorer.restore(torch.rand(3, height, width))
    seconds, tile = time.perf_counter() - started, restorer.tile_for((height, width))
    tiles = "whole" if tile is None else f"tiles of {tile} px"
    yield "budget", f"{tiles}, {seconds:.1f} s, {_high_water_mib() - before:.0f} MiB"


def peak(cfg: DictConfig) -> Iterator[Line]:
    """Resident memory that one whole-image inference adds to this process (Linux)."""
    import torch

    model = build(cfg.model, "model").eval()
    with torch.inference_mode():
        model.restore_whole(torch.rand(1, 3, 8, 8))
        before = _reset_high_water_mib()
        model.restore_whole(torch.rand(1, 3, cfg.side, cfg.side))
    yield f"added by {cfg.side}x{cfg.side}", f"{_high_water_mib() - before:.0f} MiB"


def _reset_high_water_mib() -> float:
    Path("/proc/self/clear_refs").write_text("5")  # the import's own mark is higher
    return _high_water_mib()


def _high_water_mib() -> float:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def tiles(cfg: DictConfig) -> Iterator[Line]:
    """How far blended tiles are from the whole image, for a network whose output depends on all of it."""
    from restore.config.inference import Inference
    from restore.data.photos import embedded
    from restore.image import reading
    from restore.inference.load import open_restorer
    from restore.metrics.protocols import psnr, to_8bit

    if cfg.ckpt_path is None:
        raise UserError("ckpt_path is not given, expected a checkpoint whose tiles are to be measured")
    picture = reading.read(embedded("photos_held_out")[1]).rgb()
    whole = open_restorer(cfg.ckpt_path, inference=Inference(tile="none")).restore(picture)
    for tile in (48, 96, 192):
        pred = open_restorer(cfg.ckpt_path, inference=Inference(tile=tile)).restore(picture)
        largest = 255 * float((pred - whole).abs().max())
        agreement = psnr(to_8bit(pred), to_8bit(whole))
        yield (
            f"coffee in tiles of {tile} px",
            f"largest deviation {largest:.2f} levels, {agreement:.1f} dB to the whole",
        )


MEASUREMENTS: dict[str, Callable[[DictConfig], Iterator[Line]]] = {
    "startup": startup,
    "data": data,
    "step": step,
    "inference": inference,
    "memory": memory,
    "peak": peak,
    "budgets": budgets,
    "budget": budget,
    "tiles": tiles,
}

main = command(benchmark, "benchmark")

if __name__ == "__main__":
    main()
