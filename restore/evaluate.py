"""``restore evaluate``: published protocols on named benchmark folders."""

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from omegaconf import DictConfig, OmegaConf

from restore.config.build import arguments, build
from restore.config.command import command
from restore.config.errors import UserError
from restore.config.inference_settings import inference_settings
from restore.distributed.process_pool import showing, spread
from restore.distributed.signals import stopping
from restore.evaluation.scorer import Job, Scorer
from restore.io import tables
from restore.io.files import refuse_unwritable
from restore.runs import results
from restore.runs.folder import git_state
from restore.runs.results import Row

if TYPE_CHECKING:
    from restore.data.translation_source import Source
    from restore.inference.restorer import Restorer
    from restore.metrics.perceptual import Perceptual

log = logging.getLogger(__name__)


def evaluate(cfg: DictConfig) -> None:
    """Score every picture of every benchmark and write the tables."""
    from restore.evaluation.benchmark_sets import open_benchmarks
    from restore.inference.load import open_restorer
    from restore.metrics.protocols import protocol
    from restore.models import loading

    settings = inference_settings(cfg)
    restorer = open_restorer(cfg.ckpt_path, **settings)
    name = restorer.protocol if cfg.protocol == "auto" else cfg.protocol
    columns = protocol(name).columns
    folder = Path(cfg.output or f"outputs/evaluate/{restorer.name}_x{restorer.scale:g}")
    if folder.is_file():
        raise UserError(f"output: {folder} is a file, expected a folder")
    roots = _folders(cfg.benchmarks)
    if restorer.scale != int(restorer.scale):
        raise UserError(f"scale is {restorer.scale:g}, expected a whole number: protocols know no other")
    perceptual = _open_perceptual(cfg, name)
    sets, fingerprint = open_benchmarks(roots, restorer, name, lambda: _source(cfg.data, restorer))
    restorers = {restorer: Scorer(cfg.ckpt_path, settings, sets, name)}
    baseline = _natural_baseline(restorer, name) if cfg.baseline == "auto" else cfg.baseline
    if baseline is not None and baseline != cfg.ckpt_path:
        others = settings | {"scale": restorer.scale}
        other = open_restorer(baseline, **others)
        restorers[other] = Scorer(baseline, others, sets, name)
        if other.name == restorer.name:
            raise UserError(f"baseline and ckpt_path are both called {restorer.name} in the table; rename one file")
    refuse_unwritable(folder)
    _tell_of_replacing(folder, cfg.ckpt_path, name)
    images = folder / "images" if cfg.save_images or perceptual else None
    partial = results.Partial(folder / "partial.json", _dependencies(cfg, fingerprint))
    with stopping() as signalled:
        rows = {each.name: _score(cfg, each, scorer, images, partial, signalled) for each, scorer in restorers.items()}
    if images is not None and cfg.save_images:
        _draw_sheets(images, [each.name for each in reversed(restorers)], sets, folder / "sheets")
    means: results.Means = {who: results.means(scored, columns) for who, scored in rows.items()}
    if perceptual is not None:
        _add_perceptual(means, perceptual, sets, images)
    table = results.table(means, int(restorer.scale), name)
    facts = {
        "ckpt_path": cfg.ckpt_path,
        "sha256": loading.sha256(cfg.ckpt_path),
        "scale": restorer.scale,
        "protocol": name,
        "self_ensemble": restorer.ensemble,
        "tile": str(cfg.tile),
        "data": fingerprint,
        "means": means,
        "not_available": {} if perceptual is None else perceptual.missing(),
        "notes": {f"{row['benchmark']}/{row['image']}": row["notes"] for row in rows[restorer.name] if row["notes"]},
        "git": git_state(),
    }
    results.write(folder, rows[restorer.name], columns, facts, results.markdown(table))
    partial.forget()
    tables.put(table, results.markdown(table))
    log.info("per image: %s", folder / "results.csv")


def _tell_of_replacing(folder: Path, ckpt_path: str, name: str) -> None:
    """One line, where results of other weights or another protocol stand."""
    from restore.models import loading

    there = results.earlier(folder)
    if there is None:
        return
    now = {"sha256": loading.sha256(ckpt_path), "protocol": name}
    if {key: there.get(key) for key in now} != now or (now["sha256"] is None and there.get("ckpt_path") != ckpt_path):
        of = f"of {there.get('ckpt_path')} by {there.get('protocol')}" if there else "that are damaged"
        log.info("%s: results %s will be replaced", folder, of)


def _folders(given: Any) -> list[str]:
    found = [given] if isinstance(given, str) else given
    if not found or not (isinstance(found, list) or OmegaConf.is_list(found)):
        shown = "empty" if isinstance(found, list) or OmegaConf.is_list(found) else found
        raise UserError(f"benchmarks is {shown}, expected folders, for example benchmarks=[data/Set5,data/Set14]")
    return list(found)


def _source(data: DictConfig, restorer: "Restorer") -> "Source":
    from restore.data.translation_source import Source

    if not str(data.get("_target_")).endswith(".TranslationData"):
        raise UserError(
            "data says how translation benchmarks are read, expected data=translation_folder or one like it"
        )
    settings = arguments(data, "data", without=["root", "degradations"])
    if restorer.labels is not None:
        settings |= _labels_as_trained(settings, restorer.labels.settings())
    network = {"in_channels": restorer.in_channels, "input_kind": restorer.input_kind}
    return Source.of(settings | network | {"degradations": build(data.degradations, "data.degradations")})


