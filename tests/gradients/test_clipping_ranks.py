"""Parameters sharded over two processes are clipped as whole ones are on one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

SCRIPT = """
import os, sys, torch
from torch import nn
from torch.nn import functional
import torch.distributed as dist
from surefoot.gradients import (
    EmaClip, NormClip, PolicyClip, QuantileClip, UnitwiseClip, UpdateRatios, ZScoreClip
)
from surefoot.nn.regularize import OrthogonalityError, OrthogonalProjection

torch.set_num_threads(1)
rank = int(os.environ.get("RANK", -1))
source = torch.Generator().manual_seed(0)
x = torch.randn(8, 3, generator=source)
y = torch.arange(8) % 3
if rank >= 0:
    dist.init_process_group("gloo", init_method=f"file://{os.environ['MEETING']}",
                            rank=rank, world_size=2)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    mesh = init_device_mesh("cpu", (2,))


def built():
    torch.manual_seed(0)
    # Five rows on two processes: uneven shards; one bias stays on one of them.
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3))
    if rank >= 0:
        fully_shard(model[0], mesh=mesh)
        fully_shard(model, mesh=mesh)
    return model


def whole(tensor):
    return getattr(tensor, "full_tensor", lambda: tensor)().detach()


found = {}
for clip in (NormClip(0.05), QuantileClip(0.5, causal=True), ZScoreClip(warmup=3),
             EmaClip(warmup=3, ceiling=None), PolicyClip(0.05), UnitwiseClip()):
    model = built()
    sgd = torch.optim.SGD(model.parameters(), lr=0.3)
    clip.attach(sgd)
    ratios = UpdateRatios(model, sgd)
    for step in range(8):
        sgd.zero_grad()
        times = 20.0 if step in (5, 6) else 1.0
        (times * functional.cross_entropy(model(x * times), y)).backward()
        sgd.step()
    name = type(clip).__name__
    weights = [whole(w).flatten() for w in model.parameters()]
    found[name] = torch.cat(weights)
    found[name + " memory"] = [one for one in clip.memory.values()]
    found[name + " ratios"] = list(ratios.by_name().values())
try:
    OrthogonalProjection(built())
except OrthogonalityError as error:
    found["refused"] = str(error)
torch.save(found, f"rank{rank}.pt")
if rank >= 0:
    dist.barrier()
    dist.destroy_process_group()
"""


def results(folder: Path, ranks: list[int]) -> list[dict[str, Any]]:
    """What each process found, of two, or of one that is alone."""
    (folder / "clip.py").write_text(SCRIPT)
    env = {**os.environ, "MEETING": f"{folder}/meeting", "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "clip.py"],
            cwd=folder,
            env=env if rank < 0 else {**env, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ranks
    ]
    told = [one.communicate(timeout=240)[1] for one in started]
    assert all(one.returncode == 0 for one in started), told
    return [torch.load(folder / f"rank{rank}.pt") for rank in ranks]


def test_shards_are_clipped_by_the_norm_of_the_whole(tmp_path: Path) -> None:
    [alone] = results(tmp_path, [-1])
    first, second = results(tmp_path, [0, 1])
    assert "refused" not in alone
    for one in (first, second):
        assert "a shard has no whole columns" in one.pop("refused")
        assert one.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(
                one[name], value, rtol=1e-5, atol=1e-6, equal_nan=True, msg=name
            )
