"""Changes to the make of a model that is wrapped: done right inside, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

from surefoot.autopilot.apply import apply_changes
from surefoot.autopilot.live import KnobError, Live
from surefoot.types import Change

CHANGES = (
    Change("init", "set", "orthogonal"),
    Change("init", "reset", "all"),
    Change("activation", "replace", "gelu"),
    Change("norm", "insert", "layer_norm"),
    Change("norm", "replace", "group"),
    Change("skip", "insert", 0.0),
)


def net() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU()
    )


def losses(model: Any, change: Change) -> list[float]:
    """Of one update before a change, two with it, one after it was undone."""
    adam = torch.optim.AdamW(model.parameters(), lr=0.01)
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    found: list[float] = []

    def update() -> None:
        loss = (model(x) - x).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        found.append(loss.item())

    update()
    undo = apply_changes([change], Live({"net": model}, [adam]), "", lambda event: None)
    update()
    update()
    undo()
    update()
    return found


def compiled(model: Any) -> Any:
    return torch.compile(model, backend="eager")


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("wrap", [nn.DataParallel, compiled], ids=["dp", "compiled"])
def test_what_is_inside_is_changed(wrap: Any, change: Change) -> None:
    assert losses(wrap(net()), change) == losses(net(), change)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process group of this process only."""
    meeting = Path(tmp_path_factory.mktemp("group")) / "meeting"
    dist.init_process_group("gloo", f"file://{meeting}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def sharded(model: Any) -> Any:
    return fully_shard(model, mesh=init_device_mesh("cpu", (1,)))


def flat(model: Any) -> Any:
    return FullyShardedDataParallel(model, device_id=torch.device("cpu"))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("wrap", [flat, sharded], ids=["fsdp", "fsdp2"])
def test_what_needs_whole_weights_is_refused(alone: None, wrap: Any) -> None:
    for change in (*CHANGES[:2], *CHANGES[3:]):
        with pytest.raises(KnobError, match=r"expected|wrap anew"):
            losses(wrap(net()), change)
    assert losses(wrap(net()), CHANGES[2]) == pytest.approx(losses(net(), CHANGES[2]))


def test_ddp_keeps_its_parameters_and_statistics(alone: None) -> None:
    for change in CHANGES[:3]:
        model = nn.parallel.DistributedDataParallel(net())
        assert losses(model, change) == pytest.approx(losses(net(), change))
    for change in CHANGES[3:]:
        with pytest.raises(KnobError, match="wrap anew"):
            losses(nn.parallel.DistributedDataParallel(net()), change)
