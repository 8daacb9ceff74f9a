"""The schedule of a translation's training as a table: what each stage trains, number of parameters, time."""

import time
from collections.abc import Sequence

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from restore.io.tables import markdown_rows
from restore.models.translation.criterion import Criterion, pyramids
from restore.models.translation.network import TranslationNetwork
from restore.models.translation.stages import Stage


def measured_plan(
    network: TranslationNetwork,
    criterion: Criterion,
    stages: Sequence[Stage],
    trainer: Trainer,
    *,
    side: int,
    count: int,
    lr: float,
) -> str:
    """The plan in Markdown, see :func:`plan_table`; one step of each stage is timed on random images.

    Leaves network and criterion unchanged, so that a resumed run is identical.

    Args:
        network, criterion, stages: of the model. trainer: the one that trains the model.
        side: side of a training crop at full resolution, in pixels. count: crops per batch. lr: see :func:`plan_table`.
    """
    top = int(network.top)
    batch = _random_batch(network, side, count)
    _seconds(network, criterion, trainer, stages[-1], batch)  # warm-up: the first step of every size is slower
    seconds = [_seconds(network, criterion, trainer, stage, batch) for stage in stages]
    network.top.fill_(top)
    parameters = [trained_parameters(network, criterion, stage) for stage in stages]
    return plan_table(stages, side=side, lr=lr, parameters=parameters, seconds_per_step=seconds)


def _random_batch(network: TranslationNetwork, side: int, count: int) -> dict[str, Tensor]:
    weight = next(network.parameters())
    channels = {"lq": network.in_channels, "gt": 3}
    return {key: torch.rand(count, each, side, side).to(weight) for key, each in channels.items()}


def trained_parameters(network: TranslationNetwork, criterion: Criterion, stage: Stage) -> tuple[int, int]:
    """Numbers of parameters trained in a stage: of the generator, and of the discriminators."""
    discriminators = list(criterion.discriminators)
    own = [module for level in stage.trained for module in network.modules_of(level)]
    return _count(own), _count([discriminators[level] for level in stage.trained] if discriminators else [])


def _count(modules: list[nn.Module]) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def _seconds(
    network: TranslationNetwork, criterion: Criterion, trainer: Trainer, stage: Stage, batch: dict[str, Tensor]
) -> float:
    """Seconds of one step without the optimisers' updates."""
    network.train_levels(stage.trained, top=stage.top)
    criterion.eval()  # otherwise spectral norm would change its state
    known = criterion.calibration()
    started = time.perf_counter()
    with trainer.precision_plugin.train_step_context():
        compared = pyramids(network, batch, stage)
        if len(criterion.discriminators):
            _differentiate(criterion.discriminator_loss(*compared, stage)[0], criterion.discriminators)
        loss, _ = criterion.generator_loss(*compared, stage)
    _differentiate(loss, network)
    if loss.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    criterion.train()
    criterion.load_calibration(known)
    return seconds * trainer.accumulate_grad_batches


def _differentiate(loss: Tensor, module: nn.Module) -> None:
    """Like ``loss.backward()``, but does not store gradients, and the strategy does not average them."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    torch.autograd.grad(loss, parameters, allow_unused=True)


def plan_table(
    stages: Sequence[Stage],
    *,
    side: int,
    lr: float,
    parameters: Sequence[tuple[int, int]],
    seconds_per_step: Sequence[float],
) -> str:
    """The plan in Markdown: one row per stage.

    Args:
        side: of a training crop at full resolution, in pixels.
        lr: of the optimisers, before the stages' factors.
        parameters: numbers trained in each stage, of the generator and of the discriminators.
        seconds_per_step: measured time in each stage.
    """
    rows = [["stage", "trains", "steps", "level sizes", "lr", "trained parameters (+ discriminators)", "about"]]
    total = 0.0
    for stage, (own, discriminators), each in zip(stages, parameters, seconds_per_step, strict=True):
        sizes = ", ".join(str(side >> level) for level in range(stage.top, stage.levels))
        rate, seconds = f"{lr * stage.lr:g}", (stage.end - stage.begin) * each
        total += seconds
        rate += ", falling to 0" if stage.falls else ""
        count = f"{own / 1e6:.3f} M (+ {discriminators / 1e6:.3f} M)"
        steps = f"{stage.begin + 1} to {stage.end}"
        rows.append([str(stage.number), stage.name, steps, sizes, rate, count, f"{seconds:.0f} s"])
    return (
        f"{markdown_rows(rows)}\n\n"
        f"About {total:.0f} s in all on this machine: one measured step of each stage, without loading, updates and "
        "validation.\n"
    )
