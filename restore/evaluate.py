"""``restore evaluate``: scores a restorer by published protocols on benchmark folders."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from restore.config.command import command
from restore.config.inference import inference_settings
from restore.data.setting_bounds import refuse_missing_folder
from restore.distributed.signals import stopping
from restore.inference import checkpoint_names
from restore.io.errors import SettingError
from restore.io.files import refuse_unwritable
from restore.io.progress import doing
from restore.io.wording import counted
from restore.runs import results

if TYPE_CHECKING:
    from restore.inference.restorer import Restorer
    from restore.metrics.protocols import Protocol

log = logging.getLogger(__name__)


def evaluate(cfg: DictConfig) -> None:
    """Score every image of every benchmark, and write the tables."""
    _refuse_choice_of_images()
    settings, roots = inference_settings(cfg), _roots(cfg.benchmarks)
    checkpoint_names.refuse_unknown(cfg.ckpt_path, cfg.scale)  # both checks before torch is imported
    if cfg.baseline not in (None, "auto", *checkpoint_names.ENLARGERS):  # ENLARGERS take the scale of ckpt_path
        checkpoint_names.refuse_unknown(cfg.baseline, cfg.scale, setting="baseline")
    with doing("loading PyTorch and the weights"):
        from restore.evaluation import saved_images, score_sets
        from restore.evaluation.benchmark_sets import open_benchmarks
        from restore.evaluation.translation_pairs import source_of, warn_of_other_inputs
        from restore.inference.load import open_restorer
        from restore.metrics import protocols

        restorer = open_restorer(cfg.ckpt_path, **settings)
    protocol = protocols.protocol(restorer.protocol if cfg.protocol == "auto" else cfg.protocol)
    if protocol.family == "translation":
        warn_of_other_inputs(cfg.data, cfg.ckpt_path)
    folder = Path(cfg.output or f"outputs/evaluate/{restorer.name}_x{restorer.scale:g}")
    if folder.is_file():
        raise SettingError("output", folder, "a folder, but it is a file")
    weights = (cfg.lpips_weights, cfg.inception_weights)
    perceptual = saved_images.open_perceptual(*weights, device=cfg.device, protocol=protocol)
    with doing("reading and checking the images"):
        sets, fingerprints = open_benchmarks(roots, restorer.scale, protocol, lambda: source_of(cfg.data, restorer))
    baseline = protocol.baseline if cfg.baseline == "auto" else cfg.baseline
    scorers = score_sets.open_scorers(
        restorer, cfg.ckpt_path, settings, baseline=baseline, sets=sets, protocol=protocol.name
    )
    refuse_unwritable(folder)
    facts = _facts(cfg, restorer, protocol, fingerprints)
    score_sets.log_replaced(folder, facts)
    images = folder / "images" if cfg.save_images or perceptual else None
    partial = results.Partial(folder / "partial.json", _dependencies(cfg, facts))
    with stopping() as signalled:
        rows = score_sets.score_all(
            scorers,
            partial,
            images=images,
            processes=cfg.devices,
            threads=cfg.threads,
            stopped=lambda: bool(signalled()),
        )
    if rows is None:
        log.warning("interrupted after %s; the same command continues from there", counted(len(partial.rows), "image"))
        raise SystemExit(128 + signalled())
    if images is not None and cfg.save_images:
        saved_images.draw_sheets(images, [each.name for each, _ in reversed(scorers)], sets, folder / "sheets")
    means: results.Means = {who: results.means(scored, protocol.columns) for who, scored in rows.items()}
    if perceptual is not None:
        saved_images.add_perceptual(means, perceptual, sets, images)
        facts["not_available"] = perceptual.missing()
    score_sets.write_results(folder, rows, means, protocol, facts)
    partial.forget()


def _refuse_choice_of_images() -> None:
    """Refuse settings of ``data`` on the command line that choose images, because ``benchmarks`` chooses them."""
    for override in HydraConfig.get().overrides.task:
        key, _, value = override.lstrip("+").partition("=")
        if key in ("data.root", "data.validation", "data.benchmarks", "data.val_limit"):
            expected = "nothing, because evaluate scores the images of benchmarks; data only says how they are read"
            folders = value if value.startswith("[") else f"[{value}]"
            is_folder = key in ("data.root", "data.benchmarks")
            raise SettingError(key, value, expected, f"set benchmarks={folders}" if is_folder else "leave it out")


def _roots(given: Any) -> list[str]:
    roots = [given] if isinstance(given, str) else given
    is_list = isinstance(roots, list) or OmegaConf.is_list(roots)
    if not is_list or not roots:
        shown = "empty" if is_list else roots
        raise SettingError("benchmarks", shown, "folders, for example benchmarks=[data/Set5,data/Set14]")
    for root in roots:
        refuse_missing_folder(root, "benchmarks")
    return list(roots)


def _facts(cfg: DictConfig, restorer: "Restorer", protocol: "Protocol", fingerprints: dict[str, str]) -> results.Row:
    """The entries of ``results.json`` before there are scores."""
    from restore.checkpoints.reader import sha256

    return {
        "ckpt_path": cfg.ckpt_path,
        "sha256": sha256(cfg.ckpt_path),
        "scale": restorer.scale,
        "protocol": protocol.name,
        "self_ensemble": restorer.ensemble,
        "tile": str(cfg.tile),
        "data": fingerprints,
        "not_available": {},
    }


def _dependencies(cfg: DictConfig, facts: results.Row) -> results.Row:
    """Everything that an image's score depends on."""
    from restore.checkpoints.reader import sha256

    given: Any = OmegaConf.to_container(cfg, resolve=True)
    free = ("benchmarks", "output", "devices", "save_images", "lpips_weights", "inception_weights")
    settings = {key: value for key, value in given.items() if key not in free}
    start = checkpoint_names.start_weights(cfg.zero_shot.start, cfg.scale, cfg.zero_shot.model)
    files = (cfg.baseline or "", str(cfg.zero_shot.model.kernel), start or "")
    return settings | {"data": facts["data"], "sha256": [facts["sha256"], *map(sha256, files)]}


main = command(evaluate, "evaluate")

if __name__ == "__main__":
    main()
