"""Knobs that mend what a script forgot: carried out, and undone bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surefoot.autopilot.apply import apply_changes
from surefoot.autopilot.live import KnobError, Live
from surefoot.types import Change


def net() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.9), nn.Linear(8, 2)
    )


def applied(model: nn.Module, optimizer: Any, change: Change) -> Callable[[], None]:
    live = Live({"model": model}, [optimizer])
    return apply_changes((change,), live, "a test", lambda event: None)


def bits(model: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


CHANGES = (
    Change("norm", "replace", "group"),
    Change("norm.momentum", "set", 0.5),
    Change("init", "reset", "own"),
    Change("mode", "set", "train"),
)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_undone_it_has_never_been(change: Change) -> None:
    models = net(), net()
    outputs: list[Tensor] = []
    for place, model in enumerate(models):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        if place:
            applied(model, optimizer, change)()
        torch.manual_seed(1)
        outputs.append(model(torch.randn(16, 4)).detach())
    assert torch.equal(*outputs)
    assert all(map(torch.equal, bits(models[0]), bits(models[1])))


def test_parameters_that_nobody_holds_are_trained_from_then_on() -> None:
    model = net()
    optimizer = torch.optim.Adam(model[0].parameters(), lr=0.1)
    undo = applied(model, optimizer, Change("parameters", "register", "all"))
    before = model[4].weight.clone()
    model(torch.randn(16, 4)).square().mean().backward()
    optimizer.step()
    assert not torch.equal(before, model[4].weight)
    assert len(optimizer.param_groups) == 1
    undo()
    assert len(optimizer.param_groups[0]["params"]) == 2
    assert len(optimizer.state) == 2


def test_what_rests_on_purpose_is_not_registered() -> None:
    model = net()
    model[4].requires_grad_(False)
    held = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(held, lr=0.1)
    with pytest.raises(KnobError, match="holds all that is trainable"):
        applied(model, optimizer, Change("parameters", "register", "all"))


def test_a_model_is_trained_in_training_mode_and_evaluated_as_it_was() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.eval()
    undo = applied(model, optimizer, Change("mode", "set", "train"))
    with torch.no_grad():
        model(torch.randn(4, 4))
    assert not model.training
    model(torch.randn(4, 4))
    assert model.training
    undo()
    assert not model.training


def test_norms_that_rest_on_purpose_go_on_resting() -> None:
    model = net()
    model[1].eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    applied(model, optimizer, Change("mode", "set", "train"))
    model(torch.randn(4, 4))
    assert not model[1].training


def test_a_new_start_is_torchs_own_and_draws_nothing_from_the_run() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with torch.no_grad():
        model[0].weight.mul_(1e4)
    stream = torch.get_rng_state()
    applied(model, optimizer, Change("init", "reset", "own"))
    assert float(model[0].weight.detach().abs().max()) <= 0.5
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change("norm.momentum", "set", 0.0), "expected a share above 0"),
        (Change("norm", "replace", "nonsense"), "nonsense"),
    ],
)
def test_bad_amounts_are_refused(change: Change, words: str) -> None:
    model = net()
    with pytest.raises(KnobError, match=words):
        applied(model, torch.optim.SGD(model.parameters(), lr=0.1), change)


@pytest.mark.parametrize(
    "change",
    [
        Change("norm.momentum", "set", 0.1),
        Change("norm", "replace", "group"),
    ],
    ids=str,
)
def test_a_model_without_such_modules_is_told(change: Change) -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(KnobError, match="choose another remedy"):
        applied(model, torch.optim.SGD(model.parameters(), lr=0.1), change)
