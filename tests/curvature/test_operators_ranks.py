"""Two processes with a share of the data each give the products of one with all."""

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
from torch.nn import functional
import torch.distributed as dist
from surefoot.curvature.operators import (
    Batches, fisher, ggn, hessian, preconditioned, restricted
)

torch.set_num_threads(1)
kind, rank = sys.argv[1], int(os.environ.get("RANK", -1))
mine = {-1: slice(0, 8), 0: slice(0, 5), 1: slice(5, 8)}[rank]
generator = torch.Generator().manual_seed(0)
x = torch.randn(8, 3, dtype=torch.float64, generator=generator)
y = torch.arange(8) % 3
if kind != "alone":
    dist.init_process_group("gloo", init_method=f"file://{os.environ['MEETING']}",
                            rank=rank, world_size=2)
if kind == "fsdp2":
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
    mesh = init_device_mesh("cpu", (2,))


def built():
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(4).eval()
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), norm, nn.Linear(4, 3)).double()
    if kind == "ddp":
        return nn.parallel.DistributedDataParallel(model)
    if kind == "fsdp2":
        fully_shard(model[0], mesh=mesh)
        fully_shard(model, mesh=mesh)
    return model


def loss_fn(model, batch):
    return functional.cross_entropy(model(batch[0]), batch[1])


def asked(model, optimizer):
    batch = (x[mine], y[mine])
    parts = Batches([(x[mine][:1], y[mine][:1]), (x[mine][1:], y[mine][1:])])
    H = hessian(model, batch, loss_fn=loss_fn)
    v = torch.randn(H.shape[0], dtype=torch.float64, generator=generator)
    block = restricted(H, "0")
    return {
        "gradient": H.gradient, "loss": H.loss, "hessian": H @ v,
        "batches": hessian(model, parts, loss_fn=loss_fn) @ v,
        "adam": preconditioned(H, optimizer) @ v,
        "ggn": ggn(model, batch, loss_fn=loss_fn) @ v,
        "fisher": fisher(model, parts, loss_fn=loss_fn) @ v,
        "block": block @ v[: block.shape[0]],
    }


def trained(ask):
    model = built()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    found = {}
    for step in range(2):
        # The same rows for all, so that uneven shares do not change the mean.
        optimizer.zero_grad()
        loss_fn(model, (x[:4], y[:4])).backward()
        optimizer.step()
        if ask and not step:
            found = asked(model, optimizer)
    weights = [getattr(w, "full_tensor", lambda: w)() for w in model.parameters()]
    return found | {"weights": torch.cat([w.detach().reshape(-1) for w in weights])}


found = trained(ask=True) | {"bare": trained(ask=False)["weights"]}
if kind == "fsdp2":
    flat = FullyShardedDataParallel(nn.Linear(3, 3), device_id=torch.device("cpu"))
    try:
        hessian(flat, (x[mine], y[mine]), loss_fn=loss_fn)
    except ValueError as error:
        found["refused"] = str(error)
torch.save(found, f"{kind}{rank}.pt")
if kind != "alone":
    dist.barrier()
    dist.destroy_process_group()
"""


def results(folder: Path, kind: str) -> list[dict[str, Any]]:
    """What each process found, of two, or of one that is alone."""
    (folder / "ask.py").write_text(SCRIPT)
    ranks = [-1] if kind == "alone" else [0, 1]
    env = {**os.environ, "MEETING": f"{folder}/{kind}", "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "ask.py", kind],
            cwd=folder,
            env=env if rank < 0 else {**env, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ranks
    ]
    told = [one.communicate(timeout=240)[1] for one in started]
    assert all(one.returncode == 0 for one in started), told
    return [torch.load(folder / f"{kind}{rank}.pt") for rank in ranks]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    [found] = results(tmp_path_factory.mktemp("alone"), "alone")
    return found


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_both_processes_have_the_products_of_all_data(
    kind: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    first, second = results(tmp_path, kind)
    for name, value in expected.items():
        torch.testing.assert_close(first[name], value, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
    assert torch.equal(first["weights"], first["bare"])
    if kind == "fsdp2":
        assert "use a model that is not sharded" in first["refused"]
