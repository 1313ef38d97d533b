"""A model that held still is as it was, bit for bit."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

import surefoot
from surefoot.restore.still import still


class Counting(nn.Module):
    """Batch norm, dropout and a counter of its own; two buffers are one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.calls = 0
        shared = torch.zeros(3)
        self.register_buffer("first", shared)
        self.register_buffer("second", shared)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.first.add_(1)
        random.random()
        np.random.rand()
        return self.drop(self.norm(x))


@pytest.fixture
def model() -> Counting:
    torch.manual_seed(0)
    return Counting()


def _all(model: Counting) -> list[object]:
    values = [t.tolist() for t in (*model.parameters(), *model.buffers())]
    modes = [module.training for module in model.modules()]
    streams = [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()]
    return [values, modes, streams, random.getstate(), model.calls]


@pytest.mark.parametrize("training", [None, True, False])
def test_nothing_of_a_pass_remains(model: Counting, training: bool | None) -> None:
    model.norm.eval()
    before, buffers = _all(model), [id(b) for b in model.buffers()]
    with still(model, training=training):
        model(torch.randn(8, 4)).sum()
        assert model.calls == 1
        assert model.first is model.second
        assert model.first[0] == 1
    assert _all(model) == before
    assert [id(b) for b in model.buffers()] == buffers


def test_the_mode_inside_is_the_one_asked_for(model: Counting) -> None:
    model.drop.eval()
    with still(model, training=True):
        assert all(module.training for module in model.modules())
    with still(model, training=False):
        assert not any(module.training for module in model.modules())
    with still(model):
        assert model.norm.training
        assert not model.drop.training


def test_an_error_inside_leaves_nothing_either(model: Counting) -> None:
    before = _all(model)
    with pytest.raises(RuntimeError, match="mat1"), still(model):
        nn.Linear(3, 3)(model(torch.randn(8, 4)))
    assert _all(model) == before


def test_gradients_are_recorded_inside_no_grad(model: Counting) -> None:
    with torch.no_grad(), still(model):
        assert model(torch.randn(8, 4)).requires_grad


def test_a_watched_run_records_nothing_of_it(tmp_path: object) -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with surefoot.watch(model, optimizer, folder=str(tmp_path)) as run:
        hooks = len(model._forward_hooks) + len(model._forward_pre_hooks)
        assert hooks
        with still(model):
            assert not model._forward_hooks
            assert not model._forward_pre_hooks
            model(torch.ones(2, 3))
        assert len(model._forward_hooks) + len(model._forward_pre_hooks) == hooks
        assert run.last_step == 0
