"""What ``restore benchmark`` measures: each a few lines of text and figures, made one after another."""

import inspect
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from restore.io.errors import SettingError

if TYPE_CHECKING:
    from restore.models.base import RestorationModel

Line = tuple[str, str]  # what, figure
TILES = (48, 96, 192)  # px


@dataclass(frozen=True)
class Workload:
    """What is measured.

    Attributes:
        build: makes the model, its arguments changed by those given.
        model_class: of what ``build`` makes. model_arguments: of the configuration.
        model_overrides: words of the command line that choose the model, for measurements in fresh processes.
        runs: how often each thing is timed.
        batch_size, patch_size: of a training step; gt pixels.
        side, sides: lq pixels. image_size: (height, width), lq pixels.
        budgets_gb, memory_gb: GiB.
        ckpt_path: whose tiles are measured.
    """

    build: "Callable[..., RestorationModel]"
    model_class: type
    model_arguments: dict[str, Any]
    model_overrides: Sequence[str]
    runs: int
    batch_size: int
    patch_size: int
    side: int
    sides: Sequence[int]
    image_size: tuple[int, int]
    budgets_gb: Sequence[float]
    memory_gb: float
    ckpt_path: str | None

    @property
    def scale(self) -> int:
        """Of the model; 1 where it has no such argument."""
        return int(self.model_arguments.get("scale", 1))


