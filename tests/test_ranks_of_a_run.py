"""Distributed runs: rank 0 speaks, nothing hangs, norms are those of one process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from on_ranks import both_ranks
from surefoot.record.folder import list_runs
from surefoot.record.reader import RecordReader

REST = """
for step in range(40):
    x, y = batch_of(step)
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
print(f"rank {rank} ended")
dist.destroy_process_group()
"""


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_two_ranks(kind: str, tmp_path: Any) -> None:
    told = both_ranks(tmp_path, REST, kind)
    assert [out for out, _ in told] == ["rank 0 ended\n", "rank 1 ended\n"], told
    assert "record:" in told[0][1]
    assert "surefoot" not in told[1][1]
    [record] = list_runs(tmp_path / "surefoot-runs")
    assert record.steps == 40
    with RecordReader(record.path) as reader:
        facts = reader.facts()["main"]
        if kind == "fsdp2":
            assert any("sharded" in sentence for sentence in facts.unseen)
            return
        found = reader.series("grad_norm")
    np.testing.assert_allclose(found.values, one_process(), rtol=1e-5)
    assert found.layers[0] == "0.weight"


def one_process() -> list[list[float]]:
    """Gradient norms of the same training in one process."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    rows: list[list[float]] = []
    for step in range(40):
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        y = torch.arange(8) % 3
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        rows.append([p.grad.norm().item() for p in model.parameters()])
        optimizer.step()
    return rows
