import pytest
import torch

from restore.image.montage import draw_levels, draw_panel, draw_sheet, draw_weights


def test_a_panel_holds_lq_pred_gt_and_error_of_the_middle() -> None:
    lq, gt = torch.rand(3, 10, 20), torch.rand(3, 20, 40)
    pred = gt + 0.1
    panel = draw_panel(lq, pred, gt, max_side=16, error_gain=2)
    assert panel.shape == (3, 16, 64)
    middle = gt[:, 2:18, 12:28]
    assert torch.equal(panel[:, :, 32:48], middle)
    assert torch.equal(panel[:, 1, 1], lq[:, 1, 6])
    expected = ((pred.clamp(0, 1) - gt)[:, 2:18, 12:28] * 2).abs()
    assert torch.allclose(panel[:, :, 48:], expected)


def test_a_grey_reference_fits_into_a_panel() -> None:
    assert draw_panel(
        torch.rand(3, 2, 2), torch.rand(3, 4, 4), torch.rand(1, 4, 4), max_side=9, error_gain=1
    ).shape == (
        3,
        4,
        16,
    )


def test_a_sheet_shows_where_the_baseline_is_worst() -> None:
    gt = torch.rand(3, 50, 60)
    baseline, pred = gt.clone(), gt + 0.001
    baseline[:, 31:35, 41:45] += 1
    sheet = draw_sheet([baseline, pred, gt], side=4, zoom=2, gap=3)
    assert sheet.shape == (3, 8, 3 * 8 + 2 * 3)
    assert torch.equal(sheet[:, ::2, 22::2], gt[:, 31:35, 41:45])
    assert torch.equal(sheet[:, 1::2, 1:8:2], baseline[:, 31:35, 41:45])
    assert (sheet[:, :, 8:11] == 1).all()


def test_a_zoom_shows_the_worst_part_of_a_panel_below() -> None:
    gt = torch.rand(3, 40, 50) / 2
    pred = gt.clone()
    pred[:, 30:34, 40:44] += 0.5
    panel = draw_panel(gt, pred, gt, max_side=16, error_gain=2, zoom=4)
    assert panel.shape == (3, 32, 64)
    assert torch.equal(panel[:, 16::4, 32:48:4], gt[:, 30:34, 40:44])
    assert torch.equal(panel[:, 17::4, 17:32:4], pred[:, 30:34, 40:44])
    assert torch.equal(panel[:, :16], draw_panel(gt, pred, gt, max_side=16, error_gain=2))
    assert draw_panel(gt[:, :3, :2], pred[:, :3, :2], gt[:, :3, :2], max_side=9, error_gain=1, zoom=4).shape[2] == 8


def test_weights_are_stretched_and_laid_over_their_places() -> None:
    lq, weights = torch.rand(3, 13, 18), torch.tensor([[[0.2, 0.3], [0.4, 0.6]]]).repeat_interleave(2, 1)
    large = weights.repeat_interleave(2, 1).repeat_interleave(2, 2)
    drawn = draw_weights(lq[:, :5, :4], torch.cat([large] * 2, 2)[:, :8])
    assert drawn.shape == (3, 5, 8)
    assert torch.equal(drawn[:, :, :4], lq[:, :5, :4])
    half = draw_weights(lq[:, :7, :4], weights[:, :, :2])
    assert half[0, 0, 4:].tolist() == pytest.approx([0, 0, 0.25, 0.25])
    assert half[0, 6, 4:].tolist() == pytest.approx([0.5, 0.5, 1, 1])
    assert torch.isfinite(draw_weights(lq, torch.full((1, 16, 20), 0.5))).all()


def test_classes_are_shown_as_shades_or_in_their_colours() -> None:
    classes = torch.arange(4).repeat(4, 1)
    one_hot = torch.nn.functional.one_hot(classes, 4).permute(2, 0, 1).float()
    drawn = draw_levels(one_hot, [None], torch.zeros(3, 4, 4), max_side=4)
    assert torch.equal(drawn[:, :, :4], (classes / 3).expand(3, -1, -1))
    palette = [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 51]]
    drawn = draw_levels(one_hot, [None], torch.zeros(3, 4, 4), max_side=4, palette=palette)
    assert (drawn[:, 0, :4].T * 255).round().tolist() == palette
