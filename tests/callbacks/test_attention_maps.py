from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from restore.callbacks.attention_maps import AttentionMaps
from restore.models.deblur import Deblur


@pytest.mark.parametrize("module", ["a1.0", "a3.1", "a6.0"])
def test_the_weights_drawn_are_those_of_the_module_asked_for(tmp_path: Path, module: str) -> None:
    torch.manual_seed(0)
    model = Deblur(width=4, modules=2)
    images: list[dict[str, Any]] = []
    logger = SimpleNamespace(log_image=lambda **image: images.append(image))
    place = {"default_root_dir": str(tmp_path), "global_step": 3, "global_rank": 0, "sanity_checking": False}
    trainer: Any = SimpleNamespace(loggers=[logger], **place)
    weights: list[Tensor] = []
    model.network.get_submodule(f"{module}.spatial").register_forward_hook(lambda _, args, out: weights.append(out))
    batch = {"lq": torch.rand(1, 3, 16, 24), "name": ["a"]}
    callback = AttentionMaps(module=module)
    callback.check(model)
    callback.on_validation_start(trainer, model)
    model(batch["lq"])
    callback.on_validation_batch_end(trainer, model, None, batch, 0)
    callback.on_validation_end(trainer, model)
    low, high = float(weights[0].min()), float(weights[0].max())
    assert images[0]["caption"] == [f"lq, weights of {module} from {low:.3f} to {high:.3f}"]
    assert (tmp_path / "panels" / "a_attention_0000003.png").is_file()
    model(batch["lq"])  # no longer watched
    assert len(images) == 1
