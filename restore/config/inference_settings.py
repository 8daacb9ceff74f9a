"""The settings that ``evaluate``, ``predict`` and ``serve`` have in common, made into what ``open_restorer`` takes."""

from typing import Any

from omegaconf import DictConfig

from restore.config.build import arguments

# what zero-shot is made of here; its settings can be changed, not what they are settings of
ZERO_SHOT = {
    "model": "restore.models.zero_shot.model.ZeroShotSuperResolution",
    "data": "restore.data.single_image.SingleImageData",
}


def inference_settings(cfg: DictConfig) -> dict[str, Any]:
    """The arguments of ``open_restorer`` beside ``ckpt_path``.

    Raises:
        ValueError: a value outside its range, or one that says again, under ``zero_shot``, what stands above it.
    """
    from restore.config.inference import Adaptation, Inference

    for name, least in {"devices": 1, "threads": 1}.items():
        if cfg[name] is not None and cfg[name] < least:
            raise ValueError(f"{name} is {cfg[name]}, expected at least {least}")
    if cfg.zero_shot.data.image is not None or not cfg.zero_shot.model.scale == cfg.zero_shot.data.scale == cfg.scale:
        raise ValueError(
            "zero_shot.data.image, zero_shot.data.scale or zero_shot.model.scale is set, expected none of them: the "
            "picture comes from input or benchmarks; set scale instead"
        )
    for part, expected in ZERO_SHOT.items():
        given = cfg.zero_shot[part]["_target_"]
        if given != expected:
            raise ValueError(f"zero_shot.{part} is {given}, expected {expected}; leave {part}@zero_shot.{part} out")
    model = arguments(cfg.zero_shot.model, "zero_shot.model", without=["scale"])
    data = arguments(cfg.zero_shot.data, "zero_shot.data", without=["image", "scale"])
    adaptation = Adaptation(
        max_steps=cfg.zero_shot.max_steps, max_seconds=cfg.max_seconds, seed=cfg.seed, model=model, data=data
    )
    inference = Inference(**{name: cfg[name] for name in Inference.names()})
    return {"scale": cfg.scale, "inference": inference, "adaptation": adaptation}
