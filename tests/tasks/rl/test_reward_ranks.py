"""Two processes with some of the environments each scale rewards as one with all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from surefoot.tasks.rl import RewardScaler

SCRIPT = """
import os, sys, torch
import torch.distributed as dist
from surefoot.tasks.rl import RewardScaler

rank = int(sys.argv[1])
meeting = f"file://{os.environ['MEETING']}"
dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
mine = (slice(0, 3), slice(3, 4))[rank]
scaler = RewardScaler(3 - 2 * rank, synced=True)
given = torch.load(sys.argv[2], weights_only=True)
found = [scaler(r[mine], e[mine]) for r, e in zip(given["rewards"], given["ended"])]
torch.save(torch.stack(found), sys.argv[3])
dist.destroy_process_group()
"""


def test_two_processes_scale_as_one_with_all_environments(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rewards = 50 + 10 * torch.randn(20, 4, dtype=torch.float64)
    ended = torch.rand(20, 4) < 0.1
    script, given = tmp_path / "script.py", tmp_path / "given.pt"
    script.write_text(SCRIPT, encoding="utf-8")
    torch.save({"rewards": rewards, "ended": ended}, given)
    env = {**os.environ, "MEETING": str(tmp_path / "meeting"), "OMP_NUM_THREADS": "1"}
    paths = [tmp_path / f"{rank}.pt" for rank in range(2)]
    running = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(given), str(path)],
            env=env, text=True, stderr=subprocess.PIPE, cwd=tmp_path,
        )
        for rank, path in enumerate(paths)
    ]  # fmt: skip
    for process in running:
        error = process.communicate(timeout=120)[1]
        assert process.returncode == 0, error
    joined = torch.cat([torch.load(path, weights_only=True) for path in paths], 1)
    scaler = RewardScaler(4)
    expected = [scaler(r, e) for r, e in zip(rewards, ended, strict=True)]
    torch.testing.assert_close(joined, torch.stack(expected), rtol=1e-12, atol=1e-12)
