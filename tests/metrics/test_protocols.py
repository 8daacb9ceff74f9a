import math
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restore.io.errors import SettingError
from restore.metrics import protocols
from restore.metrics.protocols import (
    deblur_matlab3d,
    deblur_rgb,
    luma,
    protocol,
    psnr,
    sr_rgb,
    sr_y,
    ssim,
    ssim_volume,
    to_8bit,
    translation_rgb,
)

Array = NDArray[Any]


def levels(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.float64)


def image(pixels: Array) -> torch.Tensor:
    return torch.from_numpy(pixels / 255).float()


def pair(height: int = 32, width: int = 41, channels: int = 3) -> tuple[Array, Array]:
    gt = levels(channels, height, width)
    pred = np.clip(gt + np.random.default_rng(1).integers(-25, 26, gt.shape), 0, 255)
    return pred, gt


def studio_luma(rgb: Array) -> Array:
    red, green, blue = rgb / 255
    return np.asarray(65.481 * red + 128.553 * green + 24.966 * blue + 16)


def reference_ssim(a: Array, b: Array) -> float:
    offsets = range(-5, 6)
    weight = {(i, j): math.exp(-(i * i + j * j) / (2 * 1.5**2)) for i in offsets for j in offsets}
    norm = sum(weight.values())
    values = []
    for row in range(5, a.shape[0] - 5):
        for column in range(5, a.shape[1] - 5):
            sums = np.zeros(5)
            for (i, j), w in weight.items():
                x, y = a[row + i, column + j], b[row + i, column + j]
                sums += w / norm * np.array([x, y, x * x, y * y, x * y])
            mu_x, mu_y = sums[:2]
            var_x, var_y, cov = sums[2] - mu_x**2, sums[3] - mu_y**2, sums[4] - mu_x * mu_y
            c1, c2 = 6.5025, 58.5225
            top = (2 * mu_x * mu_y + c1) * (2 * cov + c2)
            values.append(top / ((mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2)))
    return float(np.mean(values))


def skimage_ssim(pred: Array, gt: Array) -> float:
    score: Any = structural_similarity  # has no annotations
    # it leaves out the border where its window does not fit
    return float(score(pred, gt, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255))


def skimage_psnr(pred: Array, gt: Array) -> float:
    score: Any = peak_signal_noise_ratio
    return float(score(gt, pred, data_range=255))


@pytest.mark.parametrize("shape", [(3, 9, 12), (1, 20, 20), (3, 1, 1)])
def test_psnr_equals_scikit_image(shape: tuple[int, ...]) -> None:
    a, b = levels(*shape), levels(*shape, seed=1)
    expected = skimage_psnr(a, b)
    assert psnr(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, abs=1e-10)


@settings(max_examples=50, deadline=None)
@given(error=st.floats(0.01, 200), sign=st.sampled_from([-1, 1]))
def test_psnr_of_an_even_error_is_the_textbook_value(error: float, sign: int) -> None:
    gt = torch.full((3, 4, 5), 100.0, dtype=torch.float64)
    assert psnr(gt + sign * error, gt) == pytest.approx(20 * math.log10(255 / error), abs=1e-9)


@pytest.mark.parametrize(("height", "width"), [(11, 11), (11, 17), (40, 33)])
def test_ssim_equals_scikit_image(height: int, width: int) -> None:
    pred, gt = pair(height, width, 1)
    got = ssim(torch.from_numpy(pred), torch.from_numpy(gt))
    assert got == pytest.approx(skimage_ssim(pred[0], gt[0]), abs=1e-10)


def test_ssim_equals_the_formula_summed_in_loops() -> None:
    pred, gt = pair(14, 16, 1)
    got = ssim(torch.from_numpy(pred), torch.from_numpy(gt))
    assert got == pytest.approx(reference_ssim(pred[0], gt[0]), abs=1e-10)


def test_ssim_of_colour_is_the_mean_over_its_channels() -> None:
    pred, gt = pair(20, 21)
    got = ssim(torch.from_numpy(pred), torch.from_numpy(gt))
    assert got == pytest.approx(np.mean([skimage_ssim(p, g) for p, g in zip(pred, gt, strict=True)]), abs=1e-10)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(11, 20), width=st.integers(11, 20))
