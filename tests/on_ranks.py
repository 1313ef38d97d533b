"""A script of two ranks comes in, what each of them printed goes out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BEGIN = """
import os, sys, torch
from torch import nn
import torch.distributed as dist
torch.set_num_threads(1)
kind, rank = sys.argv[1], int(os.environ["RANK"])
dist.init_process_group("gloo", init_method=f"file://{os.environ['MEETING']}",
                        rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
if kind == "ddp":
    model = nn.parallel.DistributedDataParallel(model)
else:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
def batch_of(step):
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
    here = slice(4 * rank, 4 * rank + 4)
    return x[here], (torch.arange(8) % 3)[here]
"""
"""Two ranks with one model, by DDP or (`kind` is "fsdp2") by FSDP2; each of them has
half of each batch."""


def both_ranks(
    folder: Path, rest: str, kind: str, *options: str
) -> list[tuple[str, str]]:
    """Run BEGIN and the rest of a script on two ranks under watch; what each printed.

    The folder gets the script and the record.
    """
    (folder / "train.py").write_text(BEGIN + rest)
    command = [sys.executable, "-m", "surefoot.script", *options, "train.py", kind]
    env = {**os.environ, "MEETING": str(folder / "meeting")}
    ranks = [
        subprocess.Popen(
            command,
            cwd=folder,
            env={**env, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    return [rank.communicate(timeout=300) for rank in ranks]
