import pytest
import torch
from torch import Tensor

from restore import checkpoint, losses
from restore.inference import Inference
from restore.models.deblur import Deblur
from restore.restorers import NetworkRestorer


def tiny(**settings: object) -> Deblur:
    torch.manual_seed(0)
    return Deblur(**{"width": 4, "modules": 1} | settings)  # type: ignore[arg-type]


def test_the_network_overfits_two_blurred_patches() -> None:
    random = torch.Generator().manual_seed(0)
    gt = torch.rand(2, 3, 8, 8, generator=random).repeat_interleave(2, 2).repeat_interleave(2, 3)
    lq = torch.nn.functional.avg_pool2d(gt, (1, 5), 1, (0, 2), count_include_pad=False)
    network = tiny(width=8).network
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    history = []
    for _ in range(150):
        loss = losses.charbonnier(network(lq), gt)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert sum(history[-5:]) / 5 < history[0] / 4


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("lr", 0.0),
        ("schedule", "linear"),
        ("warmup_steps", -1),
        ("weight_decay", -0.1),
        ("loss", "l2"),
        ("scale", 2),
        ("width", 0),
    ],
)
def test_bad_values_are_named(setting: str, value: float | str) -> None:
    with pytest.raises(ValueError, match=rf"model\.{setting} is {value}.*expected"):
        tiny(**{setting: value})


@pytest.mark.parametrize("name", ["mse_gradient", "charbonnier", "l1"])
def test_the_loss_is_the_named_one_and_the_frequency_term_comes_on_top(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = {"lq": torch.rand(1, 3, 8, 8), "gt": torch.rand(1, 3, 8, 8)}
    terms: dict[str, Tensor] = {}
    monkeypatch.setattr(Deblur, "log_training", lambda self, loss, parts: terms.update(parts))
    expected = getattr(losses, name)(batch["lq"], batch["gt"])  # an untrained network returns its input
    assert torch.equal(tiny(loss=name).training_step(batch, 0), expected)
    assert list(terms) == [name]
    total = tiny(loss=name, frequency_weight=0.1).training_step(batch, 0)
    assert torch.allclose(total, expected + 0.1 * terms["frequency"])
    assert terms["frequency"] > 0


def test_the_contract_is_published() -> None:
    exact, global_ = Deblur(), tiny(attention="channel_spatial")
    assert exact.halo == 190
    assert global_.halo is None
    for model in (exact, global_):
        assert (model.scale, model.in_channels, model.multiple_of, model.min_size) == (1, 3, 4, 1)
        assert (model.protocol, model.monitor) == ("deblur_rgb", "psnr_rgb")
        assert all(
            p.is_contiguous(memory_format=torch.channels_last) for p in model.network.parameters() if p.dim() == 4
        )


def test_a_720p_picture_is_reckoned_to_fit_whole_into_the_memory_promised() -> None:
    assert Deblur().bytes_per_pixel * 720 * 1280 < 1.2 * 2**30


def opened(**inference: object) -> NetworkRestorer:
    model = tiny(width=8, global_residual=False)
    return NetworkRestorer("tiny", model, Inference(device="cpu", **inference))  # type: ignore[arg-type]


def test_a_memory_budget_changes_the_pieces_and_not_the_picture() -> None:
    lq = torch.rand(3, 222, 303)
    budget = 210**2 * tiny(width=8).bytes_per_pixel / 2**30
    whole, tiled = opened(tile="none"), opened(memory_gb=budget)
    assert whole.tile_for((222, 303)) is None
    tile = tiled.tile_for((222, 303))
    assert tile is not None
    assert tile % 4 == 0
    assert 210 - 4 < tile + 2 * 80 <= 210  # the halo of 78, on the network's grid
    pieces: list[tuple[int, int]] = []
    pred = tiled.restore(lq, progress=lambda done, total: pieces.append((done, total)))
    assert len(pieces) > 1
    assert (pred - whole.restore(lq)).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (1, 23), (9, 1), (37, 50)])
def test_any_size_is_restored_and_the_ensemble_turns_with_the_picture(size: tuple[int, int]) -> None:
    lq = torch.rand(3, *size)
    assert opened().restore(lq).shape == lq.shape
    ensemble = opened(self_ensemble=True)
    padded = torch.rand(3, 16, 24)
    turned = ensemble.restore(padded.rot90(1, (-2, -1)))
    assert torch.allclose(turned, ensemble.restore(padded).rot90(1, (-2, -1)), atol=1e-5)


def test_the_table_of_methods_names_the_class() -> None:
    assert checkpoint.METHODS["deblur"] == f"{Deblur.__module__}.{Deblur.__qualname__}"
