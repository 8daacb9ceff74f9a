from pathlib import Path

import pytest
import torch

import restore
from restore.inference.checkpoint_names import restorer_name
from restore.inference.load import open_restorer
from restore.io.errors import SettingError
from tests.tiny_checkpoints import ckpt, content, on_cpu, open_on_cpu, save


def test_baselines_refuse_scales_that_make_no_sense() -> None:
    for name, scale in ("bicubic", None), ("bicubic", 0), ("identity", 2):
        with pytest.raises(SettingError) as error:
            open_restorer(name, scale=scale)
        assert error.value.key == "scale"


def test_another_scale_than_the_trained_one_is_refused(tmp_path: Path) -> None:
    path = ckpt(tmp_path)
    assert open_restorer(path, scale=2, inference=on_cpu()).scale == 2
    with pytest.raises(SettingError) as error:
        open_restorer(path, scale=3, inference=on_cpu())
    assert (error.value.key, error.value.got) == ("scale", "3")


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    saved = content()
    del saved["state_dict"]["network.head.bias"]
    with pytest.raises(SettingError) as error:
        open_restorer(save(tmp_path / "a.ckpt", saved))
    assert error.value.key == "ckpt_path"


def test_a_run_folder_gives_its_checkpoint_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "run7" / "checkpoints"
    folder.mkdir(parents=True)
    assert open_on_cpu(save(folder / "best.ckpt", content())).name == f"{tmp_path.name}_run7_best"
    assert open_on_cpu(ckpt(tmp_path)).name == "tiny"
    assert restorer_name("bicubic") == "bicubic"


def test_load_opens_from_python(tmp_path: Path) -> None:
    image = torch.rand(3, 6, 6)
    path = ckpt(tmp_path, ema=True)
    raw = restore.load(path, weights="raw", device="cpu")
    assert torch.equal(raw.restore(image), open_on_cpu(path, weights="raw").restore(image))
    assert restore.load("bicubic", scale=3).restore(image).shape == (3, 18, 18)
    with pytest.raises(TypeError, match="wieghts"):
        restore.load(path, wieghts="raw")
