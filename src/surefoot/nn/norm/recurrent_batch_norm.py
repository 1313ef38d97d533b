"""Sizes come in, an LSTM with batch statistics for each time step goes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.recurrent_cells import LayerNormLSTMCell
from surefoot.nn.norm.recurrent_layers import Input, Recurrence, Step
from surefoot.nn.norm.recurrent_steps import (
    State,
    both_biases,
    lstm_projected,
    lstm_step,
    lstm_update,
)

GAIN = 0.1
"""What gains begin with: at 1 the tanh saturates and gradients vanish (Cooijmans et
al. 2017, arXiv:1603.09025, section 4)."""

NORMALISED = ("ih", "hh", "cell")


class BatchNormLSTM(Recurrence):
    """An LSTM with batch normalisation, its statistics kept for each time step.

    gates = BN_t(W_ih x) + BN_t(W_hh h) + b_ih + b_hh; c' = σ(f)·c + σ(i)·tanh(g);
    h' = σ(o)·tanh(BN_t(c')) (Cooijmans et al. 2017, arXiv:1603.09025). In training, the
    statistics at step t are those of the batch; running ones are kept for the first
    `t_max` steps, and the last of these serves all later steps. In evaluation, a
    sequence that is longer than those trained on uses the statistics of the last step
    that was trained (`steps_tracked` counts them).

    In a packed sequence, statistics at a step are over the sequences that go on there.
    Where only one is left it has no variance: that step uses running statistics and
    leaves them as they are. Statistics are those of one process.

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: how many, each on the outputs of the one before.
        t_max: time steps with statistics of their own: the length of the longest
            training sequence, or that after which statistics no longer change.
        momentum: share of the newest batch in the running statistics, 0.1 as in torch.
        options: the other arguments of `LayerNormLSTM`, but one direction only.

    >>> layer = BatchNormLSTM(3, 4, t_max=5)
    >>> output, _ = layer(torch.randn(7, 8, 3))
    >>> output.shape, layer.running_mean_cell_l0.shape, layer.steps_tracked.item()
    (torch.Size([7, 8, 4]), torch.Size([5, 4]), 5)

    Raises:
        NormError: a size is not positive, both directions are asked for, an input or a
            state does not fit, or a batch of one came in training.
    """

    gates = 4
    states = 2
    gain = GAIN
    steps_tracked: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        t_max: int,
        momentum: float = 0.1,
        **options: Any,
    ) -> None:
        if options.get("bidirectional"):
            raise NormError(
                "bidirectional=True came; expected one direction: statistics belong to "
                "the steps from the start of a sequence, which a pass from the end of "
                "sequences of several lengths does not share; use LayerNormLSTM"
            )
        if t_max < 1 or not 0 <= momentum <= 1:
            raise NormError(
                f"t_max={t_max}, momentum={momentum} came; expected 1 step or more and "
                "a share, 0 to 1"
            )
        super().__init__(input_size, hidden_size, num_layers, **options)
        self.t_max = t_max
        self.momentum = momentum
        like = {key: options.get(key) for key in ("device", "dtype")}
        for layer in range(num_layers if self.norm else 0):
            for name in NORMALISED:
                rows = hidden_size * (1 if name == "cell" else self.gates)
                mean, var = (f"running_{of}_{name}_l{layer}" for of in ("mean", "var"))
                self.register_buffer(mean, torch.zeros(t_max, rows, **like))
                self.register_buffer(var, torch.ones(t_max, rows, **like))
        self.register_buffer(
            "steps_tracked",
            torch.zeros((), dtype=torch.long, device=options.get("device")),
        )

    def reset_running_stats(self) -> None:
        """Forget the statistics of all steps."""
        for name, buffer in self.named_buffers():
            buffer.fill_(1 if name.startswith("running_var") else 0)

    def forward(
        self, input: Input, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Input, tuple[Tensor, Tensor]]:
        """Hidden states of the last layer at all steps, and the last states of all.

        Args:
            input: `[time, batch, input_size]` or packed.
            hx: hidden and cell states `[layers, batch, hidden]`; zeros if not given.
        """
        if self.training and self.norm and _sequences(input, self.batch_first) < 2:
            raise NormError(
                "a batch of one sequence came in training; expected two or more, as "
                "one has no variance; use LayerNormLSTM or a larger batch"
            )
        output, (hidden, cell) = self._run(input, hx)
        return output, (hidden, cell)

    def extra_repr(self) -> str:
        """Sizes, steps with statistics, and what differs from the defaults."""
        return f"{super().extra_repr()}, t_max={self.t_max}, momentum={self.momentum}"

    def _own_shapes(self) -> dict[str, tuple[int, ...]]:
        return LayerNormLSTMCell.own_shapes(self.hidden_size, norm=True)

    def _projected(self, values: Tensor, end: str, sizes: Sequence[int]) -> Tensor:
        weights = self._weights(end)
        if not self.norm:
            return lstm_projected(values, weights, eps=self.eps)
        if self.training:
            trained = sum(size > 1 for size in sizes)
            self.steps_tracked.clamp_(min=min(trained, self.t_max))
        bias = both_biases(weights)
        norm = _TimeStepNorm(self, "ih", end, sizes=sizes)
        raw = functional.linear(values, weights.weight_ih).split(list(sizes))
        parts = [norm(one, time, bias=bias) for time, one in enumerate(raw)]
        return torch.cat(parts)

    def _step(self, end: str, sizes: Sequence[int]) -> Step:
        weights = self._weights(end)
        if not self.norm:
            return lambda at, state, _: lstm_step(at, state, weights, eps=self.eps)
        gates = _TimeStepNorm(self, "hh", end, sizes=sizes)
        shown = _TimeStepNorm(self, "cell", end, sizes=sizes)

        def step(projected: Tensor, state: State, time: int) -> State:
            hidden, cell = state
            recurrent = functional.linear(hidden, weights.weight_hh)
            cell, output = lstm_update(projected + gates(recurrent, time), cell)
            return output * shown(cell, time, bias=weights.bias_cell).tanh(), cell

        return step


class _TimeStepNorm:
    """Batch normalisation of one quantity of a layer, for each time step."""

    def __init__(
        self, layer: BatchNormLSTM, name: str, end: str, *, sizes: Sequence[int]
    ) -> None:
        self._layer = layer
        self._gain: Tensor = getattr(layer, f"gain_{name}{end}")
        self._mean: Tensor = getattr(layer, f"running_mean_{name}{end}")
        self._var: Tensor = getattr(layer, f"running_var_{name}{end}")
        self._kept: tuple[Sequence[Tensor], Sequence[Tensor]] = ((), ())
        if not layer.training or min(sizes) < 2:
            time = torch.arange(len(sizes), device=self._mean.device)
            last = (layer.steps_tracked - 1).clamp(min=0)
            place = torch.minimum(time, last)
            self._kept = (self._mean[place].unbind(0), self._var[place].unbind(0))

    def __call__(
        self, values: Tensor, time: int, *, bias: Tensor | None = None
    ) -> Tensor:
        layer = self._layer
        learns = layer.training and values.shape[0] > 1
        if learns:
            place = min(time, layer.t_max - 1)
            mean, var = self._mean[place], self._var[place]
        else:
            mean, var = (kept[time] for kept in self._kept)
        return functional.batch_norm(
            values, mean, var, self._gain, bias, learns, layer.momentum, layer.eps
        )


def _sequences(input: Input, batch_first: bool) -> int:
    """How many sequences there are."""
    if isinstance(input, PackedSequence):
        return int(input.batch_sizes[0])
    if input.dim() == 3:
        return input.shape[0 if batch_first else 1]
    return 1
