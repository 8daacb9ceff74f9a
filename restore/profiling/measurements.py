"""The table of measurements of ``restore benchmark``: each yields lines of text and figures, one after another."""

from collections.abc import Callable, Iterator

from restore.profiling.memory import budget, budgets, memory, peak, tiles
from restore.profiling.photo import photo
from restore.profiling.speed import data, forecast, inference, slot, startup, step
from restore.profiling.workload import Line, Workload

MEASUREMENTS: dict[str, Callable[[Workload], Iterator[Line]]] = {
    "startup": startup,
    "data": data,
    "step": step,
    "inference": inference,
    "forecast": forecast,
    "slot": slot,
    "memory": memory,
    "peak": peak,
    "budgets": budgets,
    "budget": budget,
    "tiles": tiles,
    "photo": photo,
}