def _median_seconds(work: Callable[[], object], runs: int) -> float:
    work()  # not counted: caches fill, memory is taken
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[runs // 2]


def startup(workload: Workload) -> Iterator[Line]:
    """Seconds until a command has shown its settings."""
    for option in (["--help"], ["--cfg", "job"]):
        seconds = _median_seconds(lambda: _run("restore.fit", *option), workload.runs)  # noqa: B023  called at once
        yield f"fit {' '.join(option)}", f"{seconds:.2f} s"


def data(workload: Workload) -> Iterator[Line]:
    """What making lq from a crop costs, as a share of a training step."""
    import torch

    from restore.ops.resize import resize_8bit

    crop = torch.randint(0, 256, (3, workload.patch_size, workload.patch_size), dtype=torch.uint8)
    lq = workload.batch_size * _median_seconds(lambda: resize_8bit(crop, 1 / workload.scale), 7 * workload.runs)
    _kinds_of_attention(workload)
    step = _median_seconds(_training_step(workload, channels_last=True), workload.runs)
    yield f"lq of {workload.batch_size} crops of {workload.patch_size} px", f"{1e3 * lq:.1f} ms"
    yield "training step", f"{1e3 * step:.0f} ms"
    yield "share of the step", f"{100 * lq / step:.1f} %"


def step(workload: Workload) -> Iterator[Line]:
    """Training steps: memory layout, precision, and kinds of attention, each as a ratio in this run."""
    kinds = _kinds_of_attention(workload)
    first = _median_seconds(_training_step(workload, channels_last=True), workload.runs)
    yield "training step, channels_last, 32 bit", f"{1e3 * first:.0f} ms, {workload.batch_size / first:.1f} samples/s"
    others = {
        "default layout": _training_step(workload, channels_last=False),
        "bf16": _training_step(workload, channels_last=True, bf16=True),
    } | {f"attention {kind}": _training_step(workload, channels_last=True, attention=kind) for kind in kinds[1:]}
    for name, work in others.items():
        seconds = _median_seconds(work, workload.runs)
        yield f"training step, {name}", f"{1e3 * seconds:.0f} ms, {seconds / first:.2f} of the first"


def _kinds_of_attention(workload: Workload) -> list[str]:
    """The model's own first; a network that is trained in stages has none, and is refused."""
    parameters = inspect.signature(workload.model_class).parameters
    if "attention" not in parameters:
        raise SettingError(
            "model",
            workload.model_class.__name__,
            "one with kinds of attention to compare (super_resolution, deblur)",
            "`restore check model=...` measures a step of each stage of any model",
        )
    own = str(workload.model_arguments["attention"])
    return [own, *(kind for kind in get_args(parameters["attention"].annotation) if kind != own)]


def _training_step(
    workload: Workload, *, channels_last: bool, bf16: bool = False, **changes: Any
) -> Callable[[], object]:
    import torch

    from restore.losses.pixel import l1

    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = workload.build(**changes).network.to(memory_format=layout)
    forward = network.traceable()  # leaves the layout as it is
    optimizer = torch.optim.Adam(network.parameters())
    side = workload.patch_size // workload.scale
    lq = torch.rand(workload.batch_size, 3, side, side).contiguous(memory_format=layout)
    gt = torch.rand(workload.batch_size, 3, workload.patch_size, workload.patch_size)

    def work() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = l1(forward(lq), gt)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return work


def inference(workload: Workload) -> Iterator[Line]:
    """One image through the network with each kind of attention, as a ratio in this run."""
    import torch

    lq = torch.rand(1, 3, workload.side, workload.side)
    first = 0.0
    for kind in _kinds_of_attention(workload):
        model = workload.build(attention=kind).eval()
        with torch.inference_mode():
            seconds = _median_seconds(lambda: model(lq), workload.runs)  # noqa: B023  called at once
        first = first or seconds
        what = f"image of {workload.side}x{workload.side} px, attention {kind}"
        yield what, f"{1e3 * seconds:.0f} ms, {seconds / first:.2f} of the first"


def memory(workload: Workload) -> Iterator[Line]:
    """Peak memory of restoring an image, and what ``tile=auto`` takes it to be, in fresh processes."""
    model = workload.build()
    for side in workload.sides:
        added = _fresh_process(workload, "peak", f"side={side}").split()[-2]
        estimate = side * side * model.bytes_per_pixel / 2**20
        yield f"inference at {side}x{side}", f"{added} MiB, estimated {estimate:.0f} MiB"


def budgets(workload: Workload) -> Iterator[Line]:
    """An image under several budgets: the tile chosen, seconds, and peak memory."""
    height, width = workload.image_size
    for memory_gb in workload.budgets_gb:
        settings = f"memory_gb={memory_gb:g}", f"image_size=[{height},{width}]"
        yield f"{width}x{height} with memory_gb={memory_gb:g}", _fresh_process(workload, "budget", *settings)


def _fresh_process(workload: Workload, what: str, *overrides: str) -> str:
    """The result of one line that another process, with this one's model, measures."""
    output = _run("restore.benchmark", f"what=[{what}]", *workload.model_overrides, *overrides)
    return output.strip().splitlines()[-1].split("  ")[-1].strip()


def _run(module: str, *words: str) -> str:
    """What a command of ours prints, in a process of its own."""
    environment = {**os.environ, "COLUMNS": "200"}
    argv = [sys.executable, "-m", module, *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=environment).stdout


def budget(workload: Workload) -> Iterator[Line]:
    """One image within ``memory_gb``, in this process (Linux)."""
    import torch

    from restore.config.inference import Inference
    from restore.inference.network import NetworkRestorer

    settings = Inference(device="cpu", memory_gb=workload.memory_gb)
    restorer = NetworkRestorer("untrained", workload.build().network, settings)
    restorer.restore(torch.rand(3, 8, 8))
    before = _reset_peak_mib()
    started = time.perf_counter()
    restorer.restore(torch.rand(3, *workload.image_size))
    seconds, tile = time.perf_counter() - started, restorer.tile_for(workload.image_size)
    tiles = "whole" if tile is None else f"tiles of {tile} px"
    yield "budget", f"{tiles}, {seconds:.1f} s, {_peak_mib() - before:.0f} MiB"


def peak(workload: Workload) -> Iterator[Line]:
    """Resident memory that one whole-image inference adds to this process (Linux)."""
    import torch

    model = workload.build().eval()
    with torch.inference_mode():
        model.restore_whole(torch.rand(1, 3, 8, 8))
        before = _reset_peak_mib()
        model.restore_whole(torch.rand(1, 3, workload.side, workload.side))
    yield f"added by {workload.side}x{workload.side}", f"{_peak_mib() - before:.0f} MiB"


def _reset_peak_mib() -> float:
    Path("/proc/self/clear_refs").write_text("5")  # the peak of the imports is higher
    return _peak_mib()


def _peak_mib() -> float:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def tiles(workload: Workload) -> Iterator[Line]:
    """How far blended tiles are from the whole image, for a network whose output depends on all of it."""
    from restore.config.inference import Inference
    from restore.data.photos import embedded
    from restore.image import reading
    from restore.inference.load import open_restorer
    from restore.metrics.protocols import psnr, to_8bit

    if workload.ckpt_path is None:
        raise SettingError("ckpt_path", None, "a checkpoint whose tiles are to be measured", "set ckpt_path=<file>")
    image = reading.read(embedded("photos_held_out")[1]).rgb()
    whole = open_restorer(workload.ckpt_path, inference=Inference(tile="none")).restore(image)
    for tile in TILES:
        pred = open_restorer(workload.ckpt_path, inference=Inference(tile=str(tile))).restore(image)
        largest = 255 * float((pred - whole).abs().max())
        agreement = psnr(to_8bit(pred), to_8bit(whole))
        figures = f"largest deviation {largest:.2f} levels, {agreement:.1f} dB to the whole"
        yield f"coffee in tiles of {tile} px", figures


MEASUREMENTS: dict[str, Callable[[Workload], Iterator[Line]]] = {
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
