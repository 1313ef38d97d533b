"""A learning rate range test: where updates begin to hurt, and nothing left behind."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from surefoot.restore.snapshot import Snapshot
from surefoot.schedules import (
    Geometric,
    Linear,
    RangeTest,
    ScheduledLR,
    ScheduleError,
    after_step,
    lr_range_test,
    lr_sensitivity,
)

RATES = Geometric(0.01, 1.0, steps=100).values(101)
ONE_STEP = RATES[1] / RATES[0]


def bowl(model: nn.Module, batch: Any) -> torch.Tensor:
    """A quadratic with curvature 10 along every weight."""
    return 5 * sum((w.square().sum() for w in model.parameters()), torch.zeros(()))


def net() -> tuple[nn.Module, torch.optim.Optimizer, list[Any]]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 16),
        nn.BatchNorm1d(16),
        nn.Dropout(0.2),
        nn.ReLU(),
        nn.Linear(16, 1),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = [(torch.randn(32, 6), torch.randn(32, 1)) for _ in range(4)]
    return model, optimizer, batches


def mse(model: nn.Module, batch: Any) -> torch.Tensor:
    return nn.functional.mse_loss(model(batch[0]), batch[1])


# --- the edge --------------------------------------------------------------------


@pytest.mark.parametrize("updates", [None, 1, 5])
def test_the_edge_of_a_quadratic_with_curvature_10_is_a_fifth(
    updates: int | None,
) -> None:
    model = nn.Linear(3, 2).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = lr_range_test(
        model, optimizer, [None], loss_fn=bowl, rates=RATES, updates=updates
    )
    assert 0.2 / ONE_STEP <= found.edge <= 0.2 * ONE_STEP


def test_the_edge_of_momentum_lies_higher() -> None:
    """2(1 + β)/h for heavy-ball momentum, in the long run."""
    model = nn.Linear(3, 2).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    found = lr_range_test(
        model, optimizer, [None], loss_fn=bowl, rates=RATES[66:84], updates=60
    )
    assert found.edge == pytest.approx(0.3, rel=2 * (ONE_STEP - 1))


def test_no_edge_is_told_where_no_update_hurts() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = lr_range_test(
        model, optimizer, [None], loss_fn=bowl, rates=RATES[:30], updates=2
    )
    assert found.edge == math.inf
    assert "from inf on" in str(found)


def test_a_sweep_of_a_net_ends_where_it_blows_up() -> None:
    model, _, batches = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    rates = Geometric(1e-4, 1e3, steps=60).values(61)
    found = lr_range_test(model, optimizer, batches, loss_fn=mse, rates=rates)
    assert len(found.rates) == len(found.losses) == len(found.after) < 61
    assert 1e-2 < found.edge < 1e2
    assert min(found.losses) < found.losses[0]
    assert found == lr_range_test(model, optimizer, batches, loss_fn=mse, rates=rates)


def test_groups_keep_their_ratio() -> None:
    weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    model = nn.ParameterList(weights)
    groups = [{"params": weights[:1]}, {"params": weights[1:], "lr": 0.01}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    seen: list[tuple[float, float]] = []

    def watching(model: nn.Module, _: Any) -> torch.Tensor:
        seen.append(tuple(group["lr"] for group in optimizer.param_groups))
        return bowl(model, None)

    lr_range_test(model, optimizer, [None], loss_fn=watching, rates=RATES, updates=1)
    assert all(second == pytest.approx(first / 10) for first, second in seen)


# --- what it leaves behind -------------------------------------------------------


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    """All that training depends on, as bytes and plain values."""
    tensors = [*model.state_dict().values(), *(w.grad for w in model.parameters())]
    held = [v for state in optimizer.state.values() for v in state.values()]
    groups = [
        {k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups
    ]
    return [
        *(None if t is None else t.numpy().tobytes() for t in (*tensors, *held)),
        repr(groups),
        torch.get_rng_state().numpy().tobytes(),
        repr(np.random.get_state()),
        random.getstate(),
        [module.training for module in model.modules()],
    ]


@pytest.mark.parametrize("updates", [None, 2])
@pytest.mark.parametrize("trained", [False, True])
def test_everything_is_put_back_byte_for_byte(
    trained: bool, updates: int | None
) -> None:
    model, optimizer, batches = net()
    if trained:
        mse(model, batches[0]).backward()
        optimizer.step()
    before = everything(model, optimizer)
    found = lr_range_test(
        model, optimizer, batches, loss_fn=mse, rates=RATES, updates=updates
    )
    assert isinstance(found, RangeTest)
    assert everything(model, optimizer) == before


def test_a_loader_that_shuffles_leaves_the_random_streams_as_they_were() -> None:
    model, optimizer, batches = net()
    loader = DataLoader(TensorDataset(*batches[0]), batch_size=16, shuffle=True)
    before = everything(model, optimizer)
    lr_range_test(model, optimizer, loader, loss_fn=mse, rates=RATES)
    assert everything(model, optimizer) == before


def test_everything_is_put_back_when_the_loss_raises() -> None:
    model, optimizer, batches = net()
    before = everything(model, optimizer)
    calls = iter(range(100))

    def failing(model: nn.Module, batch: Any) -> torch.Tensor:
        if next(calls) == 7:
            raise RuntimeError("the disk is gone")
        return mse(model, batch)

    with pytest.raises(RuntimeError, match="disk"):
        lr_range_test(model, optimizer, batches, loss_fn=failing, rates=RATES)
    assert everything(model, optimizer) == before


def test_nothing_that_is_registered_hears_of_its_updates() -> None:
    model, optimizer, batches = net()
    scheduler = ScheduledLR(optimizer, Linear(1.0, 0.0, steps=10))
    handle = after_step(optimizer, lambda step: {"step": step}, name="count")
    lr_range_test(model, optimizer, batches, loss_fn=mse, rates=RATES)
    assert (handle.step, len(handle.log), scheduler.last_epoch) == (0, 0, 0)
    mse(model, batches[0]).backward()
    optimizer.step()
    assert handle.step == 1


def test_training_goes_on_as_if_it_had_not_been() -> None:
    ends = []
    for tested in (False, True):
        model, optimizer, batches = net()
        for step, batch in enumerate(batches * 2):
            optimizer.zero_grad()
            mse(model, batch).backward()
            optimizer.step()
            if tested and step == 3:
                lr_range_test(model, optimizer, batches, loss_fn=mse, rates=RATES)
        ends.append(everything(model, optimizer))
    assert ends[0] == ends[1]


# --- what is refused -------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"rates": [0.1]}, "two or more"),
        ({"rates": [0.1, 0.1]}, "rise"),
        ({"rates": [0.0, 0.1]}, "positive"),
        ({"updates": 0}, "1 or more, or None"),
        ({"batches": []}, "no batch"),
        ({"loss_fn": lambda model, batch: model(batch[0])}, "one element"),
        ({"loss_fn": lambda model, batch: mse(model, batch) * math.nan}, "first loss"),
    ],
)
def test_what_cannot_be_tested_is_refused(given: dict[str, Any], told: str) -> None:
    model, optimizer, batches = net()
    before = everything(model, optimizer)
    given = {"loss_fn": mse, "rates": RATES, "batches": batches} | given
    with pytest.raises(ScheduleError, match=told):
        lr_range_test(model, optimizer, given.pop("batches"), **given)
    assert everything(model, optimizer) == before


def test_a_first_group_without_a_rate_is_refused() -> None:
    model, optimizer, batches = net()
    optimizer.param_groups[0]["lr"] = 0.0
    with pytest.raises(ScheduleError, match="the rate 0"):
        lr_range_test(model, optimizer, batches, loss_fn=mse, rates=RATES)
    assert Snapshot(model, optimizer, None)


# --- sensitivity -----------------------------------------------------------------


def test_the_sensitivity_is_the_mean_loss_above_the_best() -> None:
    assert lr_sensitivity([1.0, 1.0, 1.0], start=2.0) == 0.0
    assert lr_sensitivity([2.0, 1.0, 1.5], start=3.0) == pytest.approx(0.5)
    assert lr_sensitivity([1.0, 99.0, math.inf, math.nan], start=3.0) == 1.5
    with pytest.raises(ScheduleError):
        lr_sensitivity([], start=1.0)
    with pytest.raises(ScheduleError):
        lr_sensitivity([1.0], start=math.nan)


def test_clipping_makes_training_less_sensitive_to_its_rate() -> None:
    """Wortsman et al. use it to rank such interventions."""

    def end(rate: float, most: float) -> float:
        x = 3.0
        for _ in range(100):
            x -= rate * max(-most, min(most, x**3))
            if abs(x) > 1e6:
                return math.inf
        return x**4 / 4

    rates = [0.05 * 3**k for k in range(4)]
    plain = lr_sensitivity([end(rate, math.inf) for rate in rates], start=3**4 / 4)
    clipped = lr_sensitivity([end(rate, 1.0) for rate in rates], start=3**4 / 4)
    assert clipped < 0.1 < 10 < plain
