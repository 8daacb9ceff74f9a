"""``restore export``: a trained model as ONNX, as a program of torch.export, or as weights with a card."""

import importlib.util
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from restore import __version__
from restore.config.build import build
from restore.config.command import command
from restore.config.errors import UserError
from restore.io.files import refuse_unwritable

if TYPE_CHECKING:
    from restore.inference.exporters import Format
    from restore.models.base import RestorationModel

log = logging.getLogger(__name__)

FORMATS = ("onnx", "torch_export", "safetensors")


def export(cfg: DictConfig) -> None:
    """Write the file, hold it against the model, and only then put it where it was asked for."""
    from restore.inference.exporters import contract, differences
    from restore.inference.load import restorer_name

    kind = _format(cfg)
    path = Path(cfg.output or f"{restorer_name(cfg.ckpt_path)}{kind.suffix}")
    _refuse(cfg.ckpt_path, path, kind)
    model, facts = _foreign(cfg) if cfg.model is not None else _ours(cfg)
    facts |= {"contract": contract(model), "package": f"restore {__version__}"}
    refuse_unwritable(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        written = Path(folder) / path.name
        kind.write(written, model, facts)
        found = differences(model, kind.open(written), least=kind.least(model))
        beside = kind.describe(written, facts | {"largest_difference": found})
        for file in (written, beside):
            os.replace(file, path.with_name(file.name))
    for size, difference in found.items():
        log.info("%s: at most %.2g from the model", size, difference)
    log.info("%s and %s", path, path.with_name(beside.name))


def _format(cfg: DictConfig) -> "Format":
    from restore.inference.exporters import Onnx, Safetensors, TorchExport

    if cfg.format not in FORMATS:
        raise UserError(f"format is {cfg.format}, expected {', '.join(FORMATS)}")
    kind = {"onnx": lambda: Onnx(cfg.opset), "torch_export": TorchExport, "safetensors": Safetensors}[cfg.format]()
    missing = [name for name in kind.needs if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"format=onnx needs {', '.join(missing)}; in a checkout: pip install '.[export]'")
    return kind


def _refuse(ckpt_path: str, path: Path, kind: "Format") -> None:
    from restore.models.loading import locate

    if path.suffix != kind.suffix:
        raise UserError(f"output is {path}, expected a name that ends in {kind.suffix}")
    if path.resolve() == locate(ckpt_path).resolve():
        raise UserError(f"output: {path} is what ckpt_path reads; name another file")
    card = path.with_suffix(".json")
    if kind.suffix == ".safetensors" and card.exists() and not {"format", "method", "arguments"} <= _keys(card):
        raise UserError(f"output: the card would overwrite {card}, which is no card; name another file")


def _keys(path: Path) -> set[str]:
    """Of a JSON file; none where it holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return set()
    return set(content) if isinstance(content, dict) else set()


def _ours(cfg: DictConfig) -> "tuple[RestorationModel, dict[str, Any]]":
    """A model of this package, and what its file says of where it comes from and what it reaches."""
    from restore.checkpoints import model_card
    from restore.models import loading

    stored = loading.read(cfg.ckpt_path)["restore"]
    model = loading.load_model(cfg.ckpt_path, cfg.weights)
    facts = model_card.rebuilding(stored["method"], stored["arguments"], cfg.weights)
    facts["source"] = _source(cfg.ckpt_path)
    facts |= {key: stored[key] for key in ("training", "results", "record") if stored.get(key)}
    result = loading.locate(cfg.ckpt_path).resolve().parent.parent / "result.json"
    if Path(cfg.ckpt_path).name == "best.ckpt" and result.is_file():  # scores of exactly these weights
        facts["results"] = json.loads(result.read_text(encoding="utf-8"))
    return model, facts


def _foreign(cfg: DictConfig) -> "tuple[RestorationModel, dict[str, Any]]":
    """Somebody's weights in an architecture of ours."""
    from restore.checkpoints import model_card
    from restore.models import bare_weights

    model: RestorationModel = build(cfg.model, "model")
    report = bare_weights.load_into(model, bare_weights.read(cfg.ckpt_path))
    wrong = {what: names for what, names in report.items() if names}
    for what, names in wrong.items():
        log.warning("%d %s: %s", len(names), what, ", ".join(names))
    if wrong and cfg.strict:
        counts = ", ".join(f"{len(names)} {what}" for what, names in wrong.items())
        raise UserError(
            f"ckpt_path: {cfg.ckpt_path} does not fit model={model.method} ({counts}; see above); give the model's own "
            "settings, or set strict=false to go without"
        )
    arguments: dict[str, Any] = dict(model.hparams)
    facts = model_card.rebuilding(model.method, arguments, "ema")
    return model.eval(), facts | {"source": _source(cfg.ckpt_path), "keys": report}


def _source(ckpt_path: str) -> dict[str, Any]:
    from restore.models.loading import locate, sha256

    return {"file": locate(ckpt_path).name, "sha256": sha256(ckpt_path)}


main = command(export, "export")

if __name__ == "__main__":
    main()
