"""The work of a job in its own process: it restores an image file as ``restore predict`` does.

Cheap to import, because the server refers to these functions without running them; heavy libraries are imported where
they are used.
"""

import dataclasses
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.config.inference import SCRATCH_STEPS, inference_settings
from restore.distributed.process_pool import assign_resources
from restore.io.errors import SettingError
from restore.web.image_warnings import CollectedWarnings
from restore.web.isolated_process import ReportProgress, TaskError
from restore.web.limits import Refused
from restore.web.process_limits import TooSlow, limited_memory, limited_time
from restore.web.request import Job, refuse_large_output
from restore.web.uploads import TOO_LONG, check_side

if TYPE_CHECKING:
    from restore.image.decoded_image import DecodedImage

RESULT, BEFORE = "result.png", "before.png"  # file names in a job's folder
READ_SECONDS, PIXELS_A_SECOND = 4, 4_000_000  # time limit for decoding: a constant, plus 1 s per so many pixels allowed
READ_BYTES, PIXEL_BYTES = 400_000_000, 24  # address space for decoding: bytes, plus bytes per pixel allowed
PROGRAM, RESULT_BYTES = 3_000_000_000, 100  # bytes beside memory_gb: for threads and libraries; per pixel of a result
_TOO_MUCH = "restoring the image takes more memory than this server allows; shrink it"


def menu(report: ReportProgress, cfg: Any) -> dict[str, Any]:
    """Open everything that will be served once, and describe it.

    Args:
        cfg: root of ``restore serve``; ``ckpt_path`` may be a list, and a folder stands for the checkpoints in it.

    Raises:
        SettingError, ValueError, FileNotFoundError: a method cannot be opened, or two have the same name.

    Returns:
        ``menu``, and ``passed_over``: the reason for each file in a folder that holds no weights known to us.
    """
    entries: dict[str, dict[str, Any]] = {}
    passed_over: list[ValueError] = []
    for named, path in named_checkpoints(cfg.ckpt_path):
        try:
            entry = _entry(path, cfg)
        except ValueError as error:
            if path == named or _card(path) is not None:
                raise
            passed_over.append(error)
            continue
        if entry["name"] in entries:
            other = entries[entry["name"]]["ckpt_path"]
            raise SettingError(
                "ckpt_path",
                f"{other} and {path}",
                f"checkpoints with different names, but both are called {entry['name']}",
                "rename one",
            )
        entries[entry["name"]] = entry
    if not entries:
        raise passed_over[0]
    return {"menu": list(entries.values()), "passed_over": [str(error) for error in passed_over]}


def named_checkpoints(ckpt_path: Any) -> list[tuple[str, str]]:
    """Names and paths in ``ckpt_path``, each paired with every checkpoint that it stands for.

    Args:
        ckpt_path: one name, file or folder, or a list of them.

    Raises:
        SettingError: the setting is empty. FileNotFoundError: a folder contains no checkpoint.
    """
    given = [ckpt_path] if isinstance(ckpt_path, str) else list(ckpt_path or [])
    if not given:
        raise SettingError("ckpt_path", "empty", "a checkpoint, a folder of them, or a name such as zero_shot")
    return [(str(each), path) for each in given for path in _checkpoints(str(each))]


def _checkpoints(given: str) -> list[str]:
    """The checkpoints that a name, file or folder stands for; of a run folder, the best one."""
    folder = Path(given)
    if not folder.is_dir():
        return [given]
    found = [path for suffix in ("*.ckpt", "*.safetensors") for path in folder.glob(suffix)]
    found = sorted(found or folder.rglob("checkpoints/best.ckpt"))
    if not found:
        raise FileNotFoundError(f"ckpt_path: {given} holds no .ckpt or .safetensors file, and no run with a best.ckpt")
    return [str(path) for path in found]


def _card(path: str) -> dict[str, Any] | None:
    """The card of a checkpoint; None for sound weights of another project."""
    from restore.checkpoints import reader
    from restore.checkpoints.model_card import NotOurs

    try:
        return dict(reader.read(path)["restore"])
    except NotOurs:
        return None


def _entry(path: str, cfg: Any) -> dict[str, Any]:
    from restore.checkpoints import reader
    from restore.checkpoints.locate import locate
    from restore.inference.checkpoint_names import needs_scale, restorer_name
    from restore.inference.load import open_restorer
    from restore.web.purpose import purpose

    settings = inference_settings(cfg)
    restorer = open_restorer(path, **settings | ({} if needs_scale(path) else {"scale": None}))
    card = _card(path) if locate(path).is_file() else None
    entry = {
        "name": restorer_name(path),
        "ckpt_path": path,
        "scale": float(restorer.scale),
        "any_scale": needs_scale(path),
        "input_kind": restorer.input_kind,
        "makes_new_image": restorer.makes_new_image,
        "protocol": restorer.protocol,
        "sha256": reader.sha256(path),
        "card": _plain(card or {}),
    }
    entry |= {"max_steps": cfg.zero_shot.max_steps or SCRATCH_STEPS} if restorer.trains_on_image else {}
    return entry | {"purpose": purpose(entry)}


