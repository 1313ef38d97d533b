"""Weights, an input and a state of a recurrent cell come in, the next state goes out.

What depends on the input alone is one product for all time steps (`projected`); what
depends on the state is done step by step.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

EPS = 1e-5
"""As in torch's LayerNorm."""

State = tuple[Tensor, ...]
"""Hidden and cell state of an LSTM, the hidden state of a GRU; `[..., hidden]` each."""


class RecurrentWeights(NamedTuple):
    """What a cell computes with, in torch's names and layout.

    Gates are stacked as in torch: input, forget, cell, output for an LSTM; reset,
    update, new for a GRU. The gains are those of the norms; None leaves a norm out.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None = None
    bias_hh: Tensor | None = None
    gain_ih: Tensor | None = None
    gain_hh: Tensor | None = None
    gain_cell: Tensor | None = None
    bias_cell: Tensor | None = None


def layer_norm_lstm_cell(
    input: Tensor, state: State, weights: RecurrentWeights, *, eps: float = EPS
) -> State:
    """One step of an LSTM whose products and cell state are layer-normalised.

    gates = LN(W_ih x) + LN(W_hh h) + b_ih + b_hh; c' = σ(f)·c + σ(i)·tanh(g);
    h' = σ(o)·tanh(LN(c')) (Ba, Kiros & Hinton 2016, arXiv:1607.06450, equations 20 to
    22). Without gains it is `torch.nn.LSTMCell`.

    Args:
        input: `[..., input_size]`.
        state: hidden and cell state, `[..., hidden_size]` each.
        weights: `[4·hidden_size, ...]` each, those of the cell `[hidden_size]`.
        eps: added to the variances.
    """
    projected = lstm_projected(input, weights, eps=eps)
    return lstm_step(projected, state, weights, eps=eps)


def layer_norm_gru_cell(
    input: Tensor, state: Tensor, weights: RecurrentWeights, *, eps: float = EPS
) -> Tensor:
    """One step of a GRU whose products are layer-normalised.

    r, z = σ(LN(W_ih x) + b_ih + LN(W_hh h) + b_hh), n = tanh(LN(W_in x) + b_in +
    r·(LN(W_hn h) + b_hn)), h' = (1 - z)·n + z·h. Reset and update gates are normalised
    together, the new state for itself (Ba, Kiros & Hinton 2016, equations 26 to 28).
    Without gains it is `torch.nn.GRUCell`.

    Args:
        input: `[..., input_size]`.
        state: `[..., hidden_size]`.
        weights: `[3·hidden_size, ...]` each.
        eps: added to the variances.
    """
    projected = gru_projected(input, weights, eps=eps)
    return gru_step(projected, (state,), weights, eps=eps)[0]


def lstm_projected(input: Tensor, weights: RecurrentWeights, *, eps: float) -> Tensor:
    """What the input adds to the gates, both biases included; `[..., 4·hidden]`."""
    bias = both_biases(weights)
    if weights.gain_ih is None:
        return functional.linear(input, weights.weight_ih, bias)
    raw = functional.linear(input, weights.weight_ih)
    return functional.layer_norm(raw, raw.shape[-1:], weights.gain_ih, bias, eps)


def both_biases(weights: RecurrentWeights) -> Tensor | None:
    """Their sum: in an LSTM they always add."""
    if weights.bias_ih is None or weights.bias_hh is None:
        return None
    return weights.bias_ih + weights.bias_hh


def lstm_step(
    projected: Tensor, state: State, weights: RecurrentWeights, *, eps: float
) -> State:
    """The next hidden and cell state."""
    hidden, cell = state
    recurrent = functional.linear(hidden, weights.weight_hh)
    if weights.gain_hh is not None:
        size = recurrent.shape[-1:]
        recurrent = functional.layer_norm(recurrent, size, weights.gain_hh, None, eps)
    cell, output = lstm_update(projected + recurrent, cell)
    shown = cell
    if weights.gain_cell is not None:
        gain, bias = weights.gain_cell, weights.bias_cell
        shown = functional.layer_norm(cell, cell.shape[-1:], gain, bias, eps)
    return output * shown.tanh(), cell


def lstm_update(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The next cell state, and the opened output gate."""
    enter, forget, new, output = gates.chunk(4, -1)
    kept = forget.sigmoid() * cell
    cell = torch.addcmul(kept, enter.sigmoid().to(kept), new.tanh().to(kept))
    return cell, output.sigmoid()


def gru_projected(input: Tensor, weights: RecurrentWeights, *, eps: float) -> Tensor:
    """What the input adds to the gates; `[..., 3·hidden]`."""
    return _gru_product(
        input, weights.weight_ih, weights.gain_ih, weights.bias_ih, eps=eps
    )


def gru_step(
    projected: Tensor, state: State, weights: RecurrentWeights, *, eps: float
) -> State:
    """The next hidden state."""
    (hidden,) = state
    recurrent = _gru_product(
        hidden, weights.weight_hh, weights.gain_hh, weights.bias_hh, eps=eps
    )
    size = hidden.shape[-1]
    gates = (projected[..., : 2 * size] + recurrent[..., : 2 * size]).sigmoid()
    reset, update = gates.chunk(2, -1)
    new = (projected[..., 2 * size :] + reset * recurrent[..., 2 * size :]).tanh()
    return (new + update * (hidden - new),)


def _gru_product(
    values: Tensor,
    weight: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    *,
    eps: float,
) -> Tensor:
    if gain is None:
        return functional.linear(values, weight, bias)
    raw = functional.linear(values, weight)
    two = 2 * (raw.shape[-1] // 3)
    parts = [
        functional.layer_norm(
            raw[..., part], gain[part].shape, gain[part], _part(bias, part), eps
        )
        for part in (slice(0, two), slice(two, None))
    ]
    return torch.cat(parts, -1)


def _part(values: Tensor | None, part: slice) -> Tensor | None:
    return None if values is None else values[part]
