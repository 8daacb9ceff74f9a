"""What a translation's training will train when, how much of it, and how long that takes: a table for people."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from restore.models.translation.stages import Stage, stage_at

if TYPE_CHECKING:  # it imports this file
    from restore.models.translation.model import Translation


def measured_plan(model: "Translation", *, side: int, count: int) -> str:
    """The plan in Markdown, see :func:`plan_table`; one step of each stage is measured, on random pictures.

    Leaves no trace in the model, so that a resumed run is the same.

    Args:
        model: attached to its trainer, with its stages and judges.
        side: of a training picture at full resolution, in pixels.
        count: of the pictures of a batch.
    """
    stages = model.stages
    like: Any = {"device": model.device, "dtype": model.weights_dtype}
    lq, gt = torch.rand(count, model.in_channels, side, side, **like), torch.rand(count, 3, side, side, **like)
    batch = {"lq": lq, "gt": gt}
    _seconds(model, stages[-1], batch)  # the first time of every size takes longer
    seconds = [_seconds(model, stage, batch) * model.trainer.accumulate_grad_batches for stage in stages]
    model.enter(stage_at(stages, model.trainer.global_step))
    model.stage = None  # so that the first step enters it
    parameters = [trained_parameters(model, stage) for stage in stages]
    return plan_table(stages, side=side, lr=model.hparams["lr"], parameters=parameters, seconds_per_step=seconds)


def trained_parameters(model: "Translation", stage: Stage) -> tuple[int, int]:
    """How many are trained in a stage: of the generator, of the discriminators."""
    assert model.judges is not None
    judging = list(model.judges.discriminators)
    own = [module for level in stage.trained for module in model.network.modules_of(level)]
    return _count(own), _count([judging[level] for level in stage.trained] if judging else [])


def _count(modules: list[nn.Module]) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def _seconds(model: "Translation", stage: Stage, batch: dict[str, Any]) -> float:
    """Of one step without its updates."""
    judges = model.judges
    assert judges is not None
    model.enter(stage)
    judges.eval()  # else spectral norm would move on
    known = dict(judges.style_weights)
    started = time.perf_counter()
    with model.trainer.precision_plugin.train_step_context():
        pictures = model.pictures(batch, stage)
        if model.opt_d is not None:
            _differentiate(judges.discriminator_loss(*pictures, stage)[0], judges.discriminators)
        loss, _ = judges.generator_loss(*pictures, stage)
    _differentiate(loss, model.network)
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    judges.train()
    judges.style_weights = known
    return seconds


def _differentiate(loss: Tensor, module: nn.Module) -> None:
    """As ``loss.backward()``, but leaving no gradients, and unseen by what averages them over processes."""
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
    """A plan in Markdown: one row for each stage.

    Args:
        side: of a training picture at full resolution, in pixels.
        lr: of the optimisers, before the stages' factors.
        parameters: for each stage how many are trained, of the generator and of the discriminators.
        seconds_per_step: measured, for each stage.
    """
    lines = [
        "| stage | trains | steps | level sizes | lr | trained parameters (+ discriminators) | about |",
        "|---|---|---|---|---|---|---|",
    ]
    total = 0.0
    for stage, (own, judging), each in zip(stages, parameters, seconds_per_step, strict=True):
        sizes = ", ".join(str(side >> level) for level in range(stage.top, stage.levels))
        rate, seconds = f"{lr * stage.lr:g}", (stage.end - stage.begin) * each
        total += seconds
        rate += ", falling to 0" if stage.falls else ""
        count = f"{own / 1e6:.3f} M (+ {judging / 1e6:.3f} M)"
        steps = f"{stage.begin + 1} to {stage.end}"
        lines.append(f"| {stage.number} | {stage.name} | {steps} | {sizes} | {rate} | {count} | {seconds:.0f} s |")
    lines.append(
        f"\nAbout {total:.0f} s in all on this machine: one measured step of each stage, without loading, updates and "
        "validation."
    )
    return "\n".join(lines) + "\n"
