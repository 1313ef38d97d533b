"""Events of a stream: how the loss is wired, and updates that a scaler skips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import loops
import surefoot
from surefoot.record.reader import RecordReader


def nets() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"used": nn.Linear(5, 3), "unused": nn.Linear(5, 3)})


def wiring_of(recorded: Any, loss_of: Any, *, attached: bool) -> Any:
    """The wiring event of a short run; `loss_of` makes one loss of a model."""

    def train(tell: Any = None) -> None:
        model = nets()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run = (
            None
            if attached
            else surefoot.watch(model, optimizer, folder=recorded.folder)
        )
        for _ in range(4):
            loss = loss_of(model)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if run is not None:
                run.step(loss)
        if run is not None:
            run.close()
            readers.append(recorded.reader(run.path))

    readers: list[Any] = []
    if attached:
        readers.append(recorded.attached(train))
    else:
        train()
    events = readers[0].events("wiring")
    assert [event.step for event in events] == [0]
    return events[0].body


def double_softmax(model: nn.ModuleDict) -> torch.Tensor:
    shares = model["used"](torch.ones(6, 5)).softmax(-1)
    return functional.cross_entropy(shares, torch.arange(6) % 3)


@pytest.mark.parametrize("attached", [False, True])
def test_the_first_loss_is_followed(attached: bool, recorded: Any) -> None:
    body = wiring_of(recorded, double_softmax, attached=attached)
    assert body["heads"] == [["NllLoss", "LogSoftmax", "Softmax", "Addmm"]]
    assert body["unreached"] == ["unused.weight", "unused.bias"]
    assert body["loose"] == []
    assert body["whole"] is True


EXTRA = nn.Parameter(torch.ones(3))


@pytest.mark.parametrize("attached", [False, True])
def test_a_parameter_that_nobody_holds(attached: bool, recorded: Any) -> None:
    body = wiring_of(
        recorded,
        lambda model: (model["used"](torch.ones(6, 5)) * EXTRA).square().mean(),
        attached=attached,
    )
    assert body["loose"] == [[3]]


def test_losses_of_one_update_are_followed_together(recorded: Any) -> None:
    model = nets()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with surefoot.watch(model, optimizer, folder=recorded.folder) as run:
        for number in range(4):
            part = model["used" if number % 2 else "unused"]
            loss = part(torch.ones(6, 5)).square().mean()
            loss.backward()
            if number % 2:
                optimizer.step()
            run.step(loss)
    events = recorded.reader(run.path).events("wiring")
    assert [event.body["unreached"] for event in events] == [[]]


def test_a_loss_without_a_graph_says_nothing(recorded: Any) -> None:
    model = nets()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(number: int) -> torch.Tensor:
        loss = model["used"](torch.ones(6, 5)).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    assert recorded(model, optimizer, step).events("wiring") == []


def test_both_players_of_a_game_are_wired(recorded: Any) -> None:
    reader = recorded.attached(
        lambda: loops.gan(lambda model, optimizer: lambda _: None)
    )
    found = {event.stream: event.body for event in reader.events("wiring")}
    assert len(found) == 2
    assert all(body["loose"] == [] for body in found.values())
    assert all(body["unreached"] == [] for body in found.values())


@pytest.mark.parametrize("fused", [False, True])
def test_skipped_steps_of_any_optimizer(fused: bool, recorded: Any) -> None:
    def train() -> None:
        model = nets()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
        for _ in range(12):
            loss = 10 * double_softmax(model)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

    reader = recorded.attached(train)
    skipped = [event.step for event in reader.events("skipped_step")]
    updates = len(reader.series("grad_norm").steps)
    assert skipped
    # A fused optimizer counts the steps that it skips by itself.
    assert skipped == (list(range(len(skipped))) if fused else [0] * len(skipped))
    assert updates == (12 if fused else 12 - len(skipped))
    assert reader.events("nonfinite") == []


def test_the_mode_of_an_evaluation_is_told_once(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with surefoot.watch(model, optimizer, folder=tmp_path) as run:
        for step in range(6):
            loss = model(torch.randn(5, 4)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.step(loss)
            model.train(step < 3)
            with torch.no_grad():
                model(torch.randn(5, 4))
            model.train()
            run.log(val_loss=1.0)
        run.log(lr=0.1)
    with RecordReader(run.path) as reader:
        told = [event for event in reader.events() if event.kind == "evaluated"]
    assert [(one.step, one.body["training"]) for one in told] == [(1, True), (4, False)]
    assert told[0].body["metrics"] == ["val_loss"]
