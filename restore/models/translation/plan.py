"""The plan of a translation's training as a table: what is trained when, how many parameters, how long."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from restore.io.tables import markdown_rows
from restore.models.translation.stages import Stage, stage_at

if TYPE_CHECKING:  # it imports this file
    from restore.models.translation.model import Translation


def measured_plan(model: "Translation", *, side: int, count: int) -> str:
    """The plan in Markdown, see :func:`plan_table`; one step of each stage is measured, on random images.

    Leaves the model as it was, so that a resumed run is the same.

    Args:
        model: attached to its trainer, with its stages and criterion.
        side: of a training crop at full resolution, in pixels.
        count: images of a batch.
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
    """Numbers of parameters that are trained in a stage: of the generator, of the discriminators."""
    assert model.criterion is not None
    discriminators = list(model.criterion.discriminators)
    own = [module for level in stage.trained for module in model.network.modules_of(level)]
    return _count(own), _count([discriminators[level] for level in stage.trained] if discriminators else [])


def _count(modules: list[nn.Module]) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def _seconds(model: "Translation", stage: Stage, batch: dict[str, Any]) -> float:
    """Of one step without its updates."""
    criterion = model.criterion
    assert criterion is not None
    model.enter(stage)
    criterion.eval()  # else spectral norm would change its state
    known = dict(criterion.style_weights)
    started = time.perf_counter()
    with model.trainer.precision_plugin.train_step_context():
        pyramids = model.pyramids(batch, stage)
        if model.opt_d is not None:
            _differentiate(criterion.discriminator_loss(*pyramids, stage)[0], criterion.discriminators)
        loss, _ = criterion.generator_loss(*pyramids, stage)
    _differentiate(loss, model.network)
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    criterion.train()
    criterion.style_weights = known
    return seconds


def _differentiate(loss: Tensor, module: nn.Module) -> None:
    """As ``loss.backward()``, but without leaving gradients and without the strategy averaging them."""
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
        side: of a training crop at full resolution, in pixels.
        lr: of the optimisers, before the stages' factors.
        parameters: for each stage the numbers trained, of the generator and of the discriminators.
        seconds_per_step: measured, for each stage.
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