def test_ssim_is_symmetric_at_most_one_and_one_for_itself(seed: int, height: int, width: int) -> None:
    a, b = (torch.from_numpy(levels(1, height, width, seed=seed + k)) for k in range(2))
    assert ssim(a, a) == pytest.approx(1, abs=1e-12)
    assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-12)
    assert -1 <= ssim(a, b) < 1


def test_ssim_of_an_image_below_its_window_is_nan() -> None:
    assert math.isnan(ssim(torch.zeros(1, 10, 30), torch.zeros(1, 10, 30)))
    assert math.isnan(ssim(torch.zeros(1, 30, 10), torch.zeros(1, 30, 10)))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_sr_y_follows_its_protocol_step_by_step(scale: int) -> None:
    pred, gt = pair(32, 41)
    score = sr_y(image(pred), image(gt), scale=scale)
    inner = slice(scale, -scale)
    pred_y, gt_y = studio_luma(pred)[inner, inner], studio_luma(gt)[inner, inner]
    assert list(score) == ["psnr_y", "ssim_y"]
    assert score["psnr_y"] == pytest.approx(skimage_psnr(pred_y, gt_y), abs=1e-9)
    assert score["ssim_y"] == pytest.approx(skimage_ssim(pred_y, gt_y), abs=1e-9)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_sr_rgb_is_psnr_over_all_channels_inside_the_border(scale: int) -> None:
    pred, gt = pair(20, 23)
    inner = slice(scale, -scale)
    expected = skimage_psnr(pred[:, inner, inner], gt[:, inner, inner])
    assert sr_rgb(image(pred), image(gt), scale=scale) == {"psnr_rgb": pytest.approx(expected, abs=1e-9)}


# --- deblurring ---


def volume_ssim(a: Array, b: Array) -> float:
    """MATLAB's ssim of an H x W x 3 array as it is defined: an 11x11x11 Gaussian, all borders repeated."""
    axis = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    window = axis[:, None, None] * axis[:, None] * axis
    window /= window.sum()

    def blur(x: Array) -> Array:
        return np.asarray(scipy.ndimage.correlate(x, window, mode="nearest"))

    mu_a, mu_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mu_a**2, blur(b * b) - mu_b**2, blur(a * b) - mu_a * mu_b
    c1, c2 = 6.5025, 58.5225
    top = (2 * mu_a * mu_b + c1) * (2 * cov + c2)
    return float((top / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))).mean())


@pytest.mark.parametrize("size", [(14, 17), (5, 30), (1, 1), (1, 12)])
def test_ssim_of_a_volume_equals_a_three_dimensional_filter(size: tuple[int, int]) -> None:
    pred, gt = pair(*size)
    expected = volume_ssim(pred.transpose(1, 2, 0), gt.transpose(1, 2, 0))
    assert ssim_volume(torch.from_numpy(pred), torch.from_numpy(gt)) == pytest.approx(expected, abs=1e-10)


def test_ssim_of_a_grey_volume_is_two_dimensional() -> None:
    pred, gt = pair(16, 18, 1)
    inner = skimage_ssim(np.pad(pred[0], 5, mode="edge"), np.pad(gt[0], 5, mode="edge"))
    assert ssim_volume(torch.from_numpy(pred), torch.from_numpy(gt)) == pytest.approx(inner, abs=1e-10)


def test_deblur_protocols_follow_their_definition_without_a_border() -> None:
    pred, gt = pair(24, 31)
    psnr_rgb = skimage_psnr(pred, gt)
    ssim_rgb = np.mean([skimage_ssim(p, g) for p, g in zip(pred, gt, strict=True)])
    expected = {"psnr_rgb": pytest.approx(psnr_rgb, abs=1e-9), "ssim_rgb": pytest.approx(ssim_rgb, abs=1e-9)}
    assert deblur_rgb(image(pred), image(gt), scale=1) == expected
    volume = volume_ssim(pred.transpose(1, 2, 0), gt.transpose(1, 2, 0))
    expected = {"psnr_rgb": pytest.approx(psnr_rgb, abs=1e-9), "ssim_matlab3d": pytest.approx(volume, abs=1e-9)}
    assert deblur_matlab3d(image(pred), image(gt), scale=1) == expected


