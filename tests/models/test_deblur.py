import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from restore.config.build import build
from restore.config.command import conf_dir
from restore.config.inference import Inference
from restore.inference.network import NetworkRestorer
from restore.io.errors import SettingError
from restore.losses import pixel
from restore.models import loading
from restore.models.deblur import Deblur


def tiny(**settings: object) -> Deblur:
    torch.manual_seed(0)
    return Deblur(**{"width": 4, "modules": 1} | settings)  # type: ignore[arg-type]


def preset(name: str, **changes: object) -> Deblur:
    """On no memory: its numbers alone are looked at."""
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        node = compose("fit", overrides=[f"model={name}", "data=synthetic_blur"]).model
    with torch.device("meta"):
        model = build(node, "model", **changes)
    assert isinstance(model, Deblur)
    return model


SPATIAL = "spatial"
OURS = ("charbonnier", 3e-4, 1e-4, "cosine", True)
PUBLISHED = ("mse_gradient", 1e-4, 0.0, "polynomial", False)


@pytest.mark.parametrize(
    ("name", "parameters", "work", "attention", "recipe"),
    [
        ("deblur", 7_117_597, 72.8, SPATIAL, OURS),
        ("deblur_narrow", 1_796_133, 18.4, SPATIAL, OURS),
        ("deblur_tiny", 179_489, 2.09, SPATIAL, OURS),
        ("deblur_published", 7_117_597, 72.8, SPATIAL, PUBLISHED),
        ("deblur_paper", 7_135_153, 72.8, "channel_spatial", PUBLISHED),
    ],
)
def test_every_preset_is_what_its_name_says(
    name: str, parameters: int, work: float, attention: str, recipe: tuple[object, ...]
) -> None:
    model = preset(name)
    given = model.hparams
    keys = ("loss", "lr", "weight_decay", "schedule", "global_residual")
    assert tuple(given[key] for key in keys) == recipe
    assert (given["attention"], given["frequency_weight"], list(given["betas"])) == (attention, 0.0, [0.9, 0.999])
    assert sum(p.numel() for p in model.network.parameters()) == parameters
    assert multiplications(model.network, 256) / 1e9 == pytest.approx(work, abs=0.05)


def multiplications(network: nn.Module, side: int) -> int:
    total = 0

    def add(module: nn.Module, args: tuple[Tensor], out: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += out.numel() * module.in_channels * module.kernel_size[0] * module.kernel_size[1]

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(add)
    network(torch.empty(1, 3, side, side, device="meta"))
    return total


def test_the_optimiser_takes_all_of_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(lr=2e-3, betas=[0.8, 0.95], weight_decay=0.3)
    monkeypatch.setattr(Deblur, "_lr_factor", lambda self: lambda step: 1.0)
    made = model.configure_optimizers()
    assert isinstance(made, dict)
    (group,) = made["optimizer"].param_groups
    assert isinstance(made["optimizer"], torch.optim.AdamW)
    assert (group["lr"], tuple(group["betas"]), group["weight_decay"]) == (2e-3, (0.8, 0.95), 0.3)
    assert len(group["params"]) == len(list(model.network.parameters()))


def test_local_means_are_refused_for_the_reason_that_holds() -> None:
    with pytest.raises(ValueError, match="window is 64"):
        tiny().network.pool_locally(64)
    with pytest.raises(ValueError, match="window is 64"):
        tiny(attention="channel_spatial").network.pool_locally(64)


def test_the_network_overfits_two_blurred_patches() -> None:
    random = torch.Generator().manual_seed(0)
    gt = torch.rand(2, 3, 8, 8, generator=random).repeat_interleave(2, 2).repeat_interleave(2, 3)
    lq = torch.nn.functional.avg_pool2d(gt, (1, 5), 1, (0, 2), count_include_pad=False)
    network = tiny(width=8).network
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    history = []
    for _ in range(150):
        loss = pixel.charbonnier(network(lq), gt)
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
        ("frequency_weight", -1.0),
        ("scale", 2),
    ],
)
def test_bad_training_settings_are_named(setting: str, value: float | str) -> None:
    with pytest.raises(SettingError) as error:
        tiny(**{setting: value})
    assert (error.value.key, error.value.got) == (f"model.{setting}", value)


def test_bad_network_settings_are_named() -> None:
    with pytest.raises(SettingError) as error:
        tiny(width=0)
    assert (error.value.key, error.value.got) == ("model.width", 0)


@pytest.mark.parametrize("name", ["mse_gradient", "charbonnier", "l1", "log_mse"])
def test_the_loss_is_the_named_one_and_the_frequency_term_comes_on_top(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = {"lq": torch.rand(1, 3, 8, 8), "gt": torch.rand(1, 3, 8, 8)}
    terms: dict[str, Tensor] = {}
    monkeypatch.setattr(Deblur, "log_training", lambda self, loss, parts: terms.update(parts))
    expected = getattr(pixel, name)(batch["lq"], batch["gt"])  # an untrained network returns its input
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


def test_a_720p_image_is_reckoned_to_fit_whole_into_the_memory_promised() -> None:
    model = Deblur()
    assert model.bytes_per_pixel > 4 * 4.5 * 32  # the maps alive at the peak
    assert model.bytes_per_pixel * 720 * 1280 < 1.2 * 2**30


def opened(**inference: object) -> NetworkRestorer:
    model = tiny(width=8, global_residual=False)
    return NetworkRestorer("tiny", model.network, Inference(device="cpu", **inference))  # type: ignore[arg-type]


def test_a_memory_budget_changes_the_pieces_and_not_the_image() -> None:
    lq = torch.rand(3, 222, 303)
    reserved = opened()._reserved_bytes((222, 303))  # the picture's own share of the budget
    assert reserved >= 222 * 303 * 3 * (1 + 1 + 4)  # levels in and out, and a row of tiles as float
    budget = (210**2 * tiny(width=8).bytes_per_pixel + reserved) / 2**30
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
def test_any_size_is_restored_and_the_ensemble_turns_with_the_image(size: tuple[int, int]) -> None:
    lq = torch.rand(3, *size)
    assert opened().restore(lq).shape == lq.shape
    ensemble = opened(self_ensemble=True)
    padded = torch.rand(3, 16, 24)
    turned = ensemble.restore(padded.rot90(1, (-2, -1)))
    assert torch.allclose(turned, ensemble.restore(padded).rot90(1, (-2, -1)), atol=1e-5)


def test_the_table_of_methods_names_the_class() -> None:
    assert loading.METHODS["deblur"].model == f"{Deblur.__module__}.{Deblur.__qualname__}"