def _labels_as_trained(given: Row, trained: Row) -> Row:
    """How label maps are read, from the checkpoint; other settings are refused, but for the two about smeared colours.

    Raises:
        UserError: others are given.
    """
    from restore.data.translation import TranslationData

    defaults = {key: each.default for key, each in inspect.signature(TranslationData).parameters.items()}
    chosen = {
        key: value for key, value in given.items() if key in trained and value not in (defaults[key], trained[key])
    }
    for key, value in chosen.items():
        if key not in ("snap_distance", "snap_share"):
            raise UserError(f"data.{key} is {value}, but was {trained[key]} in training; leave it out")
    return {**trained, **chosen}


def _natural_baseline(restorer: "Restorer", protocol_name: str) -> str | None:
    """What is scored beside; a translation's input is another kind of picture than its output, and no baseline."""
    if protocol_name.startswith("translation_"):
        return None
    return "identity" if restorer.scale == 1 else "bicubic"


def _open_perceptual(cfg: DictConfig, protocol_name: str) -> "Perceptual | None":
    """The scores that need weights; None where the protocol has none."""
    given = [key for key in ("lpips_weights", "inception_weights") if cfg[key] is not None]
    if not protocol_name.startswith("translation_"):
        if given:
            raise UserError(f"{given[0]} is set, but protocol={protocol_name} has no score that needs it; leave it out")
        return None
    from restore.inference.restorer import pick_device
    from restore.metrics import perceptual

    lpips = perceptual.open_lpips(cfg.lpips_weights) if cfg.lpips_weights is not None else None
    inception = perceptual.open_inception(cfg.inception_weights) if cfg.inception_weights is not None else None
    return perceptual.Perceptual(lpips, inception, pick_device(cfg.device))


def _add_perceptual(means: results.Means, perceptual: "Perceptual", sets: dict[str, Any], images: Path | None) -> None:
    """Score the pictures that were kept, and say so where there is nothing to score with."""
    from restore.image import reading
    from restore.image.picture import Picture
    from restore.metrics.perceptual import COLUMNS

    def pairs(who: str, benchmark: str) -> Iterator[tuple[Any, Any]]:
        assert images is not None
        for k in range(len(sets[benchmark])):
            sample = sets[benchmark][k]
            file = images / who / benchmark / f"{sample['name']}.png"
            yield reading.read_rgb8(file), Picture.of(sample["gt"]).pixels

    for who, benchmarks in means.items():
        for benchmark, scores in benchmarks.items():
            scores.update(perceptual.score(pairs(who, benchmark)) if perceptual else dict.fromkeys(COLUMNS))


def _dependencies(cfg: DictConfig, fingerprint: dict[str, str]) -> Row:
    """What a picture's score depends on."""
    from restore.models.loading import sha256

    given: Any = OmegaConf.to_container(cfg, resolve=True)
    free = ("benchmarks", "output", "devices", "save_images", "lpips_weights", "inception_weights")
    settings = {key: value for key, value in given.items() if key not in free}
    files = (cfg.ckpt_path, cfg.baseline or "", str(cfg.zero_shot.model.kernel))
    return settings | {"data": fingerprint, "sha256": [sha256(file) for file in files]}


def _score(
    cfg: DictConfig,
    restorer: "Restorer",
    scorer: Scorer,
    images: Path | None,
    partial: results.Partial,
    signalled: Callable[[], int],
) -> list[Row]:
    jobs = []
    for benchmark, dataset in scorer.sets.items():
        for k, pair in enumerate(dataset.pairs):
            key = f"{restorer.name}/{benchmark}/{pair.name}"
            jobs.append(Job(key, benchmark, k, None if images is None else images / f"{key}.png"))
    waiting = [job for job in jobs if job.key not in partial.rows or (job.file and not job.file.exists())]
    with showing(restorer.name, len(waiting)) as (show, advance):
        for job, row in spread(
            waiting,
            scorer.start,
            processes=cfg.devices,
            threads=cfg.threads,
            cancel=lambda: bool(signalled()),
            show=show,
        ):
            if row is not None:
                partial.add(job.key, row)
            advance()
    if signalled():
        _stop(signalled(), partial)
    return [partial.rows[job.key] for job in jobs]


def _stop(signal: int, partial: results.Partial) -> NoReturn:
    log.warning("interrupted after %d pictures; the same command goes on from there", len(partial.rows))
    raise SystemExit(128 + signal)


def _draw_sheets(images: Path, names: Sequence[str], sets: dict[str, Any], folder: Path) -> None:
    """For each picture a strip of the part where the first restorer is worst: all restorers, then the reference."""
    from restore.image import reading, writing
    from restore.image.montage import draw_sheet
    from restore.image.picture import Picture

    for benchmark, dataset in sets.items():
        for k in range(len(dataset)):
            sample = dataset[k]
            file = f"{sample['name']}.png"
            restored = [reading.read(images / name / benchmark / file).rgb() for name in names]
            sheet = draw_sheet([*restored, sample["gt"].expand(3, -1, -1)])
            writing.write(folder / benchmark / file, Picture.of(sheet))


main = command(evaluate, "evaluate")

if __name__ == "__main__":
    main()
