"""What two processes decide from their shares of a batch is one and the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = """
import os, torch
from torch import nn
import torch.distributed as dist
from surefoot.nn.regularize import GradientNoise, PenaltyController
from surefoot.tasks.multimodal import GradientModulation

torch.set_num_threads(1)
rank = int(os.environ["RANK"])
dist.init_process_group("gloo", init_method=f"file://{os.environ['MEETING']}",
                        rank=rank, world_size=2)
mine = slice(0, 5) if rank == 0 else slice(5, 8)
source = torch.Generator().manual_seed(0)
x, y = torch.randn(8, 3, generator=source), torch.arange(8) % 2
torch.manual_seed(0)
encoders = nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Linear(3, 2)})
nn.init.zeros_(encoders["b"].weight)
nn.init.zeros_(encoders["b"].bias)
sgd = torch.optim.SGD(encoders.parameters(), lr=0.5)
GradientNoise(sgd, 0.1)
slow = GradientModulation(dict(encoders), alpha=0.8, noise=True)
controller = PenaltyController(1.0)
found = {"factors": []}
for _ in range(3):
    scores = {m: one(x[mine]) for m, one in encoders.items()}
    loss = nn.functional.cross_entropy(scores["a"] + scores["b"], y[mine])
    penalty = sum(w.square().sum() for w in encoders.parameters())
    controller.observe(loss, penalty, encoders.parameters())
    sgd.zero_grad()
    (loss + controller.weight * penalty).backward()
    for weight in encoders.parameters():
        dist.all_reduce(weight.grad)
    factors = slow(scores, y[mine])
    found["factors"].append([one.item() for one in factors.values()])
    sgd.step()
found["weight"] = controller.weight
found["weights"] = [w.detach() for w in encoders.parameters()]
torch.save(found, f"rank{rank}.pt")
dist.barrier()
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    folder: Path = tmp_path_factory.mktemp("ranks")
    (folder / "run.py").write_text(SCRIPT)
    env = {**os.environ, "MEETING": str(folder / "meeting"), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "run.py"],
            cwd=folder,
            env={**env, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for one in running:
        _, errors = one.communicate()
        assert one.returncode == 0, errors
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


def test_replicas_stay_one_model(ranks: list[dict[str, Any]]) -> None:
    one, other = ranks
    for left, right in zip(one["weights"], other["weights"], strict=True):
        assert torch.equal(left, right)


def test_replicas_slow_a_modality_alike(ranks: list[dict[str, Any]]) -> None:
    one, other = ranks
    assert one["factors"] == other["factors"]
    assert any(min(row) < 1 for row in one["factors"])


def test_replicas_give_a_penalty_one_weight(ranks: list[dict[str, Any]]) -> None:
    one, other = ranks
    assert one["weight"] == other["weight"] != 1.0
