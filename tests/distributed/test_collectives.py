import os
from pathlib import Path

import pytest
import torch
from torch import nn

from restore.distributed import collectives
from tests import fork_server


def test_alone_every_call_returns_what_it_was_given() -> None:
    values = torch.tensor([1.0, 2.0])
    assert (collectives.world_size(), collectives.rank()) == (1, 0)
    collectives.barrier()
    assert collectives.all_reduce_mean(values) is collectives.all_reduce_min(values) is values
    assert collectives.broadcast("a", 0) == "a"
    assert collectives.all_gather("a") == ["a"]
    assert torch.equal(collectives.share_of_batch(values), values)
    layer = nn.Linear(1, 1)
    layer(torch.ones(1, 1)).sum().backward()
    collectives.average_gradients(layer.parameters())
    assert layer.weight.grad is not None
    assert layer.weight.grad.item() == 1


OF_TWO = """
import torch
from torch import nn
from restore.distributed import collectives
torch.distributed.init_process_group("gloo")
rank = collectives.rank()
assert collectives.world_size() == 2
values = torch.tensor([1.0 + rank, 5.0 - rank])
assert collectives.all_reduce_mean(values).tolist() == [1.5, 4.5]
assert collectives.all_reduce_min(values).tolist() == [1.0, 4.0]
assert values.tolist() == [1.0 + rank, 5.0 - rank]
assert collectives.broadcast({"of": rank}, 1) == {"of": 1}
assert collectives.all_gather(rank) == [0, 1]
assert collectives.share_of_batch(torch.arange(6)).tolist() == [rank, rank + 2, rank + 4]
layer = nn.Linear(2, 1)
layer(torch.full((1, 2), float(rank))).sum().backward()
collectives.average_gradients([*layer.parameters(), nn.Parameter(torch.ones(1))])
assert layer.weight.grad.tolist() == [[0.5, 0.5]]
assert layer.bias.grad.tolist() == [1.0]
collectives.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_agree(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(OF_TWO)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(11000 + os.getpid() % 10000), "WORLD_SIZE": "2"}
    ranks = [
        fork_server.start("two.py", cwd=tmp_path, env=os.environ | shared | {"RANK": str(rank)}) for rank in range(2)
    ]
    said = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
