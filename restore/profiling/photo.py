"""A large photo from file to file: total seconds, those of the network alone, and peak memory (Linux)."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from restore.profiling.memory import peak_mib, reset_peak_mib
from restore.profiling.workload import Line, Workload


def photo(workload: Workload) -> Iterator[Line]:
    """Restore a JPEG of ``image_size`` to a PNG within ``memory_gb``, in this process, on the CPU."""
    import torch

    from restore.config.inference import Inference
    from restore.image import writing
    from restore.image.decoded_image import DecodedImage
    from restore.inference.batch import FileRestorer
    from restore.inference.network import NetworkRestorer
    from restore.ops.resize import resize

    height, width = workload.image_size
    settings = Inference(device="cpu", memory_gb=workload.memory_gb)
    restorer = NetworkRestorer("untrained", workload.build().network, settings)
    restorer.restore(torch.rand(3, 8, 8))
    stopwatch = _Stopwatch(restorer.network)
    with tempfile.TemporaryDirectory(prefix="restore_benchmark_") as folder:
        source, target = Path(folder) / "photo.jpg", Path(folder) / "restored.png"
        writing.write(source, DecodedImage.of(resize(torch.rand(3, 12, 16), 1.0, size=(height, width))))
        files = FileRestorer("untrained", {}, "strip", None)
        before, started = reset_peak_mib(), time.perf_counter()
        outcome = files.restore(restorer, (source, target))
        seconds, peak = time.perf_counter() - started, peak_mib() - before
    if outcome.problem is not None:
        raise ValueError(outcome.problem)
    yield f"photo of {width}x{height} px, from file to file", f"{seconds:.1f} s, {peak:.0f} MiB"
    yield "its network alone", f"{stopwatch.seconds:.1f} s in {stopwatch.calls} tiles"
    yield "all / network", f"{seconds / stopwatch.seconds:.2f}"


class _Stopwatch:
    """Adds up the seconds spent in calls of a network."""

    def __init__(self, network: Any) -> None:
        self.seconds, self.calls, self._started = 0.0, 0, 0.0
        network.register_forward_pre_hook(self._start)
        network.register_forward_hook(self._stop)

    def _start(self, *_: object) -> None:
        self._started = time.perf_counter()

    def _stop(self, *_: object) -> None:
        self.seconds, self.calls = self.seconds + time.perf_counter() - self._started, self.calls + 1
