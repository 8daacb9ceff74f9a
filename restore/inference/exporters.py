"""Exports a model to files for other programs: padding, network and cropping in one graph for every size.

Each file is opened again as its user would do, and compared with the model on three odd sizes.
"""

import logging
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from restore.checkpoints import model_card
from restore.io.files import json_text, write_json
from restore.models import loading
from restore.networks.contract import RestorationNetwork
from restore.ops import tiling
from restore.ops.tiling import Forward

TOLERANCE = 1e-4  # maximum difference, for images in [0, 1]


class Portable(nn.Module):
    """``restore_whole`` without branches on the image size, so that it can be traced.

    Rows and columns are selected by index, including the reflected and then replicated border of sides below
    ``min_size``; :func:`restore.ops.tiling.pad` is the readable version.
    """

    def __init__(self, network: RestorationNetwork) -> None:
        super().__init__()
        self.network = network
        self.forward_padded = network.traceable()
        self.min_size, self.multiple_of, self.scale = network.min_size, network.multiple_of, network.scale

    def forward(self, lq: Tensor) -> Tensor:
        """(N, in_channels, H, W), [0, 1] -> (N, 3, scale H, scale W), not clamped."""
        if self.min_size == self.multiple_of == 1:
            return self.forward_padded(lq)
        padded = self._padded(self._padded(lq, 2), 3)
        pred = self.forward_padded(padded)
        for dim in (2, 3):
            pred = pred.index_select(dim, torch.arange(lq.shape[dim] * self.scale))
        return pred

    def _padded(self, image: Tensor, dim: int) -> Tensor:
        length = image.shape[dim]
        grown: Any = (
            (torch.sym_max(length, self.min_size) + self.multiple_of - 1) // self.multiple_of * self.multiple_of
        )
        return image.index_select(dim, tiling.padded_rows(length, grown))


def trace(network: RestorationNetwork) -> ExportedProgram:
    """The graph of ``restore_whole`` with dynamic batch size, height and width."""
    network.to(memory_format=torch.contiguous_format)  # channels_last would make batch size 1 a special case
    example = torch.rand(2, network.in_channels, 21, 27)
    least = smallest_side(network)
    free = {0: Dim("batch", min=1), 2: Dim("height", min=least), 3: Dim("width", min=least)}
    # as torch.onnx does, so that an inner feature map that may have one row does not force a separate graph
    with torch.fx.experimental._config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]  # this module of torch has no types
        return torch.export.export(Portable(network).eval(), (example,), dynamic_shapes={"lq": free}, strict=False)


def smallest_side(network: RestorationNetwork) -> int:
    """The smallest side that a ``torch.export`` graph accepts: torch specialises sizes of 1, even of feature maps.

    ONNX has no such limit.
    """
    return 3 if network.multiple_of == 1 or network.min_size > network.multiple_of else network.multiple_of + 1


def contract(network: RestorationNetwork) -> dict[str, Any]:
    """The facts that a program needs to run the file; see :class:`RestorationNetwork`."""
    names = ("scale", "in_channels", "input_kind", "multiple_of", "min_size", "halo", "protocol")
    return {name: getattr(network, name) for name in names}


def sizes(network: RestorationNetwork, least: int) -> list[tuple[int, int, int]]:
    """(batch, height, width) to test, odd: the smallest square, then a landscape and a portrait size with padding."""
    unit = max(network.min_size, network.multiple_of)
    return [(1, least, least), (2, (unit + 12) | 1, (2 * unit + 22) | 1), (1, (2 * unit + 30) | 1, (unit + 6) | 1)]


def differences(network: RestorationNetwork, run: Forward, *, least: int = 1) -> dict[str, float]:
    """Largest differences between the model and the exported file, for three sizes, the smallest of side ``least``.

    Raises:
        ValueError: a difference is not below ``TOLERANCE``.
    """
    generator, found = torch.Generator().manual_seed(0), {}
    for batch, height, width in sizes(network, least):
        lq = torch.rand(batch, network.in_channels, height, width, generator=generator)
        with torch.inference_mode():
            expected, pred = network.restore_whole(lq), run(lq)
        where = f"{batch}x{network.in_channels}x{height}x{width}"
        if pred.shape != expected.shape:
            raise ValueError(f"format: {where} became {tuple(pred.shape)}, expected {tuple(expected.shape)}")
        found[where] = float((pred - expected).abs().max())
        if not found[where] < TOLERANCE:  # true for NaN as well
            raise ValueError(
                f"format: the exported file differs from the network by {found[where]:.2g} at {where}, expected "
                f"less than {TOLERANCE:g}; the file is not kept; choose another format or opset"
            )
    return found


