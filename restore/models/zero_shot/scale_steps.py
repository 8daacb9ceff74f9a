"""The gradual scale steps of a zero-shot training: when each ends, and what it passes on to the next."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from restore.data.single_image import SingleImageData
from restore.io.errors import SettingError
from restore.models.zero_shot import step_networks, workload
from restore.models.zero_shot.lr_policy import LRPolicy, ScaleStep
from restore.models.zero_shot.network import ALL_VIEWS, ZeroShotNetwork
from restore.models.zero_shot.plan import CHECK_EVERY, LEAST_STEPS, Plan, TimeLimit
from restore.models.zero_shot.reconstruction import Reconstruction
from restore.ops import tiling

log = logging.getLogger(__name__)

CLEAR_GAIN = 0.05  # of the squared error; on white noise a network gains 0.04 merely by damping


class _Cancelled(Exception):
    """Raised between the tiles of an enlargement."""


class ScaleSteps(Callback):
    """Measures the reconstruction error, lowers the learning rate, ends scale steps and begins the next.

    The reconstruction error compares the image with itself, downscaled and then enlarged by the network. The policy
    is that of Shocher et al. (CVPR 2018, section 3.2); in addition, the learning rate is annealed at the end of the
    budget, the best weights are kept, and interpolation replaces a network that does not clearly beat it.

    Args:
        network: has one network per scale step. policy: of the learning rate.

    Attributes:
        data: set by the model before training starts.
        deadline: on the clock ``time.monotonic``; steps, views and rounds are planned to end before it.
        cancel: called before every step and between tiles of an enlargement; true ends all scale steps.
        halt: whether all scale steps were ended.
        starts_trained: whether the networks start from trained weights, whose error is then also measured.
        start_share: share of these weights in the mean of them and the trained ones at the end of a scale step.
        tile: called with (height, width) of an enlarged image; returns the side of its tiles, or None for the whole.
        views: maximum for each enlargement: 1 or 8.
        time_limit: the plan for the deadline; None without a deadline.
    """

    data: SingleImageData

    def __init__(self, network: ZeroShotNetwork, policy: LRPolicy) -> None:
        self.network, self.policy, self.records = network, policy, list[ScaleStep]()
        self.deadline: float | None = None
        self.cancel: Callable[[], bool] | None = None
        self.halt = False
        self.starts_trained, self.start_share = False, 0.0
        self._start: dict[str, Tensor] = {}
        self.tile: Callable[[tuple[int, int]], int | None] = network.tile_within
        self.views = ALL_VIEWS
        self.time_limit: TimeLimit | None = None
        self._reconstruction: Reconstruction | None = None  # for this scale step

    @property
    def stage(self) -> int:
        """Index of the present scale step."""
        return max(0, len(self.records) - 1)

    @property
    def fell_back(self) -> list[int]:
        """Scale steps, counted from 1, in which interpolation was better."""
        return [k + 1 for k, record in enumerate(self.records) if record.fell_back]

    @property
    def too_short(self) -> Plan | None:
        """The plan, if the deadline leaves no time for a trained result and nothing was trained; else None."""
        if self.time_limit is None or self.stage or self.time_limit.plan.fits:
            return None
        return self.time_limit.plan

    @property
    def planned(self) -> int:
        """Maximum training steps of all scale steps."""
        begun = [record.budget for record in self.records]
        return sum(begun) + (len(self.network.factors) - len(begun)) * begun[-1]

    def views_left(self) -> int:
        """Number of views for which there is time after training; one after ``cancel``."""
        return 1 if self.halt else self.views if self.time_limit is None else self.time_limit.views_left()

    def state(self) -> list[dict[str, Any]]:
        """State for a checkpoint."""
        return [asdict(record) for record in self.records]

    def load(self, state: list[dict[str, Any]]) -> None:
        """Restore the state from a checkpoint."""
        self.records = [ScaleStep(**record) for record in state]

    # --- hooks ---

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin; in a resumed run, pass the fathers to the data again."""
        if trainer.max_steps < len(self.network.factors):
            reason = f"at least one for each of the {len(self.network.factors)} scale steps"
            raise SettingError("trainer.max_steps", trainer.max_steps, reason)
        self._refuse_prolonging(trainer)
        if not self.records:
            self._begin(trainer, 0, None, from_batch=0)
            return
        for k, record in enumerate(self.records):
            self._add(k, record)
        trainer.should_stop = trainer.should_stop or self._is_finished

    def _refuse_prolonging(self, trainer: Trainer) -> None:
        if self._is_finished and self.records[-1].budget != self._most(trainer):
            reason = f"as before, {self.records[-1].budget} for each scale step, because all scale steps are finished"
            remedy = "start another run to train for longer"
            raise SettingError("trainer.max_steps", trainer.max_steps, reason, remedy)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Set the learning rate; ``cancel`` is checked first, so that the step that begins can end its scale step."""
        self.halt = self.halt or (self.cancel is not None and self.cancel())
        left = max(0.0, self._left(trainer))  # time may run out between two steps
        lr = self.policy.lr_after(self.records[-1].drops) * min(1.0, left / max(self.policy.anneal, 1e-9))
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = lr

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure the error, lower the learning rate, end the scale step; only after finished optimiser steps."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        record, step = self.records[-1], trainer.global_step
        done, over = step - record.begin, self._is_over(trainer)
        if done % CHECK_EVERY == 0 or over:
            self._measure(trainer, record)
        if record.should_drop(step, self.policy):
            record.drops, record.dropped = record.drops + 1, step
            over = over or self.policy.is_at_stop(record.drops)
        if over:
            self._end(trainer, record, batch_idx)

    # --- budgets ---

    def _left(self, trainer: Trainer) -> float:
        """Fraction of this scale step's budget, of steps or time, that is left."""
        record = self.records[-1]
        done = trainer.global_step - record.begin
        by_time = 1.0 if self.time_limit is None else self.time_limit.share_left(done)
        return min(1 - done / record.budget, by_time)

    def _most(self, trainer: Trainer) -> int:
        return max(1, trainer.max_steps // len(self.network.factors))

    def _is_over(self, trainer: Trainer) -> bool:
        return self.halt or self._left(trainer) <= 0 or trainer.global_step >= trainer.max_steps

    @property
    def _is_finished(self) -> bool:
        return self.halt or (len(self.records) == len(self.network.factors) and self.records[-1].ended)

    # --- one scale step ---

    def _begin(self, trainer: Trainer, k: int, father: Tensor | None, *, from_batch: int) -> None:
        begun = trainer.global_step
        self.records.append(ScaleStep(begun, from_batch, father, self._most(trainer), begun))
        self._add(k, self.records[-1])
        if self.deadline is not None or not k:
            self._plan(trainer, k)
        if self.starts_trained:
            self._measure(trainer, self.records[-1])
            self._start = self.records[-1].best

    def _plan(self, trainer: Trainer, k: int) -> None:
        """Log the plan for this scale step and later ones; a deadline limits them, and too near a one ends all."""
        assert self._reconstruction is not None
        pixels, most = self._reconstruction.pixels, self._most(trainer)
        bounds = {"least_steps": 0 if self.starts_trained else LEAST_STEPS, "most_steps": most, "views": self.views}
        work = workload.work_left(self.network, self.data, k, pixels, self.tile, **bounds)
        speed = self.time_limit or workload.measured_speed(self.network, self.data, self._reconstruction.input)
        limit = speed if isinstance(speed, TimeLimit) else TimeLimit(self.deadline, speed, time.monotonic)
        plan = limit.begin(work)
        if self.deadline is not None:
            self.time_limit = limit
            self.records[-1].budget, self.network.rounds = max(1, plan.steps), plan.rounds
        if self.too_short is not None:
            self.halt = trainer.should_stop = True
            return
        words = "scale step %d: at most %d training steps, then %d views and %d rounds of back-projection; about %.0f s"
        log.info(words, k + 1, plan.steps, plan.views, plan.rounds, plan.training + plan.enlarging)

    def _add(self, k: int, record: ScaleStep) -> None:
        """Pass the fathers of scale step ``k`` to the data, and prepare its reconstruction error."""
        factor, data = self.network.factors[k], self.data
        found = [data.image] + [each.father for each in self.records[1 : k + 1] if each.father is not None]
        zoom, shrink = self.network.zoom, self.network.shrink
        data.add(found, lambda image: shrink(image, factor), factor, zoom=zoom, from_batch=record.from_batch)
        made = Reconstruction(data.image, factor, zoom=zoom, shrink=shrink, noise=data.noise, device=self._device)
        self._reconstruction, record.bicubic = made, made.bicubic

    def _measure(self, trainer: Trainer, record: ScaleStep) -> None:
        assert self._reconstruction is not None
        network = self.network.steps[self.stage]
        error = self._reconstruction.error(network)
        if error < record.least_error:
            record.best = {name: value.detach().clone() for name, value in network.state_dict().items()}
        record.steps.append(trainer.global_step)
        record.errors.append(error)

    def _end(self, trainer: Trainer, record: ScaleStep, batch_idx: int) -> None:
        k, network = self.stage, self.network.steps[self.stage]
        best = record.best or network.state_dict()
        network.load_state_dict(step_networks.mean_weights(best, self._start, self.start_share))
        record.fell_back = not record.least_error < (1 - CLEAR_GAIN) * record.bicubic
        record.ended, record.best = True, {}
        if record.fell_back:
            words = "training did not clearly beat bicubic on the image itself; bicubic is used"
            steps = f"after {trainer.global_step - record.begin} of {record.budget} steps"
            log.warning("scale step %d of %d: %s %s", k + 1, len(self.network.factors), steps, words)
            network.interpolate_only()
        if self._is_finished or not record.fell_back:
            self.network.hand_on(k)
        if self._is_finished:
            trainer.should_stop = True
            return
        father = self._enlarged(k)
        if father is None:
            self.halt = trainer.should_stop = True
            self.network.hand_on(k)
            return
        # the loader prefetches one batch
        self._begin(trainer, k + 1, father, from_batch=batch_idx + 2)

    def _enlarged(self, k: int) -> Tensor | None:
        """The result so far, float (3, h, w), or its middle if it is large; None when cancelled."""
        image, network = self.data.middle(math.prod(self.network.factors[: k + 1])), self.network

        def run(step: tiling.Forward, given: Tensor) -> Tensor:
            return network.run(step, given, tile=self.tile((given.shape[-2], given.shape[-1])), report=ask)

        def ask(done: int, total: int) -> None:
            if self.cancel is not None and self.cancel():
                raise _Cancelled

        try:
            with torch.no_grad(), torch.autocast(self._device.type, enabled=False):
                batch = image[None].to(self._device)
                views = ALL_VIEWS if self.time_limit is None else self.time_limit.plan.views
                return network.enlarge(batch, run=run, views=views, stages=k + 1)[0].cpu()
        except _Cancelled:
            return None

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device
