"""Sizes come in, recurrent layers over whole sequences with layer norm go out.

They take what `nn.LSTM` and `nn.GRU` take: time or batch first, packed sequences,
several layers, both directions; their state dicts can be loaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.recurrent_cells import (
    LayerNormLSTMCell,
    gate_shapes,
    reset_recurrent,
    sizes_are_positive,
)
from surefoot.nn.norm.recurrent_steps import (
    EPS,
    RecurrentWeights,
    State,
    gru_projected,
    gru_step,
    lstm_projected,
    lstm_step,
)

Input = Tensor | PackedSequence
Step = Callable[[Tensor, State, int], State]
"""What the input adds to the gates, the state, and the time step: the next state."""


class Recurrence(nn.Module, ABC):
    """What the layers share: parameters as torch names them, sequences, directions."""

    gates: int
    """How many gates are stacked in the weights."""
    states: int
    """How many tensors the state has."""
    gain = 1.0
    """What the gains of the norms begin with."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        norm: bool = True,
        eps: float = EPS,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes_are_positive(
            input_size=input_size, hidden_size=hidden_size, num_layers=num_layers
        )
        if not 0 <= dropout <= 1:
            raise NormError(f"dropout={dropout} came; expected a share, 0 to 1")
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers, self.bias = num_layers, bias
        self.batch_first, self.dropout = batch_first, dropout
        self.bidirectional, self.norm, self.eps = bidirectional, norm, eps
        for layer in range(num_layers):
            for end in self._ends(layer):
                for name, shape in self._shapes(layer).items():
                    empty = torch.empty(shape, device=device, dtype=dtype)
                    self.register_parameter(name + end, nn.Parameter(empty))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases as torch's layers do; gains as they begin."""
        for name, parameter in self.named_parameters():
            reset_recurrent(name, parameter, self.hidden_size, gain=self.gain)

    def extra_repr(self) -> str:
        """Sizes, and what differs from the defaults."""
        told = f"{self.input_size}, {self.hidden_size}"
        told += f", num_layers={self.num_layers}" if self.num_layers > 1 else ""
        told += "" if self.bias else ", bias=False"
        told += ", batch_first=True" if self.batch_first else ""
        told += f", dropout={self.dropout}" if self.dropout else ""
        told += ", bidirectional=True" if self.bidirectional else ""
        return told if self.norm else f"{told}, norm=False"

    def _own_shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameters that other kinds have not."""
        return {}

    @abstractmethod
    def _projected(self, values: Tensor, end: str, sizes: Sequence[int]) -> Tensor:
        """What the inputs of all time steps add to the gates."""

    @abstractmethod
    def _step(self, end: str, sizes: Sequence[int]) -> Step:
        """One time step of the layer and direction that `end` names."""

    def _run(self, input: Input, hx: State | None) -> tuple[Input, tuple[Tensor, ...]]:
        """The last layer's hidden states, and the last states of all layers."""
        if isinstance(input, PackedSequence):
            state = self._state(hx, int(input.batch_sizes[0]), input.data)
            if input.sorted_indices is not None:
                state = tuple(
                    one.index_select(1, input.sorted_indices) for one in state
                )
            sizes = input.batch_sizes.tolist()
            values, last = self._layers(input.data, sizes, state)
            if input.unsorted_indices is not None:
                last = tuple(
                    one.index_select(1, input.unsorted_indices) for one in last
                )
            return input._replace(data=values), last
        if input.dim() == 2:
            lone = None if hx is None else tuple(one.unsqueeze(1) for one in hx)
            values, last = self._padded(input.unsqueeze(1), lone)
            return values.squeeze(1), tuple(one.squeeze(1) for one in last)
        if input.dim() != 3:
            raise NormError(
                f"an input of shape {list(input.shape)} came; expected [time, batch, "
                "features] (batch first if so made), [time, features] or a packed one"
            )
        if self.batch_first:
            values, last = self._padded(input.transpose(0, 1), hx)
            return values.transpose(0, 1), last
        return self._padded(input, hx)

    def _padded(self, input: Tensor, hx: State | None) -> tuple[Tensor, State]:
        length, batch = input.shape[:2]
        state = self._state(hx, batch, input)
        values, last = self._layers(
            input.reshape(length * batch, input.shape[2]), [batch] * length, state
        )
        return values.unflatten(0, (length, batch)), last

    def _layers(
        self, values: Tensor, sizes: list[int], state: State
    ) -> tuple[Tensor, State]:
        """Run all layers over rows sorted by time, `sizes` of them at each step."""
        if values.shape[-1] != self.input_size:
            raise NormError(
                f"inputs of {values.shape[-1]} features came; expected "
                f"{self.input_size}"
            )
        if not sizes:
            raise NormError("a sequence of length 0 came; expected 1 step or more")
        last: list[State] = []
        for layer in range(self.num_layers):
            if layer:
                values = functional.dropout(values, self.dropout, self.training)
            found = [
                self._direction(
                    values, sizes, end, tuple(s[len(last) + at] for s in state)
                )
                for at, end in enumerate(self._ends(layer))
            ]
            values = _beside([outputs for outputs, _ in found])
            last += [one for _, one in found]
        return values, tuple(map(torch.stack, zip(*last, strict=True)))

    def _direction(
        self, values: Tensor, sizes: list[int], end: str, start: State
    ) -> tuple[Tensor, State]:
        parts = self._projected(values, end, sizes).split(sizes)
        step = self._step(end, sizes)
        if not end.endswith("_reverse"):
            return _forwards(step, parts, start)
        return _backwards(step, parts, start)

    def _state(self, hx: State | None, batch: int, like: Tensor) -> State:
        """The first state, as it came or zeros, if it fits."""
        layers = self.num_layers * (2 if self.bidirectional else 1)
        shape = (layers, batch, self.hidden_size)
        if hx is None:
            dtype = self._parameter("weight_hh_l0").dtype
            zeros = torch.zeros(shape, device=like.device, dtype=dtype)
            return (zeros,) * self.states
        for one in hx:
            if one.shape != shape:
                raise NormError(
                    f"a state of shape {list(one.shape)} came; expected {list(shape)}: "
                    "layers times directions, batch, hidden size"
                )
        return hx

    def _shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        wide = self.hidden_size * (2 if self.bidirectional else 1)
        size = wide if layer else self.input_size
        shared = gate_shapes(
            self.gates, size, self.hidden_size, bias=self.bias, norm=self.norm
        )
        return shared | (self._own_shapes() if self.norm else {})

    def _ends(self, layer: int) -> Iterator[str]:
        """What the names of a layer's parameters end with, by direction."""
        yield f"_l{layer}"
        if self.bidirectional:
            yield f"_l{layer}_reverse"

    def _parameter(self, name: str) -> Tensor:
        return getattr(self, name)

    def _weights(self, end: str) -> RecurrentWeights:
        fields = RecurrentWeights._fields  # those that are left out are None
        return RecurrentWeights(*(getattr(self, name + end, None) for name in fields))  # pyright: ignore[reportArgumentType]