class Format(ABC):
    """A file format.

    Attributes:
        suffix: of the file name.
    """

    suffix: ClassVar[str]

    def least(self, network: RestorationNetwork) -> int:
        """The smallest odd side that the file accepts."""
        return 1

    @abstractmethod
    def write(self, path: Path, network: RestorationNetwork, facts: Mapping[str, Any]) -> None:
        """Write the model."""

    @abstractmethod
    def open(self, path: Path) -> Forward:
        """The exported model, opened as the file's users would."""

    def describe(self, path: Path, facts: Mapping[str, Any]) -> Path:
        """Write the facts into the file and beside it; return the path of the file beside it."""
        beside = path.with_name(f"{path.name}.json")
        write_json(beside, facts, indent=2)
        return beside


class Onnx(Format):
    """ONNX, with the contract in ``metadata_props``."""

    suffix = ".onnx"

    def __init__(self, opset: int) -> None:
        if not 18 <= opset <= 23:
            raise ValueError(f"opset is {opset}, expected 18 to 23")
        self.opset = opset

    def write(self, path: Path, network: RestorationNetwork, facts: Mapping[str, Any]) -> None:
        """Trace the model, convert it, and save it."""
        for name in ("torch.onnx", "onnxscript", "onnx_ir"):  # these log every step
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they concern the converter itself
            program = torch.onnx.export(
                trace(network),
                dynamo=True,
                opset_version=self.opset,
                input_names=["lq"],
                output_names=["pred"],
                external_data=False,
                verbose=False,
            )
        assert program is not None
        program.save(str(path))

    def open(self, path: Path) -> Forward:
        """A session of onnxruntime on the CPU."""
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda lq: torch.from_numpy(session.run(None, {"lq": lq.numpy()})[0])

    def describe(self, path: Path, facts: Mapping[str, Any]) -> Path:
        """Write the facts as text into ``metadata_props``, as JSON if they are not plain values."""
        import onnx

        graph = onnx.load(str(path))
        _name_sizes(graph.graph)
        onnx.checker.check_model(graph)
        (opset,) = (each.version for each in graph.opset_import if each.domain in ("", "ai.onnx"))
        facts = {**facts, "opset": opset}
        flat = {key: value for key, value in facts.items() if key != "contract"} | dict(facts["contract"])
        texts = {key: value if isinstance(value, str) else json_text(value) for key, value in flat.items()}
        onnx.helper.set_model_props(graph, texts)
        onnx.save(graph, str(path))
        return super().describe(path, facts)


def _name_sizes(graph: Any) -> None:
    """Name the dynamic sizes batch, height and width; torch calls them s52 and so on."""
    given = zip(graph.input[0].type.tensor_type.shape.dim, ("batch", "channels", "height", "width"), strict=True)
    names = {dim.dim_param: name for dim, name in given if dim.dim_param}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:  # such as 2*s52
                dim.dim_param = re.sub(r"\w+", lambda found: names.get(found[0], found[0]), dim.dim_param)


class TorchExport(Format):
    """A ``torch.export`` program, which needs torch but not this package; the facts are stored inside."""

    suffix = ".pt2"

    def least(self, network: RestorationNetwork) -> int:
        """The smallest side, see :func:`smallest_side`."""
        return smallest_side(network) | 1

    def write(self, path: Path, network: RestorationNetwork, facts: Mapping[str, Any]) -> None:
        """Trace and save."""
        facts = {**facts, "smallest_side": smallest_side(network)}
        inside = {"contract.json": json_text(facts)}
        torch.export.save(trace(network), path, extra_files=inside)

    def open(self, path: Path) -> Forward:
        """The program, loaded."""
        module = torch.export.load(path).module()
        return lambda lq: torch.as_tensor(module(lq))


class Safetensors(Format):
    """Weights with a card, which ``predict`` and ``evaluate`` accept."""

    suffix = ".safetensors"

    def write(self, path: Path, network: RestorationNetwork, facts: Mapping[str, Any]) -> None:
        """Write weights and card."""
        model_card.write(path, facts, network.state_dict())
        self.weights = facts["weights"]

    def open(self, path: Path) -> Forward:
        """The model rebuilt from the card."""
        return loading.load_network(path, self.weights).restore_whole

    def describe(self, path: Path, facts: Mapping[str, Any]) -> Path:
        """Write the card again, with the results of the check."""
        beside = path.with_suffix(".json")
        model_card.write_facts(path, facts)
        return beside
