"""Zero-shot super-resolution: the contract, one scale step after the other, and the guard."""

import time
from typing import Any

import numpy
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from restore.data import single_image
from restore.data.embedded_photos import embedded
from restore.data.single_image import SingleImageData
from restore.image import reading
from restore.models.zero_shot.model import ZeroShotSuperResolution
from restore.models.zero_shot.scale_steps import ScaleSteps
from restore.ops.blur_kernels import gaussian_kernel, shrink, widths
from restore.ops.resize import resize

SMALL: dict[str, Any] = {"width": 8, "depth": 2}


def photo(side: int = 48) -> Tensor:
    return reading.read(embedded("photos_held_out")[0]).rgb()[:, 100 : 100 + side, 150 : 150 + side].contiguous()


def trained(
    lq: Tensor,
    steps: int,
    *,
    halt_at: int | None = None,
    deadline: float | None = None,
    noise: float = 0.0,
    **settings: Any,
) -> ZeroShotSuperResolution:
    torch.manual_seed(0)
    model = ZeroShotSuperResolution(**SMALL | settings)
    if deadline is not None:
        model.steps.deadline = time.monotonic() + deadline
    data = SingleImageData(image=lq, scale=model.scale, patch_size=24, noise=noise)
    if halt_at is not None:
        before = model.training_step

        def training_step(batch: dict[str, Any], batch_idx: int) -> Tensor:
            model.steps.halt = batch_idx >= halt_at
            return before(batch, batch_idx)

        model.training_step = training_step  # type: ignore[method-assign]
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
    )
    trainer.fit(model, datamodule=data)
    return model.eval()


def whole(network: Any, enlarged: Tensor) -> Tensor:
    pred: Tensor = network(enlarged)
    return pred


# --- training ---


def test_every_scale_step_trains_its_own_network_and_hands_it_on() -> None:
    torch.manual_seed(0)
    start = ZeroShotSuperResolution(scale=4.0, **SMALL).network.state_dict()
    model = trained(photo(32), 60, scale=4.0)
    first, second = (step.state_dict()["layers.0.weight"] for step in model.network.steps)
    assert not torch.equal(first, start["networks.0.layers.0.weight"])
    assert not torch.equal(first, second)
    assert [record.begin for record in model.steps.records] == [0, 30]
    assert model.steps.records[1].father is not None
    assert model.steps.records[1].father.shape == (3, 64, 64)  # the first step's result is a father of the second


def test_the_least_error_is_what_remains() -> None:
    model = trained(photo(), 150)
    (record,) = model.steps.records
    gt = photo()[None]
    with torch.inference_mode():
        gt = gt[..., 1:, 1:]  # another phase than the sons it was trained on
        enlarged = resize(resize(gt, 0.5), 2, size=(47, 47))
        error = float((model.network.steps[0](enlarged) - gt).square().mean())
    assert error == pytest.approx(min(record.errors), rel=1e-4)
    assert error < 0.95 * record.bicubic
    assert not record.fell_back


def test_a_step_ends_when_the_learning_rate_has_fallen() -> None:
    model = trained(photo(24), 100, lr_stop=1e-3, lr_decay_ratio=1e-9)
    assert model.steps.records[0].steps[-1] == 100  # no drop within 256 steps
    model = trained(photo(24), 1000, lr_stop=1e-3, lr_decay_ratio=1e-9)
    assert model.steps.records[0].steps[-1] in (300, 360, 420, 480)


def test_white_noise_falls_back_to_bicubic(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(1)
    noise = torch.rand(3, 48, 48)
    model = trained(noise, 100)
    assert model.steps.fell_back == [1]
    assert "did not clearly beat bicubic" in caplog.text
    with torch.inference_mode():
        assert torch.equal(model(noise[None]), resize(noise[None], 2))


def test_stopped_at_once_it_is_bicubic_and_later_it_is_the_best_so_far() -> None:
    lq = photo(32)
    at_once = trained(lq, 4000, halt_at=0, scale=4.0)
    assert len(at_once.steps.records) == 1
    with torch.inference_mode():
        assert torch.allclose(at_once(lq[None]), resize(resize(lq[None], 2).clamp(0, 1), 2), atol=1e-6)
    later = trained(lq, 4000, halt_at=200, scale=4.0)
    assert later.steps.records[0].steps[-1] == 201
    assert later.steps.fell_back == []
    first, second = (step.state_dict() for step in later.network.steps)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("kernel_steps", -1),
        ("scale", 1.0),
        ("scale", 17.0),
        ("scale", float("nan")),
        ("scale_steps", [2.0, 2.0]),
        ("scale_steps", []),
        ("scale_steps", [4.0, 0.5]),
        ("lr", 0.0),
        ("lr_stop", -1.0),
        ("lr_decay", 1.0),
        ("lr_decay_ratio", 0.0),
        ("lr_decay_range", 149),
        ("in_channels", 2),
        ("lr_decay_step", 0),
        ("anneal", 2.0),
        ("back_projection", -1),
    ],
)
def test_bad_values_are_named(setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"model\.{setting} is "):
        ZeroShotSuperResolution(**{setting: value})


