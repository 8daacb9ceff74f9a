"""The gradual scale steps of a zero-shot training: when each ends, and what it hands to the next."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from restore.models.zero_shot import lr_policy
from restore.models.zero_shot.reconstruction import Reconstruction
from restore.ops import tiling

if TYPE_CHECKING:
    from restore.models.zero_shot.model import ZeroShotSuperResolution

log = logging.getLogger(__name__)

ERROR_EVERY = 50  # steps between two looks at the whole image's reconstruction
BETWEEN_DROPS = 256  # least number of steps at one learning rate
CLEAR_GAIN = 0.05  # of the squared error; on white noise a network gains 0.04, by damping alone


@dataclass
class ScaleStep:
    """One scale step while it is trained.

    Attributes:
        begin: optimiser step at which it began. from_batch: batch from which its fathers are in force.
        father: the result of the step before, float (3, H, W); None in the first.
        budget: optimiser steps it may take. drops: of the learning rate. dropped: step of the last drop.
        steps, errors: reconstruction errors (mean square, whole image) and when they were taken.
        bicubic: the error of interpolation alone.
        best: weights of the least error.
        ended, fell_back: whether it is over, and whether interpolation won.
    """

    begin: int
    from_batch: int
    father: Tensor | None
    budget: int
    dropped: int
    drops: int = 0
    bicubic: float = math.inf
    steps: list[int] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    ended: bool = False
    fell_back: bool = False


class Cancelled(Exception):
    """Within an enlargement between two scale steps."""


class ScaleSteps(Callback):
    """Watches the reconstruction error, lowers the learning rate, ends scale steps and begins the next.

    The image is shrunk, enlarged by the network and held against itself. The policy is Shocher et al.'s (CVPR 2018,
    section 3.2); in addition the learning rate is annealed at the end of the budget, the weights of the least error
    are kept, and where they do not clearly beat interpolation, interpolation is what remains.

    Args:
        model: whose networks are trained.

    Attributes:
        deadline: on the clock ``time.monotonic``; training ends early enough to leave time for enlarging.
        cancel: asked before every step, and between the tiles of an enlargement; true ends all scale steps.
        halt: it was.
        tile: for an enlarged image of (height, width): the tile to run it by, None for the whole.
        has_time_for_ensemble, has_time: for eight views of the whole image, for one.
    """

    def __init__(self, model: "ZeroShotSuperResolution") -> None:
        self.model, self.records = model, list[ScaleStep]()
        self.deadline: float | None = None
        self.cancel: Callable[[], bool] | None = None
        self.halt = False
        self.tile: Callable[[tuple[int, int]], int | None] = model.network.tile_within
        self.has_time_for_ensemble = self.has_time = True
        self._reconstruction: Reconstruction | None = None  # of this scale step
        self._began, self._seconds = 0.0, math.inf  # of this scale step: time of start, and how long it may train

    @property
    def stage(self) -> int:
        """Number of the present scale step."""
        return max(0, len(self.records) - 1)

    @property
    def fell_back(self) -> list[int]:
        """Scale steps, counted from 1, in which interpolation won."""
        return [k + 1 for k, record in enumerate(self.records) if record.fell_back]

    def state(self) -> list[dict[str, Any]]:
        """For a checkpoint."""
        return [asdict(record) for record in self.records]

    def load(self, state: list[dict[str, Any]]) -> None:
        """From a checkpoint."""
        self.records = [ScaleStep(**record) for record in state]

    # --- hooks ---

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin, or hand the fathers of a resumed run to the data again."""
        if trainer.max_steps < len(self.model.network.factors):
            raise ValueError(
                f"trainer.max_steps is {trainer.max_steps}, expected at least one for each of the "
                f"{len(self.model.network.factors)} scale steps"
            )
        data = trainer.datamodule  # type: ignore[attr-defined]
        self.model.look_at(data.image, is_noisy=data.noise > 0)
        data.shrink_whole = self.model.network.shrink
        self._refuse_prolonging(trainer)
        if not self.records:
            self._begin(trainer, 0, None, from_batch=0)
            return
        for k, record in enumerate(self.records):
            self._add(trainer, k, record)
        trainer.should_stop = trainer.should_stop or self._is_finished

    def _refuse_prolonging(self, trainer: Trainer) -> None:
        if self._is_finished and self.records[-1].budget != self._budget(trainer):
            raise ValueError(
                f"trainer.max_steps is {trainer.max_steps}, but the scale steps of this run are over, with "
                f"{self.records[-1].budget} steps each at most; start another run to train for longer"
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Ask whether to go on, before a step, so that the last one still ends its scale step; then set the rate."""
        self.halt = self.halt or (self.cancel is not None and self.cancel())
        left = max(0.0, self._left(trainer))  # time may run out between the end of a step and the next
        lr = self._lr(self.records[-1]) * min(1.0, left / max(self._setting("anneal"), 1e-9))
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = lr

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look, lower, end; with gradient accumulation some batches finish no step."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        record, step = self.records[-1], trainer.global_step
        done, over = step - record.begin, self._is_over(trainer)
        if done % ERROR_EVERY == 0 or over:
            self._look(trainer, record)
        if done % self._setting("lr_decay_step") == 0 and self._has_flattened(record, step):
            record.drops, record.dropped = record.drops + 1, step
            over = over or self._lr(record) <= self._setting("lr_stop") * (1 + 1e-9)
        if over:
            self._end(trainer, record, batch_idx)

    # --- the policy ---

    def _lr(self, record: ScaleStep) -> float:
        """By the policy, before annealing."""
        return float(self._setting("lr") * self._setting("lr_decay") ** record.drops)

    def _has_flattened(self, record: ScaleStep, step: int) -> bool:
        recent = [k for k, at in enumerate(record.steps) if at > step - self._setting("lr_decay_range")]
        if step - record.dropped < BETWEEN_DROPS or len(recent) < 3:
            return False
        steps, errors = ([values[k] for k in recent] for values in (record.steps, record.errors))
        return lr_policy.has_flattened(steps, errors, ratio=self._setting("lr_decay_ratio"))

    def _left(self, trainer: Trainer) -> float:
        """Share of this scale step's budget, of steps or of time, that is left."""
        record = self.records[-1]
        by_steps = 1 - (trainer.global_step - record.begin) / record.budget
        return min(by_steps, 1 - (time.monotonic() - self._began) / self._seconds)

    def _budget(self, trainer: Trainer) -> int:
        return max(1, trainer.max_steps // len(self.model.network.factors))

    def _is_over(self, trainer: Trainer) -> bool:
        return self.halt or self._left(trainer) <= 0 or trainer.global_step >= trainer.max_steps

    @property
    def _is_finished(self) -> bool:
        return self.halt or (len(self.records) == len(self.model.network.factors) and self.records[-1].ended)

    # --- one scale step ---

    def _begin(self, trainer: Trainer, k: int, father: Tensor | None, *, from_batch: int) -> None:
        step = trainer.global_step
        self.records.append(ScaleStep(step, from_batch, father, self._budget(trainer), step))
        self._add(trainer, k, self.records[-1])
        if self.deadline is not None:
            self._share_time(trainer, k)

    def _share_time(self, trainer: Trainer, k: int) -> None:
        """Divide what is left between this and later scale steps, less what enlarging will take."""
        assert self.deadline is not None
        assert self._reconstruction is not None
        self._began = time.monotonic()
        seconds_of_a_pixel = self._reconstruction.seconds_of_a_pixel(self.model.network.steps[k])
        one_view = seconds_of_a_pixel * self._pixels_to_enlarge(trainer, k)
        left = self.deadline - self._began
        self.has_time_for_ensemble, self.has_time = 8 * one_view < left / 2, one_view < left
        spare = left - (8 if self.has_time_for_ensemble else 1) * one_view
        self._seconds = max(spare / (len(self.model.network.factors) - k), 1e-3)
        if not self.has_time:
            log.warning("there is no time to enlarge with a network; bicubic is used")
            self.halt = True

    def _pixels_to_enlarge(self, trainer: Trainer, k: int) -> float:
        """Of all enlargements that are still to come: each begins with the picture and takes all its scale steps."""
        data, factors = trainer.datamodule, self.model.network.factors  # type: ignore[attr-defined]
        squares = [math.prod(factors[: j + 1]) ** 2 for j in range(len(factors))]
        pixels = data.image[0].numel() * sum(squares)
        for j in range(k, len(factors) - 1):
            pixels += data.middle(math.prod(factors[: j + 1]))[0].numel() * sum(squares[: j + 1])
        return float(pixels)

    def _add(self, trainer: Trainer, k: int, record: ScaleStep) -> None:
        """Give the data the fathers of scale step ``k``, and prepare what its error is measured on."""
        factor, data = self.model.network.factors[k], trainer.datamodule  # type: ignore[attr-defined]
        found = [data.image] + [each.father for each in self.records[1 : k + 1] if each.father is not None]
        data.add(found, lambda image: self.model.network.shrink(image, factor), factor, from_batch=record.from_batch)
        self._reconstruction = Reconstruction(
            data.image, factor, shrink=self.model.network.shrink, noise=data.noise, device=self.model.device
        )
        record.bicubic = self._reconstruction.bicubic

    def _look(self, trainer: Trainer, record: ScaleStep) -> None:
        assert self._reconstruction is not None
        network = self.model.network.steps[self.stage]
        error = self._reconstruction.error(network)
        if error < min(record.errors, default=math.inf):
            record.best = {name: value.detach().clone() for name, value in network.state_dict().items()}
        record.steps.append(trainer.global_step)
        record.errors.append(error)

    def _end(self, trainer: Trainer, record: ScaleStep, batch_idx: int) -> None:
        k, network = self.stage, self.model.network.steps[self.stage]
        network.load_state_dict(record.best or network.state_dict())
        record.fell_back = not min(record.errors, default=math.inf) < (1 - CLEAR_GAIN) * record.bicubic
        record.ended = True
        record.best = {}
        if record.fell_back:
            words = "training did not clearly beat bicubic on the picture itself; bicubic is used"
            steps = f"after {trainer.global_step - record.begin} of {record.budget} steps"
            log.warning("scale step %d of %d: %s %s", k + 1, len(self.model.network.factors), steps, words)
            network.interpolate_only()
        if self._is_finished or not record.fell_back:
            self.model.network.hand_on(k)
        if self._is_finished:
            trainer.should_stop = True
            return
        father = self._enlarged(trainer, k)
        if father is None:
            self.halt = trainer.should_stop = True
            self.model.network.hand_on(k)
            return
        # the loader has read one batch ahead
        self._begin(trainer, k + 1, father, from_batch=batch_idx + 2)

    def _enlarged(self, trainer: Trainer, k: int) -> Tensor | None:
        """The result so far, float (3, h, w), or its middle where it is large; None when cancelled."""
        image = trainer.datamodule.middle(math.prod(self.model.network.factors[: k + 1]))  # type: ignore[attr-defined]

        def run(network: tiling.Forward, enlarged: Tensor) -> Tensor:
            return self.model.network.run(
                network, enlarged, tile=self.tile((enlarged.shape[-2], enlarged.shape[-1])), report=ask
            )

        def ask(done: int, total: int) -> None:
            if self.cancel is not None and self.cancel():
                raise Cancelled

        try:
            with torch.no_grad(), torch.autocast(self.model.device.type, enabled=False):
                batch = image[None].to(self.model.device)
                return self.model.network.enlarge(batch, run=run, ensemble=self.has_time_for_ensemble, stages=k + 1)[
                    0
                ].cpu()
        except Cancelled:
            return None

    def _setting(self, name: str) -> Any:
        return self.model.hparams[name]
