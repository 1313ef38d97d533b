"""What a regulariser or a normaliser costs: time, memory and state, by difference."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from surefoot.nn.regularize import OrthogonalProjection, cost_of, soft_orthogonality
from surefoot.schedules import after_step


def toy() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64))


BATCH = torch.ones(4, 64)


def loss_fn(model: nn.Module, batch: Tensor) -> Tensor:
    return model(batch).square().mean()


def cost(change: Any, **how: Any) -> Any:
    return cost_of(change, toy(), batch=BATCH, loss_fn=loss_fn, **how)


def test_a_projection_takes_time_and_keeps_no_state() -> None:
    found = cost(
        lambda model, sgd: after_step(sgd, OrthogonalProjection(model)) and None
    )
    assert found.seconds > 0
    assert found.plain_seconds > 0
    assert found.share == found.seconds / found.plain_seconds
    assert found.state_bytes == 0
    assert found.state == {}


def test_spectral_norm_keeps_two_vectors() -> None:
    def change(model: Any, optimizer: Any) -> None:
        spectral_norm(model[0])

    found = cost(change, updates=3)
    assert sorted(found.state.values()) == [(64,), (64,)]
    assert found.state_bytes == 2 * 64 * 4


def test_a_penalty_holds_its_gram_matrix_at_the_highest_point() -> None:
    def change(model: Any, optimizer: Any) -> Any:
        return lambda m, batch: loss_fn(m, batch) + soft_orthogonality(m[0].weight)

    found = cost(change, updates=3)
    assert found.peak_bytes >= 64 * 64 * 4
    assert found.state_bytes == 0


def test_memory_of_what_is_let_go_is_not_counted_twice() -> None:
    def wasteful(rounds: int) -> Any:
        def loss(model: nn.Module, batch: Tensor) -> Tensor:
            with torch.no_grad():
                for _ in range(rounds):
                    torch.zeros(100_000)
            return loss_fn(model, batch)

        return lambda model, optimizer: loss

    peaks = [cost(wasteful(rounds), updates=1).peak_bytes for rounds in (1, 5)]
    assert peaks[0] == peaks[1]
    assert 0 < peaks[0] <= 400_000


def test_another_normaliser_may_keep_less() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64))

    def change(model: Any, optimizer: Any) -> None:
        model[1] = nn.LayerNorm(64)

    found = cost_of(change, model, batch=BATCH, loss_fn=loss_fn, updates=2)
    assert found.state_bytes == -(2 * 64 * 4 + 8)
    assert found.state == {}


def test_nothing_of_the_measurement_remains() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.5), nn.BatchNorm1d(64)).eval()
    before = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    cost_of(lambda m, o: None, model, batch=BATCH, loss_fn=loss_fn, updates=2)
    assert torch.equal(torch.get_rng_state(), random)
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(weight.grad is None for weight in model.parameters())


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="updates=0"):
        cost(lambda m, o: None, updates=0)
    with pytest.raises(ValueError, match="a model with parameters"):
        cost_of(lambda m, o: None, nn.Tanh(), batch=BATCH, loss_fn=loss_fn)
