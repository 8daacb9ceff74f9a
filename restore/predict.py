"""``restore predict``: restores a file, a folder or a glob."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from restore.config.command import command
from restore.config.errors import UserError
from restore.config.inference import inference_settings
from restore.distributed.signals import stopping
from restore.inference import checkpoint_names, output_paths
from restore.io.errors import SettingError
from restore.io.files import refuse_unwritable
from restore.io.progress import doing

log = logging.getLogger(__name__)

FELL_BACK = 3  # exit status: all files were written, some as bicubic because the method's result was not better


def predict(cfg: DictConfig) -> None:
    """Restore every image; bad files are reported, and the others are processed."""
    settings = inference_settings(cfg)
    _refuse_before_torch(cfg)

    with doing("loading PyTorch and the weights"):
        from restore.inference.batch import FileRestorer, Record, restore_files
        from restore.inference.load import open_restorer

        # opened before any process starts, so that bad settings are reported once
        restorer = open_restorer(cfg.ckpt_path, **settings)
    if cfg.metadata == "keep" and restorer.makes_new_image:
        expected = f"strip, because {restorer.name} makes a new image, which takes over no metadata"
        raise SettingError("metadata", "keep", expected, "leave it out")
    tasks = output_paths.plan(cfg.input, cfg.output, restorer.scale, format_=cfg.format)
    _refuse_quality(cfg, [target for _, target in tasks])
    for folder in {target.parent for _, target in tasks}:
        refuse_unwritable(folder, [target.name for _, target in tasks if target.parent == folder])
    many = Path(cfg.input).is_dir() or len(tasks) > 1
    with stopping() as signalled:
        results = restore_files(
            tasks,
            FileRestorer(cfg.ckpt_path, settings, cfg.metadata, cfg.quality),
            restorer,
            Record(_dependencies(cfg)) if many else None,
            processes=cfg.devices,
            threads=cfg.threads,
            stopped=lambda: bool(signalled()),
        )
    others = output_paths.passed_over(cfg.input)
    if others:
        log.warning("skipped (unsupported format): %s; convert them to PNG", others)
    if signalled():
        log.warning("interrupted; finished files are kept")
        raise SystemExit(128 + signalled())
    if results.failed:
        listed = "\n  ".join(results.failed)
        raise UserError(f"input: {len(results.failed)} of {len(tasks)} images could not be restored:\n  {listed}")
    if results.fell_back:
        raise SystemExit(FELL_BACK)


def _refuse_before_torch(cfg: DictConfig) -> None:
    """Make the checks that need only settings and file names."""
    checkpoint_names.refuse_unknown(cfg.ckpt_path, cfg.scale)
    if cfg.ckpt_path == checkpoint_names.AUTO:
        _refuse_zero_shot_settings(checkpoint_names.auto_weights(cfg.scale))
    output_paths.refuse_no_input(cfg.input)
    if cfg.metadata not in ("strip", "keep"):
        raise SettingError("metadata", cfg.metadata, "strip or keep")
    if cfg.quality is not None and not 1 <= cfg.quality <= 100:
        raise SettingError("quality", cfg.quality, "1 to 100, or null")


def _refuse_zero_shot_settings(weights: Sequence[str]) -> None:
    """Refuse zero_shot settings on the command line if trained weights are used instead."""
    for override in HydraConfig.get().overrides.task if weights else ():
        key, _, value = override.lstrip("+").partition("=")
        if key == "max_seconds" or key.startswith("zero_shot."):
            expected = f"nothing, because ckpt_path=auto takes {weights[0]} for this scale"
            raise SettingError(key, value, expected, "set ckpt_path=zero_shot")


def _refuse_quality(cfg: DictConfig, targets: Sequence[Path]) -> None:
    if cfg.quality is None:
        return
    exact = next(
        (target for target in targets if target.suffix.lower() not in (".jpg", ".jpeg", ".webp", ".avif", ".heic")),
        None,
    )
    if exact is not None:
        raise SettingError(
            "quality",
            cfg.quality,
            f"null, because {exact.name} has no quality",
            "write .jpg, .webp, .avif or .heic, or leave it out",
        )


def _dependencies(cfg: DictConfig) -> dict[str, Any]:
    """Everything that a result depends on except its input file."""
    from restore.checkpoints.reader import sha256

    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    free = ("input", "output", "device", "devices")
    weights = checkpoint_names.auto_weights(cfg.scale) if cfg.ckpt_path == checkpoint_names.AUTO else []
    return {
        **{key: value for key, value in settings.items() if key not in free},
        "ckpt_path": [sha256(each) for each in weights] or sha256(cfg.ckpt_path) or cfg.ckpt_path,
        # hashes, because files may change under the same names
        "kernel": sha256(str(cfg.zero_shot.model.kernel)),
        "start": sha256(checkpoint_names.start_weights(cfg.zero_shot.start, cfg.scale, cfg.zero_shot.model) or ""),
    }


main = command(predict, "predict", plain_word="input")

if __name__ == "__main__":
    main()