class LayerNormLSTM(Recurrence):
    """An LSTM with layer normalisation over whole sequences, as `nn.LSTM` is used.

    Its steps are those of `LayerNormLSTMCell`; products with the input are made and
    normalised for all time steps at once. Parameters have the names, shapes and initial
    values of `nn.LSTM`, with `gain_ih_l0`, `gain_hh_l0`, `gain_cell_l0`, `bias_cell_l0`
    and so on beside them; there are no projections (`proj_size`). With bf16 autocast
    the cell state keeps the weights' type.

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: how many, each on the outputs of the one before.
        bias: whether the gates have biases.
        batch_first: inputs and outputs are `[batch, time, features]`.
        dropout: share of the outputs that is dropped between layers in training.
        bidirectional: a second pass from the end, its outputs beside the first's.
        norm: False leaves the norms out: then it computes what `nn.LSTM` does.
        eps: added to the variances, 1e-5 as in torch.
        device: of the parameters.
        dtype: of the parameters.

    >>> layer = LayerNormLSTM(3, 4, num_layers=2)
    >>> output, (hidden, cell) = layer(torch.ones(5, 2, 3))
    >>> output.shape, hidden.shape
    (torch.Size([5, 2, 4]), torch.Size([2, 2, 4]))

    Raises:
        NormError: a size is not positive, or an input or a state does not fit.
    """

    gates = 4
    states = 2

    def forward(
        self, input: Input, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Input, tuple[Tensor, Tensor]]:
        """Hidden states of the last layer at all steps, and the last states of all.

        Args:
            input: `[time, batch, input_size]`, `[time, input_size]` or packed.
            hx: hidden and cell states `[layers · directions, batch, hidden]` to begin
                with; zeros if not given.
        """
        output, (hidden, cell) = self._run(input, hx)
        return output, (hidden, cell)

    def _own_shapes(self) -> dict[str, tuple[int, ...]]:
        return LayerNormLSTMCell.own_shapes(self.hidden_size, norm=True)

    def _projected(self, values: Tensor, end: str, sizes: Sequence[int]) -> Tensor:
        return lstm_projected(values, self._weights(end), eps=self.eps)

    def _step(self, end: str, sizes: Sequence[int]) -> Step:
        weights, eps = self._weights(end), self.eps
        return lambda projected, state, _: lstm_step(projected, state, weights, eps=eps)


