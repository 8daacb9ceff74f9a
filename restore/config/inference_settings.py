"""The settings that ``evaluate``, ``predict`` and ``serve`` have in common, made into what ``open_restorer`` takes."""

from typing import Any

from omegaconf import DictConfig

from restore.config.build import arguments


def inference_settings(cfg: DictConfig) -> dict[str, Any]:
    """What ``evaluate`` and ``predict`` hand to ``open_restorer``."""
    from restore.inference import Adaptation, Inference

    for name, least in {"devices": 1, "threads": 1}.items():
        if cfg[name] is not None and cfg[name] < least:
            raise ValueError(f"{name} is {cfg[name]}, expected at least {least}")
    if cfg.zero_shot.data.image is not None or not cfg.zero_shot.model.scale == cfg.zero_shot.data.scale == cfg.scale:
        raise ValueError(
            "zero_shot.data.image, zero_shot.data.scale or zero_shot.model.scale is set, expected none of them: the "
            "picture comes from input or benchmarks; set scale instead"
        )
    model = arguments(cfg.zero_shot.model, "zero_shot.model", without=["scale"])
    data = arguments(cfg.zero_shot.data, "zero_shot.data", without=["image", "scale"])
    adaptation = Adaptation(
        max_steps=cfg.zero_shot.max_steps, max_seconds=cfg.max_seconds, seed=cfg.seed, model=model, data=data
    )
    inference = Inference(**{name: cfg[name] for name in Inference.names()})
    return {"scale": cfg.scale, "inference": inference, "adaptation": adaptation}
