"""After a check everything is as before, bit for bit: also when it fails half-way."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import surefoot
from preflight_setups import Setup, clusters, cross_entropy, mlp
from surefoot.record.reader import RecordReader


class Counting(nn.Module):
    """Keeps a counter, a buffer that it replaces, and draws from three generators."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(16, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.3)
        )
        self.head = nn.Linear(24, 5)
        self.calls = 0
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.seen = self.seen + len(x)
        noise = 1e-3 * (random.random() + np.random.rand())
        return self.head(self.net(x)) + noise


def state(model: Any, optimizer: Any, batch: Any) -> list[Any]:
    """All that could change, as values that can be compared."""
    streams = [torch.get_rng_state(), np.random.get_state()[1], random.getstate()]
    grads = [None if w.grad is None else w.grad.clone() for w in model.parameters()]
    modes = [module.training for module in model.modules()]
    plain = copy.deepcopy((model.state_dict(), optimizer.state_dict(), batch))
    return [*streams, grads, modes, plain, getattr(model, "calls", 0)]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return bool((a == b).all())
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


OPTIMIZERS = [
    lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9),
    lambda w: torch.optim.AdamW(w, lr=1e-3),
    lambda w: torch.optim.Adam(w, lr=torch.tensor(1e-3), amsgrad=True),
    lambda w: torch.optim.RMSprop(w, lr=1e-3, centered=True),
    lambda w: torch.optim.Rprop(w, lr=1e-3),
]


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("make", OPTIMIZERS)
def test_everything_is_as_before(make: Any, steps: int) -> None:
    model, batch = Counting(), clusters()
    optimizer = make(model.parameters())
    for _ in range(steps):
        cross_entropy(model, batch).backward()
        optimizer.step()
    before = state(model, optimizer, batch)
    identities = [id(w.grad) for w in model.parameters()]
    report = surefoot.check(model, batch, loss_fn=cross_entropy, optimizer=optimizer)
    assert report.facts is not None
    fitted = report.facts["loss of one batch after trial updates"]
    assert fitted < report.facts["first loss"]
    assert same(before, state(model, optimizer, batch))
    assert identities == [id(w.grad) for w in model.parameters()]


def test_training_goes_on_as_if_nothing_had_been() -> None:
    def trained(*, checked: bool) -> dict[str, Any]:
        torch.manual_seed(3)
        random.seed(3)
        np.random.seed(3)
        model, batch = Counting(), clusters()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for step in range(6):
            if checked and step in (0, 3):
                surefoot.check(model, batch, loss_fn=cross_entropy, optimizer=optimizer)
            optimizer.zero_grad()
            cross_entropy(model, batch).backward()
            optimizer.step()
        return model.state_dict()

    assert same(trained(checked=False), trained(checked=True))


@pytest.mark.parametrize("failing", [0, 1, 2, 10, 40])
def test_everything_is_as_before_when_the_loss_fails(failing: int) -> None:
    model, batch, calls = Counting(), (*clusters(), torch.zeros(3)), [0]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def fails(net: nn.Module, given: Any) -> torch.Tensor:
        calls[0] += 1
        loss = cross_entropy(net, given)
        given[2].add_(1.0)
        net.eval()
        if calls[0] > failing:
            raise RuntimeError("planted")
        return loss

    before = state(model, optimizer, batch)
    with pytest.raises(RuntimeError, match="planted"):
        surefoot.check(model, batch, loss_fn=fails, optimizer=optimizer)
    assert same(before, state(model, optimizer, batch))


def test_the_check_of_a_watched_run_is_not_in_its_record(tmp_path: Path) -> None:
    setup = Setup(mlp(), clusters())
    assert setup.optimizer is not None
    with surefoot.watch(setup.model, setup.optimizer, folder=tmp_path) as run:
        report = run.preflight(setup.batch, cross_entropy)
        for _ in range(4):
            setup.optimizer.zero_grad()
            loss = cross_entropy(setup.model, setup.batch)
            loss.backward()
            setup.optimizer.step()
            run.step(loss)
    assert report.ok
    assert run.path is not None
    with RecordReader(run.path) as reader:
        assert reader.series("loss").steps.tolist() == [0, 1, 2, 3]
        assert reader.series("grad_norm").steps.tolist() == [0, 1, 2, 3]


def test_a_loss_that_is_no_scalar_is_refused_with_what_to_do() -> None:
    setup = Setup(mlp(), clusters(), loss_fn=lambda model, batch: model(batch[0]))
    with pytest.raises(ValueError, match=r"expected a tensor with one element; reduce"):
        setup.report()
