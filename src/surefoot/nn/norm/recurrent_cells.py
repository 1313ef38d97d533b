"""Sizes come in, recurrent cells with layer normalisation go out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import init

from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.recurrent_steps import (
    EPS,
    RecurrentWeights,
    State,
    layer_norm_gru_cell,
    layer_norm_lstm_cell,
)


class NormalisedCell(nn.Module):
    """What both cells share: parameters in torch's names and layout."""

    gates: int
    """How many gates are stacked in the weights."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        norm: bool = True,
        eps: float = EPS,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes_are_positive(input_size=input_size, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.norm = norm
        self.eps = eps
        shapes = self.shapes(input_size, hidden_size, bias, norm=norm)
        for name, shape in shapes.items():
            empty = torch.empty(shape, device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(empty))
        self.reset_parameters()

    @classmethod
    def shapes(
        cls, input_size: int, hidden_size: int, bias: bool, *, norm: bool
    ) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter, by name."""
        return gate_shapes(
            cls.gates, input_size, hidden_size, bias=bias, norm=norm
        ) | cls.own_shapes(hidden_size, norm=norm)

    @classmethod
    def own_shapes(cls, hidden_size: int, *, norm: bool) -> dict[str, tuple[int, ...]]:
        """Those that other cells have not."""
        return {}

    def reset_parameters(self) -> None:
        """Draw weights and biases as torch's cells do; gains 1, the norm's bias 0."""
        for name, parameter in self.named_parameters():
            reset_recurrent(name, parameter, self.hidden_size)

    def extra_repr(self) -> str:
        """Sizes, and what differs from the default."""
        told = f"{self.input_size}, {self.hidden_size}"
        if not hasattr(self, "bias_ih"):
            told += ", bias=False"
        return told if self.norm else f"{told}, norm=False"

    def _weights(self) -> RecurrentWeights:
        fields = RecurrentWeights._fields  # those that are left out are None
        return RecurrentWeights(*(getattr(self, name, None) for name in fields))  # pyright: ignore[reportArgumentType]

    def _checked(self, input: Tensor, state: State | None, count: int) -> State:
        """The state as it came, or zeros.

        Raises:
            NormError: sizes do not fit.
        """
        if input.dim() not in (1, 2) or input.shape[-1] != self.input_size:
            raise NormError(
                f"an input of shape {list(input.shape)} came; expected "
                f"[batch, {self.input_size}] or [{self.input_size}]"
            )
        shape = (*input.shape[:-1], self.hidden_size)
        if state is None:
            zeros = torch.zeros(
                shape, device=input.device, dtype=self._weights().weight_hh.dtype
            )
            return (zeros,) * count
        if any(one.shape != shape for one in state):
            raise NormError(
                f"a state of shape {list(state[0].shape)} came; expected {list(shape)}"
            )
        return state


class LayerNormLSTMCell(NormalisedCell):
    """An LSTM cell with layer normalisation, in the place of `nn.LSTMCell`.

    gates = LN(W_ih x) + LN(W_hh h) + b_ih + b_hh; c' = σ(f)·c + σ(i)·tanh(g);
    h' = σ(o)·tanh(LN(c')) (Ba, Kiros & Hinton 2016, arXiv:1607.06450). The norms of
    the gates have gains only: their biases would be the cell's own once more.

    Weights and biases have the names, shapes and initial values of `nn.LSTMCell`, so
    that `load_state_dict(of an LSTMCell, strict=False)` takes them; `gain_ih`,
    `gain_hh` `[4·hidden]`, `gain_cell` and `bias_cell` `[hidden]` come on top.

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        bias: whether the gates have biases.
        norm: False leaves the norms out: then it is an `nn.LSTMCell`.
        eps: added to the variances, 1e-5 as in torch.
        device: of the parameters.
        dtype: of the parameters; the cell state is kept in it under autocast too.

    >>> cell = LayerNormLSTMCell(3, 4)
    >>> hidden, state = cell(torch.ones(2, 3))
    >>> hidden.shape
    torch.Size([2, 4])

    Raises:
        NormError: a size is not positive, or an input does not fit.
    """

    gates = 4

    @classmethod
    def own_shapes(cls, hidden_size: int, *, norm: bool) -> dict[str, tuple[int, ...]]:
        """Gain and bias of the norm of the cell state."""
        return (
            {"gain_cell": (hidden_size,), "bias_cell": (hidden_size,)} if norm else {}
        )

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The next hidden and cell state, `[batch, hidden]` each; zeros before."""
        state = self._checked(input, hx, 2)
        hidden, cell = layer_norm_lstm_cell(input, state, self._weights(), eps=self.eps)
        return hidden, cell


class LayerNormGRUCell(NormalisedCell):
    """A GRU cell with layer normalisation, in the place of `nn.GRUCell`.

    r, z = σ(LN(W_ih x) + b_ih + LN(W_hh h) + b_hh); n = tanh(LN(W_in x) + b_in +
    r·(LN(W_hn h) + b_hn)); h' = (1 - z)·n + z·h (Ba, Kiros & Hinton 2016). Weights and
    biases are those of `nn.GRUCell`; `gain_ih` and `gain_hh` `[3·hidden]` come on top.

    Args: those of `LayerNormLSTMCell`.

    >>> cell = LayerNormGRUCell(3, 4)
    >>> cell(torch.ones(2, 3)).shape
    torch.Size([2, 4])
    """

    gates = 3

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next hidden state, `[batch, hidden]`; zeros before."""
        (state,) = self._checked(input, None if hx is None else (hx,), 1)
        return layer_norm_gru_cell(input, state, self._weights(), eps=self.eps)


def gate_shapes(
    gates: int, input_size: int, hidden_size: int, *, bias: bool, norm: bool
) -> dict[str, tuple[int, ...]]:
    """The shapes of what all gated cells have, in torch's order."""
    rows = gates * hidden_size
    found: dict[str, tuple[int, ...]] = {
        "weight_ih": (rows, input_size),
        "weight_hh": (rows, hidden_size),
    }
    if bias:
        found |= {"bias_ih": (rows,), "bias_hh": (rows,)}
    if norm:
        found |= {"gain_ih": (rows,), "gain_hh": (rows,)}
    return found


def reset_recurrent(
    name: str, parameter: Tensor, hidden_size: int, *, gain: float = 1.0
) -> None:
    """Uniform in ±1/√hidden as torch's, but gains of norms `gain`, their bias 0."""
    if name.startswith("gain"):
        init.constant_(parameter, gain)
    elif name.startswith("bias_cell"):
        init.zeros_(parameter)
    else:
        bound = hidden_size**-0.5
        init.uniform_(parameter, -bound, bound)


def sizes_are_positive(**sizes: int) -> None:
    """Nothing, if they are.

    Raises:
        NormError: one is not.
    """
    for name, size in sizes.items():
        if size < 1:
            raise NormError(f"{name}={size} came; expected 1 or more")
