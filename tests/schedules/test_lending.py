"""What is lent to a step, and what is recorded of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

import surefoot
from surefoot.blackbox.dispatch import Alarm
from surefoot.record.reader import RecordReader
from surefoot.schedules.lending import lend
from surefoot.schedules.stepping import steps_of


def steered(optimizer: Optimizer) -> None:
    """A factor of the rate that is decided within each step, as an autopilot does."""
    made = [1]

    def decide(*_: Any) -> None:
        made[0] += 1

    steps_of(optimizer).add(before=decide)
    lend([optimizer], lambda group, step: {"lr": group["lr"] / made[0]})


@pytest.mark.parametrize("first", ["steered", "watched"])
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*:UserWarning")
def test_the_recorded_rate_is_that_of_the_update(first: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(1, 1, bias=False)
    sgd = torch.optim.SGD(model.parameters(), lr=0.5)
    schedule = LambdaLR(sgd, lambda step: 0.8**step)
    if first == "steered":
        steered(sgd)
    moved: list[float] = []
    with surefoot.watch(model, sgd, folder=tmp_path, blackbox="10MB") as run:
        if first == "watched":
            steered(sgd)
        for _ in range(12):
            before = model.weight.item()
            loss = model(torch.ones(2, 1)).sum()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            schedule.step()
            run.step(loss)
            moved.append((before - model.weight.item()) / 2.0)
        assert run.box is not None
        incident = run.box.incident(Alarm("asked for", 5))
    assert incident is not None
    kept = [one.rates["main"][0] for one in incident.steps]
    assert run.path is not None
    with RecordReader(run.path) as reader:
        recorded = reader.series("lr").values[:, 0].tolist()
    assert moved[3] == pytest.approx(0.5 * 0.8**3 / 5, rel=1e-4)
    assert recorded == pytest.approx(moved, rel=1e-4)
    assert kept == pytest.approx(moved[-len(kept) :], rel=1e-4)
