"""A GPU whose memory does not suffice, played on the CPU."""

from typing import cast

import pytest
import torch
from torch import Tensor

from restore.config.inference import Inference
from restore.inference.network import NetworkRestorer
from restore.networks.contract import RestorationNetwork
from tests.tiny_checkpoints import content, network_of


@pytest.mark.parametrize("tile", ["none", "48"])
def test_too_little_memory_is_answered_by_smaller_tiles_of_the_same_result(
    tile: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network = cast("RestorationNetwork", network_of(content(attention="none")))
    assert network.halo is not None
    image = torch.rand(3, 61, 70)
    restorer = NetworkRestorer("played", network, Inference(device="cpu", tile=tile))
    whole, run, seen = restorer.restore(image), restorer._run, list[int]()

    def played(forward: object, lq: Tensor) -> Tensor:
        seen.append(lq[0, 0].numel())
        if seen[-1] > 45 * 45:
            raise torch.OutOfMemoryError("played")
        return run(forward, lq)  # type: ignore[arg-type]

    monkeypatch.setattr(restorer._in_memory, "_run", played)
    assert torch.allclose(restorer.restore(image), whole, atol=1e-5)
    assert "px do not fit the GPU's memory" in caplog.messages[0]
    assert sum(each > 45 * 45 for each in seen) == len(caplog.messages)  # what did not fit is not tried again
    restorer = NetworkRestorer("played", network, Inference(device="cpu", tile=tile))
    monkeypatch.setattr(restorer._in_memory, "_run", lambda *_: played(None, torch.zeros(1, 1, 99, 99)))
    with pytest.raises(torch.OutOfMemoryError):
        restorer.restore(image)