def test_the_two_ssims_of_deblurring_are_not_the_same_number() -> None:
    pred, gt = pair(32, 32)
    both = deblur_rgb(image(pred), image(gt), scale=1), deblur_matlab3d(image(pred), image(gt), scale=1)
    assert abs(both[0]["ssim_rgb"] - both[1]["ssim_matlab3d"]) > 0.001
    same = deblur_matlab3d(image(gt), image(gt), scale=1)
    assert same == {"psnr_rgb": math.inf, "ssim_matlab3d": pytest.approx(1, abs=1e-12)}


def test_deblurring_rounds_first_and_takes_the_mean_of_the_channels_for_a_grey_file() -> None:
    gt = image(levels(3, 24, 24))
    assert deblur_rgb(gt + 0.4 / 255, gt, scale=1)["psnr_rgb"] == math.inf
    pred, grey = image(levels(3, 16, 16)), image(levels(1, 16, 16, seed=2))
    mean = deblur_rgb(pred, grey, scale=1)
    assert mean["psnr_rgb"] == pytest.approx(skimage_psnr(to_8bit(pred).mean(0).numpy(), to_8bit(grey)[0].numpy()))


# --- translation ---


def test_translation_is_scored_by_l1_psnr_and_ssim_of_the_8_bit_images() -> None:
    pred, gt = pair(24, 31)
    ssim_rgb = np.mean([skimage_ssim(p, g) for p, g in zip(pred, gt, strict=True)])
    score = translation_rgb(image(pred), image(gt), scale=1)
    assert list(score) == ["l1", "psnr_rgb", "ssim_rgb"]
    assert score["l1"] == pytest.approx(np.abs(pred - gt).mean() / 255, abs=1e-12)
    assert score["psnr_rgb"] == pytest.approx(skimage_psnr(pred, gt), abs=1e-9)
    assert score["ssim_rgb"] == pytest.approx(ssim_rgb, abs=1e-9)
    shared = deblur_rgb(image(pred), image(gt), scale=1)
    assert {key: score[key] for key in shared} == shared


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999), height=st.integers(1, 20), width=st.integers(1, 20))
def test_l1_lies_between_0_and_1_and_is_0_for_what_rounds_to_the_same(seed: int, height: int, width: int) -> None:
    a, b = (image(levels(3, height, width, seed=seed + k)) for k in range(2))
    assert 0 < translation_rgb(a, b, scale=1)["l1"] <= 1
    assert translation_rgb(a, b, scale=1)["l1"] == translation_rgb(b, a, scale=1)["l1"]
    assert translation_rgb(a + 0.49 / 255, a, scale=1)["l1"] == 0
    black, white = torch.zeros(3, height, width), torch.ones(3, height, width)
    assert translation_rgb(white * 3, black - 1, scale=1)["l1"] == 1


