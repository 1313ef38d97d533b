"""Biases of gates keep memories as long as they say, through both of torch's biases."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import nn

from conventions import keeps_conventions
from surefoot.nn.init import (
    InitError,
    ResidualCell,
    chrono_init_,
    forget_bias_,
    gate_bias,
    identity_recurrence_,
    retention,
)


def _memory_left(bias: float, steps: int) -> float:
    """The cell state of an LSTM whose weights are zero, after so many steps."""
    cell = nn.LSTMCell(1, 1).double()
    with torch.no_grad():
        for weight in cell.parameters():
            weight.zero_()
    forget_bias_(cell, bias)
    state = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    for _ in range(steps):
        state = cell(torch.zeros(1, 1).double(), state)
    return state[1].item()


def test_retention_over_100_steps_is_2_5e_14_with_bias_one() -> None:
    assert _memory_left(1.0, 100) == pytest.approx(2.5e-14, rel=0.02)
    assert retention(1.0, 100) == pytest.approx(_memory_left(1.0, 100), rel=1e-9)


def test_retention_over_100_steps_is_0_3660_with_bias_ln_99() -> None:
    assert _memory_left(math.log(99), 100) == pytest.approx(0.3660, abs=5e-5)
    assert retention(math.log(99), 100) == pytest.approx(0.99**100, rel=1e-12)


def test_the_effective_bias_is_the_sum_of_both_torch_biases() -> None:
    cell = nn.LSTMCell(3, 5)
    others = [gate_bias(cell, gate)[0].detach() for gate in (0, 2, 3)]
    assert forget_bias_(cell, 1.5) == 1
    assert torch.equal(cell.bias_ih[5:10] + cell.bias_hh[5:10], torch.full((5,), 1.5))
    assert torch.equal(gate_bias(cell)[0], torch.full((5,), 1.5))
    after = [gate_bias(cell, gate)[0] for gate in (0, 2, 3)]
    assert all(torch.equal(one, two) for one, two in zip(others, after, strict=True))


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True), 4),
        (lambda: nn.LSTM(3, 4, proj_size=2), 1),
        (lambda: nn.GRU(3, 4, num_layers=2), 2),
        (lambda: nn.GRUCell(3, 4), 1),
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.LSTM(3, 4)), 1),
    ],
)
def test_every_layer_and_direction_is_set(make, count: int) -> None:
    model = make()
    assert forget_bias_(model, 2.0) == count
    assert [bias.tolist() for bias in gate_bias(model)] == [[2.0] * 4] * count


def test_a_gru_keeps_its_state_by_the_update_gate() -> None:
    torch.manual_seed(0)
    cell = nn.GRUCell(2, 3)
    forget_bias_(cell, 40.0)
    state = torch.randn(4, 3)
    torch.testing.assert_close(cell(torch.randn(4, 2), state), state)


@given(t_max=some.floats(2.5, 1e4), seed=some.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_chrono_biases_are_logs_of_times_up_to_t_max(t_max: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    cell = nn.LSTMCell(2, 64)
    assert chrono_init_(cell, t_max, generator=generator) == 1
    times = gate_bias(cell)[0].exp()
    assert times.min() >= 1 - 1e-4
    assert times.max() <= (t_max - 1) * (1 + 1e-4)
    assert torch.equal(gate_bias(cell, 0)[0], -gate_bias(cell)[0])


def test_chrono_times_are_uniform_and_of_the_generator() -> None:
    gru = nn.GRUCell(2, 4000)
    reset = gate_bias(gru, 0)[0].detach()
    chrono_init_(gru, 101.0, generator=torch.Generator().manual_seed(0))
    times = gate_bias(gru)[0].exp()
    assert times.mean().item() == pytest.approx(50.5, rel=0.03)
    assert times.std().item() == pytest.approx(99 / 12**0.5, rel=0.03)
    assert torch.equal(gate_bias(gru, 0)[0], reset)
    again = nn.GRUCell(2, 4000)
    chrono_init_(again, 101.0, generator=torch.Generator().manual_seed(0))
    assert torch.equal(gate_bias(again)[0], gate_bias(gru)[0])


def test_an_identity_recurrence_adds_its_inputs_up() -> None:
    torch.manual_seed(0)
    rnn = nn.RNN(3, 4, nonlinearity="relu", bias=True)
    assert identity_recurrence_(rnn) == 1
    first = torch.rand(1, 4)
    quiet = torch.zeros(50, 1, 3)
    _, last = rnn(quiet, first[None])
    assert torch.equal(last[0], first)
    assert identity_recurrence_(nn.RNN(3, 4, num_layers=2), 0.5) == 2


def test_a_residual_cell_has_jacobian_one_plus_gate_times_its_own() -> None:
    torch.manual_seed(0)
    cell = ResidualCell(nn.RNNCell(2, 3).double(), gate=0.5)
    x, state = torch.randn(1, 2).double(), torch.randn(1, 3).double()
    whole = torch.autograd.functional.jacobian(lambda h: cell(x, h)[0], state)[:, 0]
    own = torch.autograd.functional.jacobian(lambda h: cell.cell(x, h)[0], state)[:, 0]
    torch.testing.assert_close(whole, torch.eye(3).double() + 0.5 * own)
    assert torch.autograd.gradcheck(cell, (x.requires_grad_(), state.requires_grad_()))


def test_a_residual_cell_keeps_its_state_for_ever_at_gate_zero() -> None:
    torch.manual_seed(0)
    cell = ResidualCell(nn.GRUCell(2, 3))
    state = first = torch.randn(4, 3)
    for _ in range(100):
        state = cell(torch.randn(4, 2), state)
    assert torch.equal(state, first)
    assert not cell(torch.randn(4, 2)).any()
    cell.reset_parameters()
    assert cell.gate.gate.item() == 0.0


def test_conventions_of_a_residual_cell() -> None:
    torch.manual_seed(0)
    keeps_conventions(
        lambda: ResidualCell(nn.RNNCell(2, 3), 0.3), torch.randn(4, 2), torch.ones(4, 3)
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: forget_bias_(nn.Linear(3, 3)), "without the biases of gates"),
        (lambda: forget_bias_(nn.LSTM(3, 3, bias=False)), "bias=True"),
        (lambda: forget_bias_(nn.RNN(3, 3)), "expected an LSTM or GRU"),
        (lambda: chrono_init_(nn.LSTM(3, 3), 2.0), "t_max=2.0 came"),
        (lambda: chrono_init_(nn.LSTM(3, 3), math.nan), "t_max=nan came"),
        (lambda: identity_recurrence_(nn.LSTM(3, 3)), "use forget_bias_"),
        (lambda: ResidualCell(nn.LSTMCell(3, 3)), "a path of its own"),
        (lambda: retention(1.0, -1), "steps=-1 came"),
    ],
)
def test_what_cannot_be_is_refused(wrong, message: str) -> None:
    with pytest.raises(InitError, match=message):
        wrong()
