"""Memory for an image, whole or within a budget, and the difference between tiles and the whole (Linux)."""

import time
from collections.abc import Iterator
from pathlib import Path

from restore.io.errors import SettingError
from restore.profiling.workload import Line, Workload, fresh_process

TILES = (48, 96, 192)  # pixels


def memory(workload: Workload) -> Iterator[Line]:
    """Peak memory of restoring an image, and the estimate used by ``tile=auto``, in new processes."""
    model = workload.build()
    for side in workload.sides:
        added = fresh_process(workload, "peak", f"side={side}").split()[-2]
        estimate = side * side * model.bytes_per_pixel / 2**20
        yield f"inference at {side}x{side}", f"{added} MiB, estimated {estimate:.0f} MiB"


def budgets(workload: Workload) -> Iterator[Line]:
    """An image under several budgets: the chosen tile, seconds, and peak memory."""
    height, width = workload.image_size
    for memory_gb in workload.budgets_gb:
        settings = f"memory_gb={memory_gb:g}", f"image_size=[{height},{width}]"
        yield f"{width}x{height} with memory_gb={memory_gb:g}", fresh_process(workload, "budget", *settings)


def budget(workload: Workload) -> Iterator[Line]:
    """One image within ``memory_gb``, in this process (Linux)."""
    import torch

    from restore.config.inference import Inference
    from restore.inference.network import NetworkRestorer

    settings = Inference(device="cpu", memory_gb=workload.memory_gb)
    restorer = NetworkRestorer("untrained", workload.build().network, settings)
    restorer.restore(torch.rand(3, 8, 8))
    before = reset_peak_mib()
    started = time.perf_counter()
    restorer.restore(torch.rand(3, *workload.image_size))
    seconds, tile = time.perf_counter() - started, restorer.tile_for(workload.image_size)
    tiles = "whole" if tile is None else f"tiles of {tile} px"
    yield "budget", f"{tiles}, {seconds:.1f} s, {peak_mib() - before:.0f} MiB"


def peak(workload: Workload) -> Iterator[Line]:
    """Resident memory added by one whole-image inference in this process (Linux)."""
    import torch

    model = workload.build().eval()
    with torch.inference_mode():
        model.restore_whole(torch.rand(1, 3, 8, 8))
        before = reset_peak_mib()
        model.restore_whole(torch.rand(1, 3, workload.side, workload.side))
    yield f"added by {workload.side}x{workload.side}", f"{peak_mib() - before:.0f} MiB"


def reset_peak_mib() -> float:
    """Reset the peak of this process's resident memory; return the present value in MiB."""
    Path("/proc/self/clear_refs").write_text("5")  # otherwise the higher peak of the imports would remain
    return peak_mib()


def peak_mib() -> float:
    """Peak resident memory of this process, in MiB."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def tiles(workload: Workload) -> Iterator[Line]:
    """Difference between blended tiles and the whole image, for a network whose output depends on the whole image."""
    from restore.config.inference import Inference
    from restore.data.embedded_photos import embedded
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
