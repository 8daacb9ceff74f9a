import math

import numpy as np
import pytest
import torch

from restore.io.errors import SettingError
from restore.metrics.mean_score import MeanScore
from restore.metrics.protocols import sr_y
from tests.metrics.test_protocols import image, levels, pair


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(SettingError) as error:
        MeanScore("psnr", 2)
    assert error.value.key == "protocol"


def test_the_mean_is_over_images_and_not_over_errors() -> None:
    gt = torch.full((3, 24, 24), 0.4)
    mean = MeanScore("sr_rgb", 2)
    scores = []
    for error, side in [(1, 24), (10, 24), (80, 24)]:
        pred = gt[..., :side] + error / 255
        mean.update(pred, gt[..., :side])
        scores.append(20 * math.log10(255 / error))
    pooled = 10 * math.log10(255**2 / np.mean([1**2, 10**2, 80**2]))
    got = float(mean.compute()["psnr_rgb"])
    assert got == pytest.approx(np.mean(scores), abs=1e-9)
    assert abs(got - pooled) > 5


def test_a_large_image_counts_no_more_than_a_small_one() -> None:
    mean = MeanScore("sr_y", 2)
    pairs = [pair(20, 20), pair(60, 70)]
    for pred, gt in pairs:
        mean.update(image(pred), image(gt))
    each = [sr_y(image(pred), image(gt), scale=2) for pred, gt in pairs]
    got = mean.compute()
    assert set(got) == {"psnr_y", "ssim_y"}
    for column, value in got.items():
        assert value.dtype == torch.float64
        assert float(value) == pytest.approx(sum(score[column] for score in each) / 2, abs=1e-12)
    mean.reset()
    mean.update(image(pairs[0][0]), image(pairs[0][1]))
    assert float(mean.compute()["psnr_y"]) == pytest.approx(each[0]["psnr_y"], abs=1e-12)


def test_one_perfect_image_makes_the_mean_infinite() -> None:
    mean = MeanScore("sr_rgb", 2)
    gt = image(levels(3, 16, 16))
    mean.update(gt, gt)
    mean.update(1 - gt, gt)
    assert float(mean.compute()["psnr_rgb"]) == math.inf
