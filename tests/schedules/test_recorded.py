"""What follows a schedule stands in the record of a watched run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import surefoot
from surefoot.schedules import BackOffLR, Linear, Vary, after_step


def test_values_and_changes_of_rates_are_recorded_with_their_steps(
    tmp_path: Path,
) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.0), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with surefoot.watch(model, optimizer, folder=tmp_path) as run:
        schedule = Linear(0.0, 0.5, steps=10)
        vary = Vary(model[1], "p", schedule=schedule)
        after_step(optimizer, vary, every=2, name="drop", tell=run.event)
        rates = BackOffLR(optimizer, patience=1, tell=run.event)
        for _ in range(6):
            optimizer.zero_grad()
            loss = model(torch.ones(8, 4)).square().mean()
            loss.backward()
            optimizer.step()
            run.step(loss)
            rates.step(1.0)
    (path,) = tmp_path.glob("*.surefoot")
    with surefoot.RecordReader(path) as record:
        events = record.events()
    drops = [event for event in events if event.kind == "post_step"]
    assert [event.step for event in drops] == [2, 4, 6]
    told = [event.body["p"] for event in drops]
    assert told == pytest.approx([0.1, 0.2, 0.3])
    cuts = [event.body for event in events if event.kind == "learning_rate"]
    assert [body["after"] for body in cuts] == [[0.05], [0.025]]
