import pytest
import torch
from torch import Tensor

from restore.data.embedded_photos import embedded
from restore.image import reading
from restore.io.errors import SettingError
from restore.losses.pixel import l1
from restore.models.super_resolution import SuperResolution
from restore.ops.resize import resize_8bit


def test_the_default_network_overfits_four_patches() -> None:
    torch.manual_seed(0)
    photo = reading.read_rgb8(embedded("photos_train")[0])
    gt = torch.stack([photo[:, y : y + 32, x : x + 32] for y in (100, 200) for x in (150, 250)])
    lq, gt = resize_8bit(gt, 0.5) / 255, gt / 255
    network = SuperResolution(image_skip="none").network
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    losses = []
    for _ in range(100):
        loss = l1(network(lq), gt)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < losses[0] / 10


@pytest.mark.parametrize(
    ("setting", "value"),
    [("lr", 0.0), ("schedule", "linear"), ("warmup_steps", -1), ("halve_every", 0), ("frequency_weight", -1.0)],
)
def test_bad_training_settings_are_named(setting: str, value: float | str) -> None:
    with pytest.raises(SettingError) as error:
        SuperResolution(**{setting: value})  # type: ignore[arg-type]
    assert (error.value.key, error.value.got) == (f"model.{setting}", value)


@pytest.mark.parametrize(("setting", "value"), [("scale", 6), ("channels", 30)])
def test_bad_network_settings_are_named(setting: str, value: int) -> None:
    with pytest.raises(SettingError) as error:
        SuperResolution(**{setting: value})  # type: ignore[arg-type]
    assert (error.value.key, error.value.got) == (f"model.{setting}", value)


def test_the_frequency_term_is_added_with_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = {"lq": torch.rand(1, 3, 8, 8), "gt": torch.rand(1, 3, 16, 16)}
    terms: dict[str, Tensor] = {}
    monkeypatch.setattr(SuperResolution, "log_training", lambda self, loss, parts: terms.update(parts))
    losses = {}
    for weight in (0.0, 0.5):
        torch.manual_seed(0)
        model = SuperResolution(groups=1, blocks=1, channels=8, frequency_weight=weight)
        losses[weight] = model.training_step(batch, 0)
    assert torch.equal(losses[0.0], terms["l1"])
    assert torch.allclose(losses[0.5], terms["l1"] + 0.5 * terms["frequency"])
    assert terms["frequency"] > 0


def test_the_contract_is_published() -> None:
    gain, none = SuperResolution(), SuperResolution(attention="none")
    assert gain.halo is None
    assert none.halo == 39
    for model in (gain, none):
        assert (model.scale, model.in_channels, model.multiple_of, model.min_size) == (2, 3, 1, 1)
        assert model.protocol == "sr_y"
        assert all(
            p.is_contiguous(memory_format=torch.channels_last) for p in model.network.parameters() if p.dim() == 4
        )
