"""Ends a training in time if the machine has become slower since the number of steps was chosen."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from restore.callbacks.contract import trained
from restore.distributed import collectives

log = logging.getLogger(__name__)

ASKED_EVERY = 10  # steps between decisions, with several processes
TRUSTED_SHARE = 0.1  # fraction of the training after which the measured speed is trusted
CLEARLY = 0.05  # fraction of the training; smaller delays are ignored


@dataclass(frozen=True)
class Plan:
    """The number of steps chosen for a run, and the times that were forecast for it, in seconds.

    Attributes:
        max_steps: number of steps of the run.
        stages: for each stage its last step, and the time of a step.
        training: the whole remaining training, with validations and checkpoints.
        validation: one validation. scoring: testing the kept weights at the end.
    """

    max_steps: int
    stages: Sequence[tuple[int, float]] = ()
    training: float = 0.0
    validation: float = 0.0
    scoring: float = 0.0

    def steps_until(self, step: int) -> float:
        """Seconds for the first ``step`` steps, without validations."""
        begins = [0, *(end for end, _ in self.stages)]
        spans = zip(begins, self.stages, strict=False)
        return sum(max(0, min(step, end) - begin) * seconds for begin, (end, seconds) in spans)


class EndInSlot(Callback):
    """Monitors the speed of a training, warns if it is too slow for its slot, and ends it in time to be scored.

    The training then ends as it would at its last step, with a validation, but before the end of its schedule.

    Args:
        ends: end of the slot, on ``clock``. plan: the run's plan.
        leaving: seconds to write the result and end the process. clock: returns seconds.

    Attributes:
        warnings: sentences to store with the run's result.
    """

    def __init__(self, ends: float, plan: Plan, leaving: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.ends, self.plan, self.leaving, self._clock = ends, plan, leaving, clock
        self.warnings: list[str] = []
        self._began = self._stepped = self._validating = self._validated = 0.0
        self._first = 0
        self._step = self._validation = 0.0  # seconds of the most recent one
        self._is_slow = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start measuring the speed."""
        self._began = self._stepped = self._clock()
        self._first = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End the training if another step would leave no time to validate and score."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        now, step, every = self._clock(), trainer.global_step, 1 if trainer.world_size == 1 else ASKED_EVERY
        is_first = step == self._first + 1  # the first step takes longer
        self._step, self._stepped = 0.0 if is_first else now - self._stepped, now
        if step >= trainer.max_steps or step % every:
            return
        is_due = (batch_idx + 1) % int(trainer.val_check_batch or 1) == 0
        is_over = now + every * self._step + self._kept(now, step, is_due=is_due) > self.ends
        if collectives.broadcast(is_over, 0):
            self._end(trainer, pl_module)
        elif not self._is_slow:
            self._look_ahead(trainer, now)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start timing the validation."""
        self._validating = self._clock()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop timing the validation, which does not count in the next step."""
        self._stepped = self._clock()
        self._validation = self._stepped - self._validating
        self._validated += self._validation

    def state_dict(self) -> dict[str, Any]:
        """The plan, stored in checkpoints."""
        return asdict(self.plan)

    def _kept(self, now: float, step: int, *, is_due: bool) -> float:
        """Seconds needed at the end: one validation (two if one is due before the next step), scoring, the result."""
        plan, slower = self.plan, max(1.0, self._pace(now, step))
        validation = max(slower * plan.validation, self._validation)
        scoring = slower * plan.scoring or validation
        return (2 if is_due else 1) * validation + scoring + slower * self.leaving

    def _progress(self, step: int) -> tuple[float, float]:
        """Planned seconds of this start's steps, without validations: of those done, and of those left."""
        first, so_far, last = map(self.plan.steps_until, (self._first, step, self.plan.max_steps))
        return so_far - first, last - so_far

    def _pace(self, now: float, step: int) -> float:
        """Measured over planned time of the steps; 1 until enough steps are done."""
        done, left = self._progress(step)
        if not done or done < TRUSTED_SHARE * (done + left):
            return 1.0
        return (now - self._began - self._validated) / done

    def _end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trained(pl_module).end_early()
        trainer.should_stop = True
        self.warnings.append(
            f"ended at step {trainer.global_step} of {trainer.max_steps}, before the end of its schedule: the machine "
            "was slower than when trainer.max_time chose the number of steps"
        )
        log.warning(self.warnings[-1])

    def _look_ahead(self, trainer: Trainer, now: float) -> None:
        """Warn once that the training will not finish in its slot."""
        step, pace = trainer.global_step, self._pace(now, trainer.global_step)
        done, left = self._progress(step)
        if done < TRUSTED_SHARE * (done + left) or not done * left:
            return
        to_come = pace * self.plan.training * left / self.plan.steps_until(self.plan.max_steps)
        late = now + to_come + self._kept(now, step, is_due=False) - self.ends
        if late > CLEARLY * self.plan.training:
            self._is_slow = True
            log.warning(
                "trainer.max_time: the training is slower than planned (%.2f of the planned speed) and would "
                "take %s too long; it will stop before the end of its schedule, in time for validation and "
                "scores",
                1 / pace,
                timedelta(seconds=round(late)),
            )
