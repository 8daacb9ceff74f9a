from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from restore.data.embedded_photos import embedded
from restore.image import reading
from restore.inference import checkpoint_names, load
from restore.inference.auto import AutoRestorer
from restore.inference.baselines import Bicubic
from restore.io.errors import SettingError
from restore.ops.resize import resize_8bit
from tests.conftest import Cli, photo


class Other(Bicubic):
    name = "photo"


@pytest.fixture(scope="module")
def clean() -> Tensor:
    """A photo shrunk by half; float, (3, 150, 225)."""
    return resize_8bit(reading.read_rgb8(embedded("photos_held_out")[0]), 0.5).float() / 255


def noisy(lq: Tensor) -> Tensor:
    return (lq + 0.04 * torch.randn(lq.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def test_a_noisy_image_gets_the_weights_for_photos_and_a_clean_one_those_for_clean_images(clean: Tensor) -> None:
    auto = AutoRestorer(Bicubic(2), Other(2))
    assert auto.restore(noisy(clean)).shape == (3, 300, 452)
    assert auto.notes["weights"].startswith("photo (colour noise 0.0")
    assert torch.equal(auto.restore(clean), Bicubic(2).restore(clean))
    assert auto.notes == {"weights": "bicubic (no damage found)"}


def test_a_scale_without_weights_for_damaged_photos_names_those_that_have_some(
    clean: Tensor, cli: Cli, tmp_path: Path
) -> None:
    for name, lq in (("clean", clean), ("noisy", noisy(clean))):
        Image.fromarray((lq * 255).round().byte().permute(1, 2, 0).numpy()).save(tmp_path / f"{name}.png")
    outcome = cli("predict", "input=noisy.png", "output=auto.png", "scale=3", "device=cpu")
    assert outcome.status == 0, outcome.err
    said = " ".join(outcome.out.split())
    assert "damage: colour noise 0.0" in said
    assert "there are no weights for damaged photos at x3, set scale=2 or scale=4" in said
    named = cli("predict", "input=noisy.png", "output=named.png", "ckpt_path=super_resolution_x3", "device=cpu")
    assert named.status == 0, named.err
    assert "damage" not in named.out
    assert (tmp_path / "auto.png").read_bytes() == (tmp_path / "named.png").read_bytes()
    outcome = cli("predict", "input=clean.png", "scale=3", "device=cpu")
    assert "damage" not in outcome.out


def test_levels_of_a_file_are_measured_like_numbers(clean: Tensor) -> None:
    auto = AutoRestorer(Bicubic(2), Other(2))
    levels = (noisy(clean) * 255).round().to(torch.uint8)
    list(auto.bands(levels))
    assert auto.notes["weights"].startswith("photo")
    list(auto.bands(levels[:1]))  # grey
    assert "grey noise" in auto.notes["weights"]


def test_auto_opens_the_weights_of_the_scale_and_zero_shot_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load.open_restorer("auto", scale=4).scale == 4
    assert load.open_restorer("auto", scale=3).name == "auto"  # without a choice
    assert load.open_restorer("auto", scale=3.5).name == "zero_shot"
    both = ["super_resolution_x2", "super_resolution_x4"]
    monkeypatch.setattr(load, "auto_weights", lambda scale: both[:1] * 2)
    assert load.open_restorer("auto").name == "auto"


@pytest.mark.parametrize("scale", [0.5, 1, 17])
def test_auto_refuses_what_no_weights_and_no_training_can_do(scale: float) -> None:
    with pytest.raises(SettingError) as error:
        checkpoint_names.refuse_unknown("auto", scale)
    assert error.value.key == "scale"


def test_predict_takes_auto(cli: Cli, tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 20, 24)
    outcome = cli("predict", "input=a.png", "ckpt_path=auto", "device=cpu")
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "a_x2.png").is_file()


@pytest.mark.parametrize("setting", ["max_seconds=60", "zero_shot.data.noise=0.1"])
def test_settings_of_zero_shot_are_refused_where_weights_are_taken_in_its_place(
    setting: str, cli: Cli, tmp_path: Path
) -> None:
    photo(tmp_path / "in.png", 20, 20)
    outcome = cli("predict", "in.png", setting)
    assert outcome.status == 1
    assert setting.partition("=")[0] in outcome.err
    assert "set ckpt_path=zero_shot" in outcome.err
    assert not (tmp_path / "in_x2.png").exists()