def _plain(value: Any) -> Any:
    """The value as JSON can hold it; anything else in a card, such as a tensor, as text."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def restore(report: ReportProgress, cfg: Any, job: Job, source: Path, slot: int) -> dict[str, Any]:
    """Restore one upload: writes ``result.png`` and, if requested, ``before.png`` of the same size.

    Args:
        source: the upload, with the suffix of its format. slot: number of the process, from 0.

    Returns:
        ``notes`` of the restorer; ``outcome``: ``restored``, or ``fallback`` if the result is bicubic because the
        method's own was not better or there was no time for it; ``size`` (height, width) of the result; ``part``: None
        or [top, left, height, width].

    Raises:
        TaskError: the image is damaged or too large. ValueError: raised by the restorer.
    """
    assign_resources(slot, cfg.threads or _share(cfg.devices))
    with CollectedWarnings() as doubts:
        image = _read(source, job)
    with _limited(cfg.memory_gb, job):
        return _restored(report, cfg, job, source, image, doubts)


def _restored(
    report: ReportProgress, cfg: Any, job: Job, source: Path, image: "DecodedImage", doubts: list[str]
) -> dict[str, Any]:
    from restore.image import writing
    from restore.image.decoded_image import DecodedImage
    from restore.image.transparency import carry_colours
    from restore.inference.load import open_restorer
    from restore.inference.restorer import restore_image
    from restore.ops.resize import resize

    part = None
    settings = inference_settings(cfg)
    zero_shot = job.training(settings["zero_shot"])
    restorer = open_restorer(job.ckpt_path, scale=job.scale, inference=settings["inference"], zero_shot=zero_shot)
    given = image if restorer.input_kind == "rgb" else restorer.read(source)  # the pixels of a label map are classes
    if job.part_side is not None:
        restorer.source = carry_colours(given.pixels, given.alpha)
        (image, part), (given, _) = (_random_part(each, job.part_side, job.seed) for each in (image, given))
    restored = restore_image(restorer, given, progress=lambda done, total: report(restorer.phase, done, total))
    with CollectedWarnings() as lost:
        writing.write(source.with_name(RESULT), restored)
    if job.compare:
        enlarged = image.rgb() if restorer.scale == 1 else resize(image.rgb(), restorer.scale)
        writing.write(source.with_name(BEFORE), DecodedImage.of(enlarged))
    notes = dict(restorer.notes) | _note(doubts + lost, source.parent)
    outcome = "fallback" if restorer.fell_back else "restored"
    return {"notes": notes, "outcome": outcome, "size": list(restored.pixels.shape[1:]), "part": part}


def _share(devices: int) -> int | None:
    """Threads for each of several jobs; for one job None, which means torch's default, as in ``predict``."""
    return None if devices == 1 else max(1, (os.cpu_count() or 1) // devices)


@contextmanager
def _limited(memory_gb: float, job: Job) -> Iterator[None]:
    """Limit the memory of a restoration that runs on the CPU."""
    import torch

    if torch.cuda.is_available():  # its driver maps far more memory than it uses
        yield
        return
    try:
        with limited_memory(int(memory_gb * 2**30) + PROGRAM + RESULT_BYTES * job.max_output_side**2):
            yield
    except MemoryError as error:
        raise TaskError(_TOO_MUCH, 413) from error
    except RuntimeError as error:
        if "not enough memory" in str(error) or "can't allocate memory" in str(error):  # torch's wording
            raise TaskError(_TOO_MUCH, 413) from error
        raise


def _read(source: Path, job: Job) -> "DecodedImage":
    """Read the upload within limits of time and memory; raises TaskError without the server's path of the file."""
    from restore.image import reading
    from restore.image.decoding import TooManyPixels

    seconds = READ_SECONDS + job.max_side**2 / PIXELS_A_SECOND
    try:
        with limited_time(seconds), limited_memory(READ_BYTES + PIXEL_BYTES * job.max_side**2):
            image = reading.read(source, max_pixels=job.max_side**2, metadata=job.metadata)
        height, width = image.pixels.shape[1:]
        check_side((width, height), job.max_side)
        refuse_large_output((width, height), job)
    except ValueError as error:
        if isinstance(error.__cause__, TooManyPixels):
            width, height = error.__cause__.size
            raise TaskError(TOO_LONG.format(width=width, height=height, most=job.max_side), 413) from error
        raise TaskError(str(error).replace(f"{source}: ", "the image cannot be read: ")) from error
    except Refused as refused:
        raise TaskError(refused.sentence, refused.status) from refused
    except MemoryError as error:
        raise TaskError("the image's header asks for more memory than an image needs; save it again") from error
    except TooSlow as error:
        raise TaskError(f"reading the image takes longer than {seconds:.0f} seconds; save it again") from error
    return image


def _note(warnings: list[str], folder: Path) -> dict[str, str]:
    """Warnings about the image, without the server's paths."""
    return {"image": "; ".join(each.replace(f"{folder}{os.sep}", "") for each in warnings)} if warnings else {}


def _random_part(image: "DecodedImage", side: int, seed: int) -> tuple["DecodedImage", list[int]]:
    """A square of ``side`` pixels, or less if the image is smaller, at random; and its [top, left, height, width]."""
    height, width = image.pixels.shape[1:]
    chance = random.Random(seed)
    rows, columns = min(side, height), min(side, width)
    top, left = chance.randint(0, height - rows), chance.randint(0, width - columns)
    window = (slice(None), slice(top, top + rows), slice(left, left + columns))
    alpha = None if image.alpha is None else image.alpha[window]
    return dataclasses.replace(image, pixels=image.pixels[window], alpha=alpha), [top, left, rows, columns]
