"""Two processes with one model: their autopilots decide alike, from the mean loss."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = """
import os, sys, torch
from torch import nn
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from surefoot.autopilot import ranks
from surefoot.autopilot.live import Live
from surefoot.autopilot.pilot import Pilot
from surefoot.autopilot.policy import Policy

torch.set_num_threads(1)
ranks.PATIENCE = 2.0
rank, alone = int(os.environ["RANK"]), sys.argv[1] == "alone"
dist.init_process_group("gloo", init_method=f"file://{os.environ['MEETING']}",
                        rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
model = DistributedDataParallel(model)
sgd = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
told = []
if not alone or rank == 0:
    pilot = Pilot(Live({"m": model}, [sgd]), Policy(mode="steer"), tell=told.append)
source = torch.Generator().manual_seed(rank)
for step in range(60):
    if step == 45:
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(30.0)
    x = torch.randn(16, 4, generator=source)
    loss = (model(x)[:, 0] - x[:, 0] * x[:, 1]).square().mean()
    if rank == 1 and step == 50:
        loss = loss * float("nan")
    if not alone or rank == 0:
        pilot.see_loss(loss)
    sgd.zero_grad()
    loss.backward()
    sgd.step()
torch.save({
    "weights": torch.cat([w.detach().flatten() for w in model.parameters()]),
    "told": [(e.step, e.kind, e.body.get("after"), e.body["why"]) for e in told],
}, f"rank{rank}.pt")
dist.barrier()
dist.destroy_process_group()
"""


def ranks(folder: Path, how: str) -> list[dict[str, Any]]:
    """What each of two processes found."""
    (folder / "train.py").write_text(SCRIPT)
    settings = {**os.environ, "MEETING": str(folder / "meeting")}
    running = [
        subprocess.Popen(
            [sys.executable, "train.py", how],
            cwd=folder,
            env={**settings, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [one.communicate(timeout=120)[1] for one in running]
    assert [one.returncode for one in running] == [0, 0], errors
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


def test_all_ranks_decide_alike(tmp_path: Path) -> None:
    one, two = ranks(tmp_path, "all")
    assert one["told"] == two["told"]
    assert torch.equal(one["weights"], two["weights"])
    assert torch.isfinite(one["weights"]).all()
    done = [after for _, _, after, _ in one["told"]]
    assert any("weights and moments of step" in one for one in done)
    assert "the update is skipped" in done


def test_an_autopilot_on_one_rank_only_does_not_wait_for_ever(tmp_path: Path) -> None:
    one, two = ranks(tmp_path, "alone")
    [(_, kind, _, why)] = one["told"]
    assert kind == "autopilot"
    assert "an autopilot came on 1 of 2 ranks; expected one on each" in why
    assert two["told"] == []


@pytest.fixture(autouse=True)
def apart() -> None:
    """The processes have a session of their own: nothing is left of them here."""
    assert not torch.distributed.is_initialized()
