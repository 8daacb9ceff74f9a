"""``restore evaluate``: published protocols on named benchmark folders."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from omegaconf import DictConfig, OmegaConf

from restore import results
from restore.config import UserError, command, inference_settings
from restore.results import Row
from restore.run_folder import git_state
from restore.signals import stopping

if TYPE_CHECKING:
    from restore.data.pairs import Pair
    from restore.restorers import Restorer

log = logging.getLogger(__name__)

Benchmark = tuple[str, list["Pair"], tuple[int, str]]  # name, pairs, the least side and what asks for it


def evaluate(cfg: DictConfig) -> None:
    """Score every picture of every benchmark and write the tables."""
    from rich.console import Console
    from rich.markdown import Markdown

    from restore import checkpoint
    from restore.metrics import protocol
    from restore.opening import open_restorer

    settings = inference_settings(cfg)
    restorer = open_restorer(cfg.ckpt_path, **settings)
    name = restorer.protocol if cfg.protocol == "auto" else cfg.protocol
    columns = protocol(name).columns
    folder = Path(cfg.output or f"outputs/evaluate/{restorer.name}_x{restorer.scale:g}")
    if folder.is_file():
        raise UserError(f"output: {folder} is a file, expected a folder")
    roots = [cfg.benchmarks] if isinstance(cfg.benchmarks, str) else cfg.benchmarks
    if restorer.scale != int(restorer.scale):
        raise UserError(f"scale is {restorer.scale:g}, expected a whole number: protocols know no other")
    sets, fingerprint = _open_benchmarks(roots, int(restorer.scale), name)
    restorers = [restorer]
    natural = "identity" if restorer.scale == 1 else "bicubic"
    baseline = natural if cfg.baseline == "auto" else cfg.baseline
    if baseline is not None and baseline != cfg.ckpt_path:
        restorers.append(open_restorer(baseline, **settings | {"scale": restorer.scale}))
        if restorers[1].name == restorer.name:
            raise UserError(f"baseline and ckpt_path are both called {restorer.name} in the table; rename one file")
    images = folder / "images" if cfg.save_images else None
    partial = results.Partial(folder / "partial.json", _dependencies(cfg, fingerprint))
    with stopping() as signalled:
        rows = {each.name: _score(each, sets, name, cfg.num_workers, images, partial, signalled) for each in restorers}
    if images is not None:
        _draw_sheets(images, [each.name for each in reversed(restorers)], sets, folder / "sheets")
    means = {who: results.means(scored, columns) for who, scored in rows.items()}
    table = results.markdown(means, columns, int(restorer.scale), name)
    facts = {
        "ckpt_path": cfg.ckpt_path,
        "sha256": checkpoint.sha256(cfg.ckpt_path),
        "scale": restorer.scale,
        "protocol": name,
        "self_ensemble": restorer.ensemble,
        "tile": str(cfg.tile),
        "data": fingerprint,
        "means": means,
        "notes": {f"{row['benchmark']}/{row['image']}": row["notes"] for row in rows[restorer.name] if row["notes"]},
        "git": git_state(),
    }
    results.write(folder, rows[restorer.name], columns, facts, table)
    partial.forget()
    Console().print(Markdown(table))
    log.info("per image: %s", folder / "results.csv")


def _open_benchmarks(roots: Any, scale: int, protocol_name: str) -> tuple[dict[str, Any], dict[str, str]]:
    from restore.data.checks import check_pairs
    from restore.data.paired_images import WholeImages

    is_list = OmegaConf.is_list(roots) or isinstance(roots, list)
    if not is_list or not roots:
        shown = "empty" if is_list else roots
        raise UserError(f"benchmarks is {shown}, expected folders, for example benchmarks=[data/Set5,data/Set14]")
    sets, fingerprint = {}, {}
    find = _find_blurred if protocol_name.startswith("deblur_") else _find_small
    for root in roots:
        name, pairs, (least, reason) = find(root, scale)
        if name in sets:
            raise UserError(f"benchmarks names two folders called {name}; rename one, the name stands in the tables")
        checked = check_pairs(pairs, scale, smallest_gt=least, reason=reason, setting="benchmarks")
        fingerprint[name] = checked.fingerprint
        sets[name] = WholeImages(pairs, scale=scale)
    return sets, fingerprint


def _find_small(root: str, scale: int) -> Benchmark:
    from restore.data.pairs import find_pairs, set_name

    least = 2 * scale + 11, "crop_border leaves less than SSIM's window of a smaller one"
    return set_name(root), find_pairs(root, scale, setting="benchmarks"), least


def _find_blurred(root: str, scale: int) -> Benchmark:
    from restore.data.deblur import DeblurData
    from restore.data.sequences import find_sequences, set_name, split_folder

    if scale != 1:
        raise UserError(f"protocol is one of deblurring, but the scale is {scale}, expected 1; set protocol=sr_y")
    folder = split_folder(root, ("test",))
    return set_name(str(folder)), find_sequences(folder, setting="benchmarks"), DeblurData.smallest_whole


def _dependencies(cfg: DictConfig, fingerprint: dict[str, str]) -> Row:
    """What a picture's score depends on."""
    from restore.checkpoint import sha256

    given: Any = OmegaConf.to_container(cfg, resolve=True)
    free = ("benchmarks", "output", "num_workers", "save_images")
    settings = {key: value for key, value in given.items() if key not in free}
    files = (cfg.ckpt_path, cfg.baseline or "", str(cfg.zero_shot.model.kernel))
    return settings | {"data": fingerprint, "sha256": [sha256(file) for file in files]}