# --- kernels ---


def test_a_known_kernel_makes_the_sons_and_the_back_projection(tmp_path: Any) -> None:
    kernel = gaussian_kernel(2.0, 1.0, 0.5, 13)
    numpy.save(tmp_path / "kernel.npy", kernel.roll(2, 0).numpy())  # off its centre
    model = ZeroShotSuperResolution(scale=4.0, kernel=str(tmp_path / "kernel.npy"), **SMALL).eval()
    assert model.network.factors == [4.0]
    lq = photo(12)[None]
    assert torch.allclose(model.network.shrink(photo(), 4.0), shrink(photo(), kernel, 4), atol=1e-3)
    with torch.inference_mode():
        pred = model.network.enlarge(lq, run=whole, views=1)
        errors = [float((again - lq).abs().mean()) for again in (shrink(pred, kernel, 4), resize(pred, 0.25))]
    assert errors[0] < errors[1] / 2


def test_the_kernel_is_kept_in_the_checkpoint_and_not_its_file(tmp_path: Any) -> None:
    numpy.save(tmp_path / "kernel.npy", gaussian_kernel(1.5, 1.0, 0.0, 9).numpy())
    model = ZeroShotSuperResolution(scale=2.0, kernel=str(tmp_path / "kernel.npy"), **SMALL)
    assert model.network.kernel is not None
    rebuilt = ZeroShotSuperResolution(scale=2.0, kernel=model.network.kernel.tolist(), **SMALL)
    assert rebuilt.network.kernel is not None
    assert torch.allclose(rebuilt.network.kernel, model.network.kernel)


def test_the_kernel_is_estimated_from_the_picture() -> None:
    sharp = reading.read(embedded("photos_held_out")[0]).rgb()[:, 40:296, 100:356]
    model = trained(shrink(sharp, gaussian_kernel(2.2, 1.0, 0.0, 21), 2), 3, kernel="estimate")
    assert model.network.kernel is not None
    long, short = widths(model.network.kernel)
    assert long > 1.3 * short


@pytest.mark.parametrize("changes", [{"scale": 2.5}, {"scale": 4.0, "scale_steps": [2.0, 2.0]}])
def test_a_kernel_belongs_to_one_whole_step(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"model\.scale is .* expected one step of a whole scale"):
        ZeroShotSuperResolution(kernel="estimate", **changes)


def test_a_missing_kernel_file_is_named_and_a_scale_without_estimate() -> None:
    with pytest.raises(ValueError, match="scale is 8, expected 2, 3 or 4"):
        ZeroShotSuperResolution(scale=8.0, kernel="estimate")
    with pytest.raises(FileNotFoundError, match=r"model\.kernel=nowhere\.npy is not a file"):
        ZeroShotSuperResolution(kernel="nowhere.npy")


def test_back_projection_stops_where_a_kernel_makes_it_diverge() -> None:
    box = torch.ones(1, 9, dtype=torch.float64) / 9
    gt = photo(64)[None]
    lq = shrink(gt, box, 2)
    far, near = (
        ZeroShotSuperResolution(scale=2.0, kernel=box.tolist(), back_projection=rounds, **SMALL).eval()
        for rounds in (0, 8)
    )
    for model in (far, near):
        model.network.steps[0].interpolate_only()
    with torch.inference_mode():
        errors = [float((model.network.enlarge(lq, run=whole, views=1) - gt).square().mean()) for model in (far, near)]
    assert errors[1] < errors[0]


def test_a_noisy_picture_is_not_back_projected_and_not_held_against_clean_sons() -> None:
    torch.manual_seed(0)
    noisy = (photo(96) + 0.06 * torch.randn(3, 96, 96)).clamp(0, 1)
    model = trained(noisy, 150, noise=0.06, width=16)
    assert model.network.rounds == 0
    assert model.steps.fell_back == []


