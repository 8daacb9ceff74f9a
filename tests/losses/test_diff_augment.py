import pytest
import torch

from restore.losses.diff_augment import POLICIES, diff_augment


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.rand(4, 1, 32, 40, generator=random), torch.rand(4, 3, 32, 40, generator=random)


def test_nothing_asked_for_changes_nothing() -> None:
    condition, picture = batch()
    same = diff_augment(condition, picture, [])
    assert torch.equal(same[0], condition)
    assert torch.equal(same[1], picture)


@pytest.mark.parametrize("policy", POLICIES)
def test_each_policy_changes_images_by_the_seed_and_lets_gradients_through(policy: str) -> None:
    condition, picture = batch()
    picture.requires_grad_()

    def changed(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(seed)
        return diff_augment(condition, picture, [policy])  # type: ignore[list-item]

    first, again, other = changed(0), changed(0), changed(1)
    assert first[1].shape == picture.shape
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])
    assert torch.equal(first[0], condition) == (policy == "color")
    first[1].square().sum().backward()
    assert picture.grad is not None
    assert picture.grad.any()


@pytest.mark.parametrize("policy", ["translation", "cutout"])
def test_what_moves_or_hides_does_so_with_the_condition_too(policy: str) -> None:
    condition, _ = batch()
    torch.manual_seed(3)
    moved, followed = diff_augment(condition, condition.expand(-1, 3, -1, -1), [policy])  # type: ignore[list-item]
    assert torch.equal(moved.expand(-1, 3, -1, -1), followed)


def test_translation_moves_by_at_most_an_eighth_and_grey_comes_in() -> None:
    picture = torch.zeros(200, 3, 16, 16)
    picture[:, :, 8, 8] = 1
    torch.manual_seed(0)
    _, moved = diff_augment(picture[:, :1], picture, ["translation"])
    places = (moved[:, 0] == 1).nonzero()[:, 1:]
    assert len(places) == 200
    assert {int(x) for x in places.unique()} == {6, 7, 8, 9, 10}
    assert set(moved.unique().tolist()) == {0.0, 0.5, 1.0}


def test_a_hole_is_at_most_half_the_sides() -> None:
    picture = torch.zeros(50, 3, 16, 16)
    torch.manual_seed(0)
    _, cut = diff_augment(picture[:, :1], picture, ["cutout"])
    hidden = (cut[:, 0] == 0.5).sum((1, 2))
    assert hidden.max() == 64
    assert hidden.min() >= 16


def test_brightness_moves_by_a_quarter_of_the_range_at_most() -> None:
    grey = torch.full((200, 3, 2, 2), 0.5)  # no saturation, no contrast
    _, found = diff_augment(grey, grey, ["color"])
    assert 0.2 < (found - 0.5).abs().max() <= 0.25
