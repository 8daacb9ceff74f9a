"""Names that older versions wrote into configurations and checkpoints, and what they are called now."""

from collections.abc import Mapping
from typing import Any

# prefix of a ``_target_`` -> its successor; the longest that fits counts
TARGETS = {
    "restore.models.zero_shot.ZeroShot": "restore.models.zero_shot.model.ZeroShot",
    "restore.models.translation.Translation": "restore.models.translation.model.Translation",
    "restore.synthetic_blur.": "restore.degradations.motion_blur.",
    "restore.degradations.Canny": "restore.degradations.basic.Canny",
    "restore.degradations.Gaussian": "restore.degradations.basic.Gaussian",
    "restore.degradations.Jpeg": "restore.degradations.basic.Jpeg",
    "restore.degradations.RandomOrder": "restore.degradations.basic.RandomOrder",
    "restore.sweep.Points": "restore.training.sweep.Points",
    "restore.callbacks.progress.Progress": "restore.callbacks.progress.ProgressBar",
}

# what was once called otherwise in a checkpoint: the state of the callback ``RunTimer``, which keeps the old name, and
# prefix of a name in ``state_dict`` -> its successor
RUN_TIMER_STATE = "Tally"
STATE_PREFIXES = {"judges.": "criterion."}


def with_current_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """A ``state_dict`` under the present names.

    >>> with_current_names({"judges.0.weight": 1, "network.judges.0": 2})
    {'criterion.0.weight': 1, 'network.judges.0': 2}
    """
    return {_with_current_prefix(name): value for name, value in state.items()}


def _with_current_prefix(name: str) -> str:
    old = next((prefix for prefix in STATE_PREFIXES if name.startswith(prefix)), None)
    return name if old is None else STATE_PREFIXES[old] + name.removeprefix(old)


def current_target(target: str) -> str:
    """What a ``_target_`` is called now.

    >>> current_target("restore.synthetic_blur.MotionBlur")
    'restore.degradations.motion_blur.MotionBlur'
    >>> current_target("restore.models.deblur.Deblur")
    'restore.models.deblur.Deblur'
    """
    old = max((prefix for prefix in TARGETS if target.startswith(prefix)), key=len, default=None)
    return target if old is None else TARGETS[old] + target.removeprefix(old)


def with_current_targets(config: Any) -> Any:
    """A copy of a plain configuration in which every ``_target_`` has its present name."""
    if isinstance(config, dict):
        return {
            key: current_target(value) if key == "_target_" and isinstance(value, str) else with_current_targets(value)
            for key, value in config.items()
        }
    return [with_current_targets(each) for each in config] if isinstance(config, list) else config
