"""Recurrence with layer norm beside torch's cell in a loop and the paper's cell."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.blocks.measure import Measure, Work
from surefoot.nn.norm import LayerNormGRU, LayerNormLSTM, LayerNormLSTMCell

SIZES = ((64, 64, 32, 16), (128, 128, 24, 32), (256, 512, 8, 32))
"""Features, hidden size, time steps, batch."""

Size = tuple[int, int, int, int]
Kind = Callable[[int, int], nn.Module]

TARGET = 3.0
"""Times the loop over nn.LSTMCell."""


class PaperCell(nn.Module):
    """The cell of Ba, Kiros & Hinton (2016) as written there, norms as modules."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.of_input = nn.Linear(features, 4 * hidden, bias=False)
        self.of_hidden = nn.Linear(hidden, 4 * hidden, bias=False)
        self.norm_input = nn.LayerNorm(4 * hidden)
        self.norm_hidden = nn.LayerNorm(4 * hidden)
        self.norm_cell = nn.LayerNorm(hidden)

    def forward(
        self, input: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        hidden, cell = state
        gates = self.norm_input(self.of_input(input))
        gates = gates + self.norm_hidden(self.of_hidden(hidden))
        enter, forget, new, output = gates.chunk(4, 1)
        enter, forget = torch.sigmoid(enter), torch.sigmoid(forget)
        new, output = torch.tanh(new), torch.sigmoid(output)
        cell = self.norm_cell(forget * cell + enter * new)
        return output * torch.tanh(cell), cell


def _looped(kind: Kind, size: Size) -> Work:
    """A cell, step by step, and its gradients."""
    features, hidden, steps, batch = size
    cell, x = kind(features, hidden), torch.randn(steps, batch, features)
    single = isinstance(cell, nn.GRUCell)

    def work() -> None:
        state = torch.zeros(batch, hidden)
        carried = state if single else (state, state)
        outputs: list[Tensor] = []
        for one in x:
            carried = cell(one, carried)
            outputs.append(carried if single else carried[0])
        torch.stack(outputs).sum().backward()

    return work


def _whole(kind: Kind, size: Size) -> Work:
    """A layer over the whole sequence, and its gradients."""
    features, hidden, steps, batch = size
    layer, x = kind(features, hidden), torch.randn(steps, batch, features)

    def work() -> None:
        layer(x)[0].sum().backward()

    return work


def _measures(size: Size) -> tuple[Measure, ...]:
    told = "{}→{}, T {}, N {}".format(*size)
    lstm, gru = (
        partial(_whole, LayerNormLSTM, size),
        partial(_whole, LayerNormGRU, size),
    )
    cell = partial(_looped, LayerNormLSTMCell, size)
    torchs = partial(_looped, nn.LSTMCell, size)
    papers = partial(_looped, PaperCell, size)
    torchs_gru = partial(_looped, nn.GRUCell, size)
    return (
        Measure(f"LayerNormLSTM, {told}", "nn.LSTMCell loop", TARGET, lstm, torchs),
        Measure(f"LayerNormLSTM, {told}", "the paper's cell", 1.0, lstm, papers),
        Measure(f"LayerNormLSTMCell, {told}", "nn.LSTMCell loop", TARGET, cell, torchs),
        Measure(f"LayerNormGRU, {told}", "nn.GRUCell loop", TARGET, gru, torchs_gru),
    )


MEASURES: tuple[Measure, ...] = tuple(one for size in SIZES for one in _measures(size))
