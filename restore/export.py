"""``restore export``: writes a trained model as ONNX, as a torch.export program, or as weights with a card."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from restore import __version__
from restore.checkpoints.locate import locate, refuse_missing
from restore.config.build import build
from restore.config.command import command
from restore.inference.checkpoint_names import restorer_name
from restore.inference.export_formats import refuse_unavailable
from restore.io.errors import SettingError
from restore.io.files import move_into_place, refuse_unwritable
from restore.io.temporaries import temporary_folder

if TYPE_CHECKING:
    from restore.inference.exporters import Format
    from restore.networks.contract import RestorationNetwork

log = logging.getLogger(__name__)


def export(cfg: DictConfig) -> None:
    """Write the file, compare it with the network, and only then move it to its final place."""
    refuse_unavailable(cfg.format)
    refuse_missing(locate(cfg.ckpt_path), "ckpt_path")

    from restore.inference.exporters import contract, differences

    kind = _format(cfg)
    path = Path(cfg.output or f"{restorer_name(cfg.ckpt_path)}{kind.suffix}")
    _refuse(cfg.ckpt_path, path, kind)
    network, facts = _ours(cfg) if cfg.model is None else _bare(cfg)
    facts |= {"contract": {"method": facts["method"]} | contract(network), "package": f"restore {__version__}"}
    refuse_unwritable(path.parent, (path.name, path.with_suffix(".json").name))
    with temporary_folder(".restore_export_", path.parent) as folder:
        written = folder / path.name
        kind.write(written, network, facts)
        found = differences(network, kind.open(written), least=kind.least(network))
        beside = kind.describe(written, facts | {"largest_difference": found})
        for file in (written, beside):
            move_into_place(file, path.with_name(file.name))
    for size, difference in found.items():
        log.info("%s: at most %.2g from the network", size, difference)
    log.info("%s and %s", path, path.with_name(beside.name))


def _format(cfg: DictConfig) -> "Format":
    from restore.inference.exporters import Onnx, Safetensors, TorchExport

    kinds = {"onnx": lambda: Onnx(cfg.opset), "torch_export": TorchExport, "safetensors": Safetensors}
    return kinds[cfg.format]()


def _refuse(ckpt_path: str, path: Path, kind: "Format") -> None:
    from restore.checkpoints.model_card import is_card

    if path.suffix != kind.suffix:
        raise SettingError("output", path, f"a name that ends in {kind.suffix}")
    if path.resolve() == locate(ckpt_path).resolve():
        raise SettingError("output", path, "another file than ckpt_path reads", "name another")
    card = path.with_suffix(".json")
    if kind.suffix == ".safetensors" and card.exists() and not is_card(card):
        expected = f"a name whose card replaces no other file, but {card} exists and is not a card"
        raise SettingError("output", path, expected, "name another file")


def _ours(cfg: DictConfig) -> "tuple[RestorationNetwork, dict[str, Any]]":
    """A network of this package, with the facts of its file about its origin and its scores."""
    from restore.checkpoints import model_card, reader
    from restore.models.loading import network_of

    checkpoint = reader.read(cfg.ckpt_path)
    stored, network = checkpoint["restore"], network_of(checkpoint, cfg.ckpt_path, cfg.weights)
    facts = model_card.rebuilding(stored["method"], stored["arguments"], cfg.weights) | _source(cfg.ckpt_path)
    facts |= {key: stored[key] for key in ("purpose", "training", "results", "record") if stored.get(key)}
    result = locate(cfg.ckpt_path).resolve().parent.parent / "result.json"
    if Path(cfg.ckpt_path).name == "best.ckpt" and result.is_file():  # scores of exactly these weights
        facts["results"] = json.loads(result.read_text(encoding="utf-8"))
    return network, facts


def _bare(cfg: DictConfig) -> "tuple[RestorationNetwork, dict[str, Any]]":
    """Weights without a description, from another project, for one of our architectures."""
    from restore.checkpoints import model_card, reader
    from restore.models.loading import load_into

    model = build(cfg.model, "model")
    report = load_into(model.network, reader.bare_weights(cfg.ckpt_path), model.method)
    wrong = {what: names for what, names in report.items() if names}
    for what, names in wrong.items():
        log.warning("%d %s: %s", len(names), what, ", ".join(names))
    if wrong and cfg.strict:
        counts = ", ".join(f"{len(names)} {what}" for what, names in wrong.items())
        expected = f"weights that fit model={model.method} ({counts}; see above)"
        remedy = "set the model's settings as for these weights, or set strict=false to export anyway"
        raise SettingError("ckpt_path", cfg.ckpt_path, expected, remedy)
    facts = model_card.rebuilding(model.method, dict(model.hparams), "ema")
    return model.network.eval(), facts | _source(cfg.ckpt_path) | {"keys": report}


def _source(ckpt_path: str) -> dict[str, Any]:
    from restore.checkpoints.reader import sha256

    return {"source": {"file": locate(ckpt_path).name, "sha256": sha256(ckpt_path)}}


main = command(export, "export")

if __name__ == "__main__":
    main()
