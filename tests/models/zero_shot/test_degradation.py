"""Blur and noise measured on photos that were made small in known ways."""

import io

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

import restore
from restore.data.embedded_photos import embedded
from restore.image import reading
from restore.inference.zero_shot import _adapted
from restore.io.errors import SettingError
from restore.models.zero_shot.degradation import JPEG_NOISE, measured
from restore.ops import blur_kernels
from restore.ops.resize import resize


@pytest.fixture(scope="module")
def gt() -> Tensor:
    return reading.read(embedded("photos_held_out")[0], max_pixels=10**6).rgb()


def noisy(image: Tensor, deviation: float) -> Tensor:
    return image + deviation * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))


def as_jpeg(image: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    to_pil_image(image.clamp(0, 1)).save(file, "JPEG", quality=quality)
    levels: Tensor = pil_to_tensor(Image.open(file))
    return levels.float() / 255


@pytest.mark.parametrize("scale", [2, 3])
def test_a_photo_shrunk_bicubically_has_no_blur_and_no_noise(gt: Tensor, scale: int, whole_photos: None) -> None:
    lq = resize(gt, 1 / scale)
    found = measured(lq, scale)
    assert (found.kernel, found.noise, found.notes) == (None, 0.0, {})
    found = measured(as_jpeg(lq, 80), scale)
    assert (found.kernel, found.noise) == (None, JPEG_NOISE)


@pytest.mark.parametrize("damage", ["none", "noise", "jpeg"])
def test_blur_is_found_under_noise_and_jpeg(gt: Tensor, damage: str, whole_photos: None) -> None:
    lq = blur_kernels.shrink(gt, blur_kernels.gaussian_kernel(2.2, 1.4, 0.5, 21), 2)
    lq = {"none": lq, "noise": noisy(lq, 0.01), "jpeg": as_jpeg(lq, 85)}[damage]
    found = measured(lq, 2)
    assert found.kernel is not None
    long, short = blur_kernels.widths(found.kernel)
    assert 1.5 < long < 2.8
    assert 0.9 < short < 2.0
    assert found.noise == pytest.approx({"none": 0, "noise": 0.01, "jpeg": JPEG_NOISE}[damage], rel=0.15)
    assert set(found.notes) == {"blur", "noise"} - ({"noise"} if damage == "none" else set())


def test_other_scales_small_images_and_flat_ones_show_no_blur() -> None:
    assert measured(torch.rand(3, 70, 70), 2.5).kernel is None
    assert measured(torch.rand(3, 40, 40), 2).kernel is None
    assert measured(torch.full((3, 70, 70), 0.5), 2).kernel is None


def test_what_is_found_is_trained_for() -> None:
    lq = noisy(torch.full((3, 70, 70), 0.5), 0.05)
    auto = restore.load("zero_shot", scale=2, zero_shot={"degradation": "auto"}).training  # type: ignore[attr-defined]
    training, notes = _adapted(auto, lq, 2)
    assert training.data["noise"] == pytest.approx(0.05, rel=0.1)
    assert training.degradation == "given"
    assert set(notes) == {"noise"}
    for given in ({"model": {"kernel": "estimate"}}, {"data": {"noise": 0.1}}):
        with pytest.raises(SettingError) as error:
            restore.load("zero_shot", scale=2, zero_shot={"degradation": "auto", **given})
        assert error.value.key == "zero_shot.degradation"