def test_luma_has_the_range_of_matlab() -> None:
    colours = torch.tensor([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.float64)
    got = luma(colours.T[:, None]).flatten().tolist()
    assert got == pytest.approx([16, 235, 81.481, 144.553, 40.966], abs=1e-12)


def test_full_range_luma_would_be_1_32_db_away() -> None:
    pred, gt = pair(40, 40)
    weight = np.array([65.481, 128.553, 24.966]) / 219
    full = [np.tensordot(weight, picture, 1)[2:-2, 2:-2] for picture in (pred, gt)]
    difference = sr_y(image(pred), image(gt), scale=2)["psnr_y"] - skimage_psnr(*full)
    assert difference == pytest.approx(20 * math.log10(255 / 219), abs=1e-9)
    assert difference == pytest.approx(1.32, abs=0.005)


def test_a_prediction_is_clamped_and_rounded_before_it_is_scored() -> None:
    gt = image(levels(3, 24, 24))
    noisy = gt + (torch.rand(gt.shape) - 0.5) * 0.99 / 255  # rounds back to gt
    assert sr_y(noisy, gt, scale=2)["psnr_y"] == math.inf
    white = torch.ones(3, 24, 24)
    assert sr_rgb(white + 0.7, white, scale=2)["psnr_rgb"] == math.inf
    assert sr_rgb(-white, 0 * white, scale=2)["psnr_rgb"] == math.inf
    between = torch.tensor([0.49, 0.51, 2.49, 254.51]) / 255
    assert to_8bit(between).tolist() == [0, 1, 2, 255]
    assert to_8bit(between).dtype == torch.float64


def test_identical_images_give_infinity_and_one() -> None:
    gt = image(levels(3, 20, 30))
    assert sr_y(gt, gt.clone(), scale=2) == {"psnr_y": math.inf, "ssim_y": pytest.approx(1, abs=1e-12)}
    assert sr_rgb(gt, gt.clone(), scale=2) == {"psnr_rgb": math.inf}


def test_a_grey_reference_is_its_own_luma_and_takes_the_mean_of_the_channels() -> None:
    gt = levels(1, 24, 30)
    pred = np.clip(gt + np.random.default_rng(3).integers(-20, 21, (3, 24, 30)), 0, 255)
    mean = pred.mean(0)[2:-2, 2:-2]
    score = sr_y(image(pred), image(gt), scale=2)
    assert score["psnr_y"] == pytest.approx(skimage_psnr(mean, gt[0, 2:-2, 2:-2]), abs=1e-9)
    assert score["ssim_y"] == pytest.approx(skimage_ssim(mean, gt[0, 2:-2, 2:-2]), abs=1e-9)
    tripled = sr_y(image(pred.mean(0, keepdims=True).round().repeat(3, 0)), image(gt.repeat(3, 0)), scale=2)
    grey = sr_y(image(pred.mean(0, keepdims=True).round().repeat(3, 0)), image(gt), scale=2)
    assert tripled["psnr_y"] - grey["psnr_y"] == pytest.approx(20 * math.log10(255 / 219), abs=1e-9)


def test_errors_in_the_border_do_not_count() -> None:
    gt = torch.full((3, 30, 30), 0.5)
    pred = gt.clone()
    pred[:, :4] = pred[:, -4:] = 0
    pred[..., :4] = pred[..., -4:] = 0
    assert sr_y(pred, gt, scale=4)["psnr_y"] == math.inf
    assert sr_y(pred, gt, scale=3)["psnr_y"] < 40
    pred[:, 4, 15] = 0
    assert sr_y(pred, gt, scale=4)["psnr_y"] < math.inf


def test_an_image_that_is_all_border_is_refused() -> None:
    with pytest.raises(ValueError, match=r"30x8.*crop_border of 4"):
        sr_y(torch.zeros(3, 8, 30), torch.zeros(3, 8, 30), scale=4)
    assert sr_rgb(torch.zeros(3, 9, 9), torch.ones(3, 9, 9), scale=4)["psnr_rgb"] == 0


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_sizes_that_differ_are_refused_with_both(name: str) -> None:
    with pytest.raises(ValueError, match=r"30x20.*31x20"):
        protocol(name).score(torch.zeros(3, 20, 30), torch.zeros(3, 20, 31), scale=2)


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_a_protocol_returns_the_columns_it_names(name: str) -> None:
    chosen = protocol(name)
    assert tuple(chosen.score(torch.rand(3, 20, 20), torch.rand(3, 20, 20), scale=2)) == chosen.columns
    assert "psnr" not in chosen.columns


def test_an_unknown_protocol_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingError) as error:
        protocol("psnr")
    assert (error.value.key, error.value.got) == ("protocol", "psnr")
    assert "sr_y, sr_rgb" in error.value.expected


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_a_protocol_of_one_size_has_the_unchanged_input_as_baseline_and_translation_has_none(name: str) -> None:
    baselines = {"super_resolution": "bicubic", "deblur": "identity", "translation": None}
    assert protocol(name).baseline == baselines[protocol(name).family]
