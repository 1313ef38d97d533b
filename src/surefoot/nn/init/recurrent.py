"""Recurrent cells come in, with biases or weights that keep a memory they go out.

A gate that forgets multiplies the memory by σ(b) at each step, so its bias sets how
long a memory lasts: σ(b)^T of it is left after T steps. torch keeps two biases for each
gate, which add; all functions here count their sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from surefoot.nn.init.errors import InitError
from surefoot.nn.init.residual import SkipInit

LSTM_GATES = 4
"""Input, forget, cell, output, in this order: that of torch."""
GRU_GATES = 3
"""Reset, update, new. torch's update gate is the share of the old state that stays."""
KEEPS = 1
"""Place of the gate that keeps the memory, in either."""

Pair = tuple[Tensor, Tensor, int]


def retention(bias: float, steps: int = 1) -> float:
    """How much of a memory is left: σ(bias)^steps.

    >>> f"{retention(1.0, 100):.1e} {retention(math.log(99), 100):.4f}"
    '2.5e-14 0.3660'
    """
    if steps < 0:
        raise InitError(f"steps={steps} came; expected a number of steps, 0 or more")
    return (1 + math.exp(-bias)) ** -steps


@torch.no_grad()
def forget_bias_(module: nn.Module, value: float = 1.0) -> int:
    """Set what the forget gates of LSTMs and the update gates of GRUs start from.

    The sum of torch's two biases is set to `value`: the first holds it, the second is
    zero. Other gates stay.

    Args:
        module: an LSTM or GRU, a cell of one, one of this library, or a model that
            holds some; all of them are set.
        value: σ(value) of the memory stays at each step. 1 is the default of Jozefowicz
            et al. 2015; log(T - 1) keeps 1/e of it over T steps.

    Returns:
        How many biases were set: layers times directions.

    Raises:
        InitError: there is no gated cell with biases.

    >>> cell = nn.LSTMCell(3, 5)
    >>> forget_bias_(cell, 1.0)
    1
    >>> gate_bias(cell)
    [tensor([1., 1., 1., 1., 1.], grad_fn=<AddBackward0>)]
    """
    pairs = _pairs(module)
    for first, second, gates in pairs:
        _slice(first, gates, KEEPS).fill_(value)
        _slice(second, gates, KEEPS).zero_()
    return len(pairs)


@torch.no_grad()
def chrono_init_(
    module: nn.Module, t_max: float, *, generator: torch.Generator | None = None
) -> int:
    """Draw biases for memories of 2 to `t_max` steps (Tallec & Ollivier 2018).

    b_forget = log u, u uniform in [1, t_max - 1], so that σ(b) = 1 - 1/(u + 1): each
    unit has a time of its own. b_input = -b_forget for LSTMs; GRUs have one gate for
    both. Both hold for the sum of torch's two biases.

    Args:
        module: an LSTM or GRU, a cell of one, or a model that holds some.
        t_max: the longest dependence that is expected, in steps; above 2.
        generator: where the draws come from.

    Returns:
        How many biases were set: layers times directions.

    Raises:
        InitError: `t_max` is not above 2, or there is no gated cell with biases.
    """
    if not (math.isfinite(t_max) and t_max > 2):
        raise InitError(
            f"t_max={t_max!r} came; expected the longest dependence in steps, above 2"
        )
    pairs = _pairs(module)
    for first, second, gates in pairs:
        keeps = _slice(first, gates, KEEPS)
        keeps.uniform_(1.0, t_max - 1.0, generator=generator).log_()
        _slice(second, gates, KEEPS).zero_()
        if gates == LSTM_GATES:
            _slice(first, gates, 0).copy_(-keeps)
            _slice(second, gates, 0).zero_()
    return len(pairs)


def gate_bias(module: nn.Module, gate: int = KEEPS) -> list[Tensor]:
    """The biases that a gate works with: sums of torch's two, layer by layer.

    Args:
        module: as for `forget_bias_`.
        gate: 0 input, 1 forget, 2 cell, 3 output of an LSTM; 0 reset, 1 update, 2 new
            of a GRU.
    """
    return [
        _slice(first, gates, gate) + _slice(second, gates, gate)
        for first, second, gates in _pairs(module)
    ]