class LayerNormGRU(Recurrence):
    """A GRU with layer normalisation over whole sequences, as `nn.GRU` is used.

    Its steps are those of `LayerNormGRUCell`. Arguments, inputs and parameter names are
    those of `LayerNormLSTM`, without the cell state.

    >>> output, hidden = LayerNormGRU(3, 4, bidirectional=True)(torch.ones(5, 2, 3))
    >>> output.shape, hidden.shape
    (torch.Size([5, 2, 8]), torch.Size([2, 2, 4]))
    """

    gates = 3
    states = 1

    def forward(self, input: Input, hx: Tensor | None = None) -> tuple[Input, Tensor]:
        """Hidden states of the last layer at all steps, and the last of all layers."""
        output, (hidden,) = self._run(input, None if hx is None else (hx,))
        return output, hidden

    def _projected(self, values: Tensor, end: str, sizes: Sequence[int]) -> Tensor:
        return gru_projected(values, self._weights(end), eps=self.eps)

    def _step(self, end: str, sizes: Sequence[int]) -> Step:
        weights, eps = self._weights(end), self.eps
        return lambda projected, state, _: gru_step(projected, state, weights, eps=eps)


def _beside(outputs: list[Tensor]) -> Tensor:
    """Those of both directions in one; those of a single one without a copy."""
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)


def _forwards(
    step: Step, parts: Sequence[Tensor], state: State
) -> tuple[Tensor, State]:
    """From the first step on; sequences that have ended keep their last state."""
    outputs: list[Tensor] = []
    ended: list[State] = []
    for time, part in enumerate(parts):
        rows = part.shape[0]
        if rows < state[0].shape[0]:
            ended.append(tuple(one[rows:] for one in state))
            state = tuple(one[:rows] for one in state)
        state = step(part, state, time)
        outputs.append(state[0])
    if ended:
        every = zip(state, *reversed(ended), strict=True)
        state = tuple(torch.cat(ones) for ones in every)
    return torch.cat(outputs), state


def _backwards(
    step: Step, parts: Sequence[Tensor], start: State
) -> tuple[Tensor, State]:
    """From the last step on; shorter sequences come in at their own last step."""
    outputs: list[Tensor] = []
    state = tuple(one[:0] for one in start)
    for time in reversed(range(len(parts))):
        rows, running = parts[time].shape[0], state[0].shape[0]
        if rows > running:
            pairs = zip(state, start, strict=True)
            state = tuple(torch.cat([one, new[running:rows]]) for one, new in pairs)
        state = step(parts[time], state, time)
        outputs.append(state[0])
    return torch.cat(outputs[::-1]), state
