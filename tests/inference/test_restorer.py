"""What all restorers share: progress, cancelling, the kind of an image."""

import time
from pathlib import Path

import pytest
import torch
from PIL import ImageCms

from restore.image.decoded_image import DecodedImage
from restore.inference.load import open_restorer
from restore.inference.restorer import RestorationCancelled, Restorer, pick_device, restore_image
from restore.io.errors import SettingError
from restore.ops.resize import resize, resize_8bit
from tests.inference.levels import levels
from tests.tiny_checkpoints import ckpt, open_on_cpu

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("name", ["bicubic", "identity", "checkpoint"])
def test_every_restorer_reports_progress_and_can_be_stopped(name: str, tmp_path: Path) -> None:
    opened: Restorer
    if name == "checkpoint":
        opened = open_on_cpu(ckpt(tmp_path))
    else:
        opened = open_restorer(name, scale=2 if name == "bicubic" else None)
    image = torch.rand(3, 6, 7)
    steps: list[tuple[int, int]] = []
    opened.restore(
        image,
        progress=lambda done, total: steps.append((done, total)),
        deadline=time.monotonic() + 600,
        cancel=lambda: False,
    )
    assert steps == [(1, 1)]
    with pytest.raises(RestorationCancelled, match="cancelled"):
        opened.restore(image, cancel=lambda: True)
    with pytest.raises(RestorationCancelled, match="time"):
        opened.restore(image, deadline=time.monotonic() - 1)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(SettingError) as error:
        pick_device("cuda")
    assert (error.value.key, error.value.got) == ("device", "cuda")


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
@pytest.mark.parametrize("bits", [8, 16])
def test_identity_gives_the_very_same_image(bits: int, channels: int, alpha: bool) -> None:
    image = DecodedImage(levels(channels, bits=bits), levels(1, bits=bits, seed=1) if alpha else None, SRGB)
    same = restore_image(open_restorer("identity"), image)
    assert same.pixels.dtype == image.pixels.dtype
    assert torch.equal(same.pixels, image.pixels)
    assert same.icc == SRGB
    assert (same.alpha is None) == (image.alpha is None)
    if same.alpha is not None and image.alpha is not None:
        assert torch.equal(same.alpha, image.alpha)


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_bicubic_of_an_8_bit_image_is_the_benchmarks(channels: int) -> None:
    image = DecodedImage(levels(channels))
    assert torch.equal(restore_image(open_restorer("bicubic", scale=3), image).pixels, resize_8bit(levels(channels), 3))


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_a_16_bit_image_is_enlarged_in_16_bit(channels: int) -> None:
    image = DecodedImage(levels(channels, bits=16))
    pixels = restore_image(open_restorer("bicubic", scale=2), image).pixels
    expected = resize(image.pixels.double(), 2).clamp(0, 65535)
    assert pixels.dtype == torch.uint16
    assert (pixels.double() - expected).abs().max() < 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_a_network_keeps_the_kind_of_an_image(channels: int, bits: int, tmp_path: Path) -> None:
    opened = open_on_cpu(ckpt(tmp_path))
    alpha = levels(1, bits=bits, seed=1)
    image = DecodedImage(levels(channels, bits=bits), alpha, SRGB)
    steps: list[tuple[int, int]] = []
    restored = restore_image(opened, image, progress=lambda done, total: steps.append((done, total)))
    peak = 2**bits - 1
    rgb = image.pixels.float().expand(3, -1, -1) / peak
    expected = opened.restore(rgb).double().clamp(0, 1)
    expected = expected.mean(0, keepdim=True) if channels == 1 else expected
    assert restored.pixels.dtype == image.pixels.dtype
    assert restored.pixels.shape == (channels, 18, 24)
    if channels == 3:
        assert (restored.pixels.double() - peak * expected).abs().max() < 0.51 + peak * 1e-6
    assert restored.icc == SRGB
    assert restored.alpha is not None
    assert restored.alpha.dtype == alpha.dtype
    enlarged = resize(alpha.double(), 2).clamp(0, peak)
    assert (restored.alpha.double() - enlarged).abs().max() < 0.51 + peak * 1e-6
    assert steps == [(1, 1)]


def test_the_transparency_of_an_opaque_image_stays_full(tmp_path: Path) -> None:
    opaque = torch.full((1, 9, 12), 255, dtype=torch.uint8)
    restored = restore_image(open_on_cpu(ckpt(tmp_path)), DecodedImage(levels(3), opaque))
    assert restored.alpha is not None
    assert (restored.alpha == 255).all()
