"""Two processes with a share of the data each normalise as one with all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = """
import os, sys, torch
import torch.distributed as dist
from torch import nn
from surefoot.nn.norm import (
    BatchRenorm1d, MaskedBatchNorm1d, Standardize, lengths_to_mask
)

torch.set_num_threads(1)
rank = int(sys.argv[1])
mine = {-1: slice(0, 6), 0: slice(0, 4), 1: slice(4, 6)}[rank]
if rank >= 0:
    dist.init_process_group("gloo", init_method=f"file://{os.environ['MEETING']}",
                            rank=rank, world_size=2)
generator = torch.Generator().manual_seed(0)
x = torch.randn(6, 3, 7, generator=generator, dtype=torch.float64) * 2 + 1
mask = lengths_to_mask(torch.tensor([7, 1, 4, 0, 2, 5]), 7)
told = {}
for name, layer in (
    ("masked", MaskedBatchNorm1d(3, synced=True)),
    ("plain", MaskedBatchNorm1d(3, synced=True)),
    ("renorm", BatchRenorm1d(3, synced=True, ramp=(0, 0, 0))),
):
    layer.double()
    nn.init.normal_(layer.weight, generator=generator)
    given = [mask[mine]] if name == "masked" else []
    for _ in range(2):
        leaf = x[mine].clone().requires_grad_()
        out = layer(leaf, *given)
    total = out.sin().sum()
    grads = torch.autograd.grad(total, (leaf, *layer.parameters()), create_graph=True)
    (second,) = torch.autograd.grad(grads[0].square().sum(), leaf)
    told[name] = {"out": out.detach(), "grad": grads[0].detach(), "second": second,
                  "weight": grads[1].detach(), "bias": grads[2].detach(),
                  "state": layer.state_dict()}
norm = Standardize(3, synced=True)
for part in (0, 1):
    norm(x[mine].mT[:, part::2])
told["standardize"] = norm.state_dict()
torch.save(told, sys.argv[2])
if rank >= 0:
    dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict]:
    place = tmp_path_factory.mktemp("ranks")
    env = {**os.environ, "MEETING": str(place / "meeting"), "OMP_NUM_THREADS": "1"}
    script = place / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")

    def start(rank: int) -> subprocess.Popen[str]:
        command = [sys.executable, str(script), str(rank), str(path(rank))]
        return subprocess.Popen(
            command, env=env, text=True, stderr=subprocess.PIPE, cwd=place
        )

    def path(rank: int) -> Path:
        return place / f"{rank}.pt"

    running = {rank: start(rank) for rank in (-1, 0, 1)}
    for process in running.values():
        error = process.communicate(timeout=120)[1]
        assert process.returncode == 0, error
    return {rank: torch.load(path(rank), weights_only=False) for rank in running}


@pytest.mark.parametrize("name", ["masked", "plain", "renorm"])
def test_values_gradients_and_statistics_are_those_of_all(
    told: dict[int, dict], name: str
) -> None:
    whole, parts = told[-1][name], (told[0][name], told[1][name])
    for key in ("out", "grad", "second"):
        joined = torch.cat([part[key] for part in parts])
        torch.testing.assert_close(joined, whole[key], rtol=1e-10, atol=1e-12)
    for key in ("weight", "bias"):
        total = parts[0][key] + parts[1][key]
        torch.testing.assert_close(total, whole[key], rtol=1e-10, atol=1e-12)
    for part in parts:
        torch.testing.assert_close(part["state"], whole["state"])


def test_a_standardiser_has_seen_what_all_have(told: dict[int, dict]) -> None:
    whole, *parts = (told[rank]["standardize"] for rank in (-1, 0, 1))
    for part in parts:
        torch.testing.assert_close(part, whole, rtol=1e-12, atol=1e-12)
