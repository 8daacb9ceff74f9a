"""Names that older versions wrote into configurations and checkpoints, with their present names."""

from collections.abc import Mapping
from typing import Any

# prefix of an old ``_target_`` -> new prefix; the longest match applies
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

# old names in checkpoints: the state of the callback ``RunTimer``, still stored under this name; and below, prefix of
# a name in ``state_dict`` -> new prefix
RUN_TIMER_STATE = "Tally"
STATE_PREFIXES = {"judges.": "criterion."}


def with_current_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """A ``state_dict`` with present names.

    >>> with_current_names({"judges.0.weight": 1, "network.judges.0": 2})
    {'criterion.0.weight': 1, 'network.judges.0': 2}
    """
    return {_with_current_prefix(name): value for name, value in state.items()}


def _with_current_prefix(name: str) -> str:
    old = next((prefix for prefix in STATE_PREFIXES if name.startswith(prefix)), None)
    return name if old is None else STATE_PREFIXES[old] + name.removeprefix(old)


def current_target(target: str) -> str:
    """The present name of a ``_target_``.

    >>> current_target("restore.synthetic_blur.MotionBlur")
    'restore.degradations.motion_blur.MotionBlur'
    >>> current_target("restore.models.deblur.Deblur")
    'restore.models.deblur.Deblur'
    """
    old = max((prefix for prefix in TARGETS if target.startswith(prefix)), key=len, default=None)
    return target if old is None else TARGETS[old] + target.removeprefix(old)


def with_current_targets(config: Any) -> Any:
    """A copy of a plain configuration with the present name of every ``_target_``."""
    if isinstance(config, dict):
        return {
            key: current_target(value) if key == "_target_" and isinstance(value, str) else with_current_targets(value)
            for key, value in config.items()
        }
    return [with_current_targets(each) for each in config] if isinstance(config, list) else config