def _score(
    restorer: "Restorer",
    sets: dict[str, Any],
    protocol_name: str,
    num_workers: int,
    images: Path | None,
    partial: results.Partial,
    signalled: Callable[[], int],
) -> list[Row]:
    from rich.progress import track
    from torch.utils.data import DataLoader

    from restore import image
    from restore.data.sampling import one_thread
    from restore.metrics import protocol
    from restore.restorers import Interrupted

    score, rows = protocol(protocol_name).score, []
    for benchmark, dataset in sets.items():
        loader = DataLoader(dataset, batch_size=None, num_workers=num_workers, worker_init_fn=one_thread)
        for sample in track(loader, f"{restorer.name} on {benchmark}", total=len(dataset), transient=True):
            key = f"{restorer.name}/{benchmark}/{sample['name']}"
            file = None if images is None else images / f"{key}.png"
            if key not in partial.rows or (file is not None and not file.exists()):
                started = time.perf_counter()
                try:
                    pred = restorer.restore(sample["lq"], cancel=lambda: bool(signalled()))
                except Interrupted:
                    _stop(signalled(), partial)
                except ValueError as error:
                    raise ValueError(f"{benchmark}/{sample['name']}: {error}") from error
                seconds = time.perf_counter() - started
                if signalled():  # zero-shot gives the best so far, which is no score
                    _stop(signalled(), partial)
                row = {"benchmark": benchmark, "image": sample["name"], "scale": int(restorer.scale)}
                row |= {"protocol": protocol_name, "seconds": seconds, "notes": dict(restorer.notes)}
                if file is not None:
                    image.write(file, image.picture(pred))
                partial.add(key, row | score(pred, sample["gt"], scale=int(restorer.scale)))
            rows.append(partial.rows[key])
    return rows


def _stop(signal: int, partial: results.Partial) -> NoReturn:
    log.warning("interrupted after %d pictures; the same command goes on from there", len(partial.rows))
    raise SystemExit(128 + signal)


def _draw_sheets(images: Path, names: Sequence[str], sets: dict[str, Any], folder: Path) -> None:
    """For each picture a strip of the part where the first restorer is worst: all restorers, then the reference."""
    from restore import image
    from restore.drawing import draw_sheet

    for benchmark, dataset in sets.items():
        for k in range(len(dataset)):
            sample = dataset[k]
            file = f"{sample['name']}.png"
            restored = [image.read(images / name / benchmark / file).rgb() for name in names]
            sheet = draw_sheet([*restored, sample["gt"].expand(3, -1, -1)])
            image.write(folder / benchmark / file, image.picture(sheet))


main = command(evaluate, "evaluate")

if __name__ == "__main__":
    main()
