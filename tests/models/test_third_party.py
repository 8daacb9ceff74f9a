"""Other people's weights: networks of spandrel's architectures with random weights, saved as their authors do."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from spandrel.architectures.Compact import Compact
from spandrel.architectures.DnCNN import DnCNN
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.SwinIR import SwinIR

from restore.config.inference import Inference
from restore.image import reading
from restore.inference.load import open_restorer
from restore.inference.network import NetworkRestorer
from restore.io.errors import SettingError
from tests.conftest import Cli, photo

NETWORKS: dict[str, tuple[Callable[[], torch.nn.Module], int]] = {
    "compact": (lambda: Compact(num_feat=16, num_conv=2, upscale=2), 2),
    "esrgan": (lambda: ESRGAN(num_filters=16, num_blocks=1, scale=4), 4),
    "swinir": (
        lambda: SwinIR(
            embed_dim=12, depths=[2], num_heads=[2], window_size=8, upscale=2, upsampler="pixelshuffledirect"
        ),
        2,
    ),
}


def save(path: Path, name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    network = NETWORKS[name][0]().eval()
    with torch.no_grad():
        list(network.parameters())[-1].add_(0.3)  # the last bias: else some give images that are black all over
    torch.save({"params_ema": network.state_dict()}, path)
    return network


def opened(path: Path, **settings: Any) -> NetworkRestorer:
    found = open_restorer(str(path), inference=Inference(device="cpu", **settings))
    assert isinstance(found, NetworkRestorer)
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_another_project_restores_any_size(name: str, tmp_path: Path) -> None:
    network, scale = save(tmp_path / "theirs.pth", name), NETWORKS[name][1]
    restorer = opened(tmp_path / "theirs.pth")
    assert (restorer.scale, restorer.in_channels, restorer.halo, restorer.protocol) == (scale, 3, None, "sr_y")
    for height, width in ((1, 3), (21, 34)):
        assert restorer.restore(torch.rand(3, height, width)).shape == (3, scale * height, scale * width)
    lq = torch.rand(3, 32, 48)  # a size that needs no padding anywhere: the network itself is the reference
    with torch.inference_mode():
        torch.testing.assert_close(restorer.restore(lq), network(lq[None])[0].clamp(0, 1), atol=1e-5, rtol=0)


def test_tiles_that_overlap_are_close_to_the_whole(tmp_path: Path) -> None:
    save(tmp_path / "theirs.pth", "compact")
    lq = reading.read(photo(tmp_path / "a.png", 90, 110)).rgb()
    whole = opened(tmp_path / "theirs.pth", tile="none").restore(lq)
    tiles = opened(tmp_path / "theirs.pth", tile=32, tile_overlap=32).restore(lq)
    assert float((whole - tiles).abs().max()) < 1 / 255
    assert float(whole.std()) > 0.01


def test_the_memory_budget_holds_for_them_too(tmp_path: Path) -> None:
    save(tmp_path / "theirs.pth", "esrgan")
    restorer = opened(tmp_path / "theirs.pth", memory_gb=0.25, tile_overlap=8)
    at_x4 = 4 * 16 * 16 * 2  # bytes of a pixel in two feature maps at the output's size: the least that is alive
    assert at_x4 < restorer.network.bytes_per_pixel < 6 * at_x4
    tile = restorer.tile_for((600, 600))
    assert tile is not None
    assert (tile + 16) ** 2 * restorer.network.bytes_per_pixel < 0.25 * 2**30
    assert restorer.tile_for((40, 40)) is None


def test_predict_and_evaluate_take_them(cli: Cli, tmp_path: Path) -> None:
    save(tmp_path / "theirs.pth", "compact")
    photo(tmp_path / "set" / "HR" / "a.png", 40, 50)
    outcome = cli("predict", "ckpt_path=theirs.pth", "input=set/HR/a.png", "output=out.png", "device=cpu")
    assert outcome.status == 0, outcome.err
    assert "these weights are of another project: RealESRGAN Compact, x2" in " ".join(outcome.out.split())
    assert reading.read("out.png").pixels.shape == (3, 80, 100)
    outcome = cli("evaluate", "ckpt_path=theirs.pth", "benchmarks=[set]", "output=scores", "device=cpu")
    assert outcome.status == 0, outcome.err
    found = json.loads(Path("scores/results.json").read_text())
    assert found["protocol"] == "sr_y"
    assert set(found["means"]) == {"theirs", "bicubic"}


def test_what_restores_no_rgb_image_is_refused(tmp_path: Path) -> None:
    torch.save(DnCNN(in_nc=1, out_nc=1, nc=8, nb=17).state_dict(), tmp_path / "grey.pth")
    with pytest.raises(SettingError, match=r"3 channels in and out, .* DnCNN has 1 in and 1 out") as error:
        opened(tmp_path / "grey.pth")
    assert (error.value.key, error.value.got) == ("ckpt_path", tmp_path / "grey.pth")
    torch.save({"some.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(SettingError) as other:
        opened(tmp_path / "other.pth")
    assert other.value.key == "ckpt_path"
    save(tmp_path / "theirs.pth", "compact")
    with pytest.raises(SettingError) as scale:
        open_restorer(str(tmp_path / "theirs.pth"), scale=3)
    assert (scale.value.key, scale.value.got) == ("scale", "3")


def test_without_the_extra_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "theirs.pth", "compact")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(ValueError, match=r"written by this package.* pip install -c constraints.txt '\.\[foreign\]'"):
        opened(tmp_path / "theirs.pth")