@torch.no_grad()
def identity_recurrence_(module: nn.Module, scale: float = 1.0) -> int:
    """Let plain recurrent layers start as h + W x: W_hh = scale·I, biases zero.

    With ReLU this is the IRNN of Le et al. 2015. Gated cells are left as they are.

    Returns:
        How many matrices were set.

    Raises:
        InitError: there is no `nn.RNN` and no `nn.RNNCell`.
    """
    plain = [m for m in module.modules() if isinstance(m, nn.RNN | nn.RNNCell)]
    if not plain:
        raise InitError(
            f"{type(module).__name__} came; expected an nn.RNN or nn.RNNCell, or a "
            "model that holds one; for LSTMs and GRUs use forget_bias_ or chrono_init_"
        )
    count = 0
    for one in plain:
        for name, weight in one.named_parameters(recurse=False):
            if name.startswith("weight_hh"):
                nn.init.eye_(weight).mul_(scale)
                count += 1
            elif name.startswith("bias"):
                weight.zero_()
    return count


class ResidualCell(nn.Module):
    """A recurrent cell around which the state passes: h' = h + g·cell(x, h).

    The Jacobian over a step is I + g·J, so that memories and gradients pass through
    long sequences; g starts at zero and is learned, as in ReZero (Bachlechner 2021):
    at first the state is kept bit for bit.

    Args:
        cell: maps x `[N, inputs]` and h `[N, hidden]` to `[N, hidden]`, such as
            `nn.RNNCell` or `nn.GRUCell`.
        gate: where g starts.

    Raises:
        InitError: an LSTM cell came.

    Shapes: x `[N, inputs]`, h `[N, hidden]` (zeros if not given) to `[N, hidden]`.

    >>> cell = ResidualCell(nn.RNNCell(3, 5))
    >>> state = torch.ones(2, 5)
    >>> bool((cell(torch.randn(2, 3), state) == state).all())
    True
    """

    def __init__(self, cell: nn.Module, gate: float = 0.0) -> None:
        super().__init__()
        if isinstance(cell, nn.LSTMCell):
            raise InitError(
                "an LSTMCell came, whose memory has a path of its own; expected a cell "
                "with one state, such as nn.RNNCell, or forget_bias_ for the LSTM"
            )
        self.cell = cell
        weight = next(cell.parameters(), None)
        device, dtype = (
            (None, None) if weight is None else (weight.device, weight.dtype)
        )
        self.gate = SkipInit(gate, device=device, dtype=dtype)

    def forward(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        """The next state."""
        if state is None:
            new = self.gate(self.cell(x))
            return new
        return state + self.gate(self.cell(x, state))

    def reset_parameters(self) -> None:
        """Draw the cell anew, and put the gate back to where it started."""
        reset = getattr(self.cell, "reset_parameters", None)
        if reset is None:
            raise InitError(
                f"{type(self.cell).__name__} has no reset_parameters(); expected a "
                "cell that has"
            )
        reset()
        self.gate.reset_parameters()


def _pairs(module: nn.Module) -> list[Pair]:
    """Both biases of each gated layer and direction, and how many gates they hold."""
    found = [pair for one in module.modules() for pair in _own_pairs(one)]
    if not found:
        raise InitError(
            f"{type(module).__name__} came without the biases of gates; expected an "
            "LSTM or GRU, or a cell of one, with bias=True"
        )
    return found


def _own_pairs(module: nn.Module) -> Iterator[Pair]:
    """By the names of torch, which cells of this library share."""
    own = dict(module.named_parameters(recurse=False))
    for name, first in own.items():
        second = own.get(name.replace("bias_ih", "bias_hh"))
        matrix = own.get(name.replace("bias_ih", "weight_hh"))
        if not name.startswith("bias_ih") or second is None or matrix is None:
            continue
        gates = _gates(module, first, matrix)
        if gates:
            yield first, second, gates


def _gates(module: nn.Module, bias: Tensor, matrix: Tensor) -> int:
    """4 for an LSTM, 3 for a GRU, 0 for anything else."""
    hidden = getattr(module, "hidden_size", matrix.shape[1])
    gates, rest = divmod(len(bias), hidden)
    return gates if not rest and gates in (LSTM_GATES, GRU_GATES) else 0


def _slice(bias: Tensor, gates: int, place: int) -> Tensor:
    size = len(bias) // gates
    return bias[place * size : (place + 1) * size]