def test_no_time_at_all_leaves_sound_weights() -> None:
    model = trained(photo(32), 4000, deadline=0.05, scale=4.0)
    assert all(weight.isfinite().all() for weight in model.network.state_dict().values())
    assert all(error < 0.1 for record in model.steps.records for error in record.errors)


def test_fewer_steps_than_scale_steps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"trainer\.max_steps is 2, expected at least one for each of the 3"):
        trained(photo(32), 2, scale=8.0)


@pytest.mark.parametrize("scale", [3.0, 8.0])
def test_rounded_scale_steps_still_give_the_scale(scale: float) -> None:
    count = 2 if scale == 3 else 3
    model = ZeroShotSuperResolution(scale=scale, scale_steps=[round(scale ** (1 / count), 8)] * count, **SMALL).eval()
    with torch.inference_mode():
        assert model(torch.rand(1, 3, 40, 8)).shape == (1, 3, 40 * scale, 8 * scale)


# --- between two scale steps ---


def prepared(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Change attributes of the scale steps of every model made from now on."""
    before = ScaleSteps.__init__

    def changed(self: ScaleSteps, *args: Any) -> None:
        before(self, *args)
        for name, value in changes.items():
            setattr(self, name, value)

    monkeypatch.setattr(ScaleSteps, "__init__", changed)


def test_the_enlargement_between_scale_steps_keeps_to_the_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    whole_father = trained(photo(32), 60, scale=4.0).steps.records[1].father
    sizes = list[tuple[int, int]]()

    def tile(size: tuple[int, int]) -> int:
        sizes.append(size)
        return 11

    prepared(monkeypatch, tile=tile)
    tiled_father = trained(photo(32), 60, scale=4.0).steps.records[1].father
    assert sizes == [(128, 128), (64, 64)]  # for the time that it takes, and for the father
    assert whole_father is not None
    assert tiled_father is not None
    assert (whole_father - tiled_father).abs().max() < 1e-5


def test_a_large_picture_hands_on_the_middle_of_its_enlargement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_image, "LARGEST_FATHER", 40)
    model = trained(photo(32), 20, scale=4.0)
    assert model.steps.records[1].father is not None
    assert model.steps.records[1].father.shape == (3, 40, 40)
    with torch.inference_mode():
        assert model.network.enlarge(photo(32)[None], run=whole, views=1).shape == (1, 3, 128, 128)


def test_cancelled_in_an_enlargement_between_scale_steps_the_best_so_far_remains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = list[int]()

    def cancel() -> bool:  # 30 steps, then a view of the enlargement
        asked.append(0)
        return len(asked) > 30

    prepared(monkeypatch, cancel=cancel)
    model = trained(photo(32), 60, scale=4.0)
    assert len(asked) == 31
    assert len(model.steps.records) == 1
    assert model.steps.halt
    first, second = (step.state_dict() for step in model.network.steps)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_one_scale_step_can_fall_back_and_the_other_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ScaleSteps._add

    def biased(self: ScaleSteps, k: int, record: Any) -> None:
        before(self, k, record)
        record.bicubic = float(k)  # nothing beats the first, anything the second

    monkeypatch.setattr(ScaleSteps, "_add", biased)
    model = trained(photo(32), 20, scale=4.0)
    assert model.steps.fell_back == [1]
    enlarged = torch.rand(1, 3, 20, 20)
    with torch.inference_mode():
        first, second = (network(enlarged) for network in model.network.steps)
    assert torch.equal(first, enlarged)
    assert not torch.equal(second, enlarged)


def test_without_time_for_a_trained_result_nothing_is_trained_and_random_numbers_stay() -> None:
    model = trained(photo(48), 4000, deadline=1e-4, scale=4.0)
    plan = model.steps.too_short
    assert plan is not None
    assert (plan.steps, plan.least, model.steps.records[0].steps) == (0, 50, [])
    assert plan.needed > 1e-4


def test_a_time_limit_that_holds_everything_changes_nothing() -> None:
    limited, unlimited = trained(photo(32), 20, deadline=600.0), trained(photo(32), 20)
    assert (limited.steps.planned, limited.steps.views_left(), limited.network.rounds) == (20, 8, 8)
    first, second = (model.network.state_dict() for model in (limited, unlimited))
    assert all(torch.equal(first[name], second[name]) for name in first)
