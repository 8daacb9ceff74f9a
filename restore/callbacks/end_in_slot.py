"""Ends a training in time, where the machine has become slower than it was when the number of steps was chosen."""

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

ASKED_EVERY = 10  # steps, with several processes
TRUSTED_SHARE = 0.1  # of the training, after which its speed is known
CLEARLY = 0.05  # of the training: less is made up for, or ends a little early


@dataclass(frozen=True)
class Plan:
    """What was chosen for a run, and the seconds that this was expected to take.

    Attributes:
        max_steps: of the run.
        stages: last step and seconds of a step of each stage.
        training: of all that is left to train, with validations and checkpoints.
        validation: of one. scoring: of the kept weights at the end.
    """

    max_steps: int
    stages: Sequence[tuple[int, float]] = ()
    training: float = 0.0
    validation: float = 0.0
    scoring: float = 0.0

    def steps_until(self, step: int) -> float:
        """Seconds of the first ``step`` steps, without validations."""
        begins = [0, *(end for end, _ in self.stages)]
        spans = zip(begins, self.stages, strict=False)
        return sum(max(0, min(step, end) - begin) * seconds for begin, (end, seconds) in spans)


class EndInSlot(Callback):
    """Follows a training's speed, says when it is too slow for its slot, and ends it while there is time to score it.

    The training then ends as at its last step, with a validation, but before the end of its schedule.

    Args:
        ends: of the slot, on ``clock``. plan: of the run.
        leaving: seconds of writing the result and ending the process. clock: in seconds.

    Attributes:
        warnings: sentences to keep with the run's result.
    """

    def __init__(self, ends: float, plan: Plan, leaving: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.ends, self.plan, self.leaving, self._clock = ends, plan, leaving, clock
        self.warnings: list[str] = []
        self._began = self._stepped = self._validating = self._validated = 0.0
        self._first = 0
        self._step = self._validation = 0.0  # seconds of the newest one
        self._is_slow = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on the speed counts."""
        self._began = self._stepped = self._clock()
        self._first = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End the training where another step would leave no time to validate and score."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        now, step, every = self._clock(), trainer.global_step, 1 if trainer.world_size == 1 else ASKED_EVERY
        is_first = step == self._first + 1  # which takes longer
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
        """Its time is measured."""
        self._validating = self._clock()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """It is no part of the next step."""
        self._stepped = self._clock()
        self._validation = self._stepped - self._validating
        self._validated += self._validation

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self.plan)

    def _kept(self, now: float, step: int, *, is_due: bool) -> float:
        """Seconds that the end takes: one validation, two where one is due before the next step, and scoring."""
        plan, slower = self.plan, max(1.0, self._pace(now, step))
        validation = max(slower * plan.validation, self._validation)
        scoring = slower * plan.scoring or validation
        return (2 if is_due else 1) * validation + scoring + slower * self.leaving

    def _progress(self, step: int) -> tuple[float, float]:
        """Seconds that the steps of this start were planned to take, without validations: those done, those left."""
        first, so_far, last = map(self.plan.steps_until, (self._first, step, self.plan.max_steps))
        return so_far - first, last - so_far

    def _pace(self, now: float, step: int) -> float:
        """How many times as long as planned the steps take; 1 while too few are done to know."""
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
        """Say once that the training will not be finished in its slot."""
        step, pace = trainer.global_step, self._pace(now, trainer.global_step)
        done, left = self._progress(step)
        if done < TRUSTED_SHARE * (done + left) or not done * left:
            return
        to_come = pace * self.plan.training * left / self.plan.steps_until(self.plan.max_steps)
        late = now + to_come + self._kept(now, step, is_due=False) - self.ends
        if late > CLEARLY * self.plan.training:
            self._is_slow = True
            log.warning(
                "trainer.max_time: slower than planned (%.2f of the speed); at this speed %s would be missing at the "
                "end, and the training will end before its schedule does, in time to be validated and scored",
                1 / pace,
                timedelta(seconds=round(late)),
            )
