"""States of wrapped and sharded models, in a process group of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ALONE = """
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from surefoot.blackbox.state import Trained, capture, restore

dist.init_process_group(
    "gloo", store=dist.FileStore({store!r}, 1), rank=0, world_size=1
)


def training(shard):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    model = shard(net)
    return model, torch.optim.Adam(model.parameters(), lr=0.1)


def steps(model, optimizer, count):
    losses = []
    for step in range(count):
        optimizer.zero_grad()
        loss = (model(torch.full((3, 4), 1.0 + step)) - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


for shard in (DistributedDataParallel, fully_shard):
    model, optimizer = training(shard)
    steps(model, optimizer, 3)
    trained = Trained({{"model": model}}, {{"main": optimizer}})
    state = capture(trained, 3)
    assert "models/model/0.weight" in state.tensors, list(state.tensors)
    assert all(type(one) is torch.Tensor for one in state.tensors.values())
    first = steps(model, optimizer, 3)
    restore(state, trained)
    assert steps(model, optimizer, 3) == first
    model, optimizer = training(shard)
    restore(state, Trained({{"model": model}}, {{"main": optimizer}}))
    assert steps(model, optimizer, 3) == first
    print(shard.__name__)
dist.destroy_process_group()
"""


def test_wrapped_and_sharded_models_go_on_from_a_state(tmp_path: Path) -> None:
    code = ALONE.format(store=str(tmp_path / "store"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["DistributedDataParallel", "fully_shard"], (
        done.stderr[-2000:]
    )
