"""A training step on one core: networks of equal size in both memory layouts, and where its time goes.

    python -m experiments.performance.training_step

Writes step.csv, processor seconds, the fewest of some rounds in which all take turns; and profile.csv: milliseconds by
kind of operation, as oneDNN reports its own, means over some steps. What is neither oneDNN's nor the optimiser's is the
rest: element-wise operations, pooling, pixel shuffles, PyTorch itself.
"""

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
from torch import nn

from experiments.performance.peers import HERE, LAYOUTS, PEERS, SCALE, fastest, ours, write

BATCH, PATCH, ROUNDS = 16, 96, 5  # PATCH: gt pixels
NETWORKS: dict[str, Callable[[], nn.Module]] = {"ours": ours, **PEERS}
PROFILED = (("ours", "channels_last"), ("RCAN", "channels_last"), ("RCAN", "default layout"))
KINDS = {
    ("convolution", "forward_training"): "convolution, forward",
    ("convolution", "backward_data"): "convolution, backward by data",
    ("convolution", "backward_weights"): "convolution, backward by weights",
}


def main() -> None:
    """Both tables; with --network the steps alone, for a process that listens to oneDNN."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--layout", choices=LAYOUTS, default="channels_last")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.network is not None:
        print(*steps_alone(given.network, given.layout, given.rounds))
        return
    ways = {(name, layout): step(NETWORKS[name](), layout)[0] for name in NETWORKS for layout in LAYOUTS}
    seconds = fastest({f"{name}, {layout}": work for (name, layout), work in ways.items()}, ROUNDS)
    sizes = {name: sum(each.numel() for each in make().parameters()) for name, make in NETWORKS.items()}
    rows = [[name, layout, sizes[name], seconds[f"{name}, {layout}"]] for name, layout in ways]
    write("step.csv", ["network", "layout", "parameters", "seconds"], rows)
    profiles = [[*each, *line] for each in PROFILED for line in profiled(*each)]
    write("profile.csv", ["network", "layout", "kind", "milliseconds", "kernels"], profiles)


def step(network: nn.Module, layout: str) -> tuple[Callable[[], object], torch.optim.Optimizer]:
    """One update of a network in a memory layout, and its optimiser; crops as in a training."""
    form = LAYOUTS[layout]
    network = network.to(memory_format=form)
    traceable = getattr(network, "traceable", None)  # ours would choose the layout itself
    forward = network if traceable is None else traceable()
    optimizer = torch.optim.Adam(network.parameters())
    lq = torch.rand(BATCH, 3, PATCH // SCALE, PATCH // SCALE).contiguous(memory_format=form)
    gt = torch.rand(BATCH, 3, PATCH, PATCH)

    def work() -> None:
        loss = (forward(lq) - gt).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return work, optimizer


def steps_alone(name: str, layout: str, rounds: int) -> tuple[float, float]:
    """Milliseconds of a step, and of its optimiser, after one that is not counted: means over some."""
    work, optimizer = step(NETWORKS[name](), layout)
    work()
    started = time.perf_counter()
    for _ in range(rounds):
        work()
    between = time.perf_counter()
    optimizer.step()
    return 1e3 * (between - started) / rounds, 1e3 * (time.perf_counter() - between)


def profiled(name: str, layout: str) -> Iterator[tuple[str, float, str]]:
    """Kind, milliseconds and kernels."""
    words = [f"--network={name}", f"--layout={layout}", f"--rounds={ROUNDS}"]
    said = subprocess.run(
        [sys.executable, "-m", "experiments.performance.training_step", *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=HERE.parents[1],
        env={**os.environ, "ONEDNN_VERBOSE": "profile_exec"},
    ).stdout.splitlines()
    calls = [line.split(",") for line in said if line.startswith("onednn_verbose") and ",exec,cpu," in line]
    each, kernels, found = len(calls) // (1 + ROUNDS), defaultdict[str, set[str]](set), defaultdict[str, float](float)
    for words in calls[each:]:  # every step makes the same calls, and the first one is not counted
        call = words[words.index("exec") :]  # exec, cpu, primitive, kernel, kind, ..., milliseconds
        kind = KINDS.get((call[2], call[4]), "layout changes" if call[2] == "reorder" else f"other {call[2]}")
        found[kind] += float(call[-1]) / ROUNDS
        kernels[kind].add(call[3])
    whole, optimizer = (float(value) for value in said[-1].split()[-2:])
    found["optimiser"], found["rest"] = optimizer, whole - optimizer - sum(found.values())
    for kind, milliseconds in found.items():
        yield kind, milliseconds, " ".join(sorted(kernels[kind]))


if __name__ == "__main__":
    main()
