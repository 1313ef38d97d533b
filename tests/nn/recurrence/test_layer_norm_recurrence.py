"""Layer-normalised cells and layers: torch's own without norms, and the papers' with.

What is compared with is either torch's layer or the formula, written out here.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

from conventions import keeps_conventions
from surefoot.nn.norm import (
    LayerNormGRU,
    LayerNormGRUCell,
    LayerNormLSTM,
    LayerNormLSTMCell,
    NormError,
)
from surefoot.restore.random_streams import repeated


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _near(found: Tensor, expected: Tensor, *, within: float = 1e-6) -> None:
    torch.testing.assert_close(found, expected, rtol=within, atol=within)


# --- without norms: torch's own -------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4, 3), (3,)])
def test_without_norms_a_cell_is_that_of_torch(shape: tuple, bias: bool) -> None:
    theirs, ours = nn.LSTMCell(3, 5, bias), LayerNormLSTMCell(3, 5, bias, norm=False)
    ours.load_state_dict(theirs.state_dict())
    x, h, c = torch.randn(shape), *torch.randn(2, *shape[:-1], 5)
    for found, expected in zip(ours(x, (h, c)), theirs(x, (h, c)), strict=True):
        _near(found, expected)
    for found, expected in zip(ours(x), theirs(x), strict=True):
        _near(found, expected)
    theirs, ours = nn.GRUCell(3, 5, bias), LayerNormGRUCell(3, 5, bias, norm=False)
    ours.load_state_dict(theirs.state_dict())
    _near(ours(x, h), theirs(x, h))


@settings(max_examples=12, deadline=None)
@given(
    layers=st.integers(1, 3),
    bias=st.booleans(),
    batch_first=st.booleans(),
    bidirectional=st.booleans(),
    with_state=st.booleans(),
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
)
def test_without_norms_a_layer_is_that_of_torch(
    layers: int, lengths: list[int], with_state: bool, **options: bool
) -> None:
    torch.manual_seed(0)
    many = layers * (2 if options["bidirectional"] else 1)
    packed = pack_sequence([torch.randn(n, 3) for n in lengths], enforce_sorted=False)
    state = torch.randn(2, many, len(lengths), 5) if with_state else None
    for kind, own in ((nn.LSTM, LayerNormLSTM), (nn.GRU, LayerNormGRU)):
        theirs = kind(3, 5, layers, **options)
        ours = own(3, 5, layers, norm=False, **options)
        ours.load_state_dict(theirs.state_dict())
        hx = None if state is None else state[0] if kind is nn.GRU else tuple(state)
        padded, _ = pad_packed_sequence(packed, batch_first=options["batch_first"])
        for input in (packed, padded):
            output, last = ours(input, hx)
            wanted, wanted_last = theirs(input, hx)
            _near(_values(output), _values(wanted))
            for found, expected in zip(last, wanted_last, strict=True):
                _near(found, expected)


def _values(output: Tensor | PackedSequence) -> Tensor:
    return output.data if isinstance(output, PackedSequence) else output


def test_a_single_sequence_needs_no_batch_dimension() -> None:
    theirs, ours = nn.LSTM(3, 5, 2), LayerNormLSTM(3, 5, 2, norm=False)
    ours.load_state_dict(theirs.state_dict())
    hx = (torch.randn(2, 5), torch.randn(2, 5))
    (output, last), (wanted, wanted_last) = (
        m(torch.ones(4, 3), hx) for m in (ours, theirs)
    )
    _near(output, wanted)
    _near(torch.stack(last), torch.stack(wanted_last))


@pytest.mark.parametrize("kind", [(nn.LSTM, LayerNormLSTM), (nn.GRU, LayerNormGRU)])
def test_weights_are_named_and_drawn_as_those_of_torch(kind: tuple) -> None:
    with repeated(0):
        theirs = kind[0](3, 4, 2, bidirectional=True)
    with repeated(0):
        ours = kind[1](3, 4, 2, bidirectional=True)
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith(("gain_", "bias_cell_")) for name in missing)
    bound = 4**-0.5
    weights = [w for name, w in ours.named_parameters() if name.startswith("weight")]
    assert all(0.8 * bound < w.abs().max() <= bound for w in weights)


# --- with norms: the papers' formulas -------------------------------------------


def _lstm_by_hand(cell: nn.Module, x: Tensor, h: Tensor, c: Tensor) -> tuple:
    """Ba, Kiros & Hinton 2016, equations 20 to 22, each gate by its own name."""
    rows, size = cell.weight_ih.shape[0], cell.hidden_size
    wide = functional.layer_norm(x @ cell.weight_ih.T, [rows], cell.gain_ih)
    again = functional.layer_norm(h @ cell.weight_hh.T, [rows], cell.gain_hh)
    i, f, g, o = (wide + again + cell.bias_ih + cell.bias_hh).split(size, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    seen = functional.layer_norm(c, [size], cell.gain_cell, cell.bias_cell)
    return o.sigmoid() * seen.tanh(), c


def _vary(module: nn.Module) -> None:
    """Gains and biases that are not all alike."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


def test_an_lstm_cell_follows_the_paper() -> None:
    cell = LayerNormLSTMCell(3, 5, dtype=torch.float64)
    _vary(cell)
    x, h, c = (torch.randn(4, n, dtype=torch.float64) for n in (3, 5, 5))
    for found, expected in zip(
        cell(x, (h, c)), _lstm_by_hand(cell, x, h, c), strict=True
    ):
        _near(found, expected, within=1e-12)


def test_a_gru_cell_follows_the_paper() -> None:
    cell = LayerNormGRUCell(3, 5, dtype=torch.float64)
    _vary(cell)
    x, h = (torch.randn(4, n, dtype=torch.float64) for n in (3, 5))

    def normal(v: Tensor, gain: Tensor) -> Tensor:
        spread = (v.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        return gain * (v - v.mean(-1, keepdim=True)) / spread

    def both(v: Tensor, weight: Tensor, gain: Tensor, bias: Tensor) -> tuple:
        raw = v @ weight.T
        return normal(raw[:, :10], gain[:10]) + bias[:10], (
            normal(raw[:, 10:], gain[10:]) + bias[10:]
        )

    gates_x, new_x = both(x, cell.weight_ih, cell.gain_ih, cell.bias_ih)
    gates_h, new_h = both(h, cell.weight_hh, cell.gain_hh, cell.bias_hh)
    r, z = (gates_x + gates_h).sigmoid().chunk(2, -1)
    new = (new_x + r * new_h).tanh()
    _near(cell(x, h), (1 - z) * new + z * h, within=1e-12)


def test_a_layer_steps_as_its_cell_does() -> None:
    layer, cell = LayerNormLSTM(3, 5), LayerNormLSTMCell(3, 5)
    _vary(layer)
    cell.load_state_dict(
        {name.removesuffix("_l0"): value for name, value in layer.state_dict().items()}
    )
    x = torch.randn(6, 2, 3)
    state, hidden = None, []
    for one in x:
        state = cell(one, state)
        hidden.append(state[0])
    output, (last, cells) = layer(x)
    _near(output, torch.stack(hidden))
    _near(last[0], state[0])
    _near(cells[0], state[1])


@pytest.mark.parametrize("kind", [LayerNormLSTM, LayerNormGRU])
@settings(max_examples=6, deadline=None)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_what_stands_beside_a_sequence_or_after_it_changes_nothing(
    kind: type, lengths: list[int]
) -> None:
    torch.manual_seed(0)
    layer = kind(3, 4, 2, bidirectional=True)
    sequences = [torch.randn(n, 3) for n in lengths]
    packed, last = layer(pack_sequence(sequences, enforce_sorted=False))
    padded, _ = pad_packed_sequence(packed)
    for at, sequence in enumerate(sequences):
        alone, state = layer(sequence)
        _near(padded[: lengths[at], at], alone, within=1e-5)
        hidden, expected = (s[0] if kind is LayerNormLSTM else s for s in (last, state))
        _near(hidden[:, at], expected, within=1e-5)


def test_the_scale_of_the_input_is_of_no_matter() -> None:
    cell = LayerNormLSTMCell(8, 5, dtype=torch.float64)
    x = torch.randn(4, 8, dtype=torch.float64)
    _near(cell(1_000 * x)[0], cell(x)[0], within=1e-4)


# --- conventions ----------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [lambda: LayerNormLSTMCell(3, 4), lambda: LayerNormGRUCell(3, 4)]
)
def test_cells_keep_conventions(make) -> None:
    keeps_conventions(make, torch.randn(2, 3), exported=True)


@pytest.mark.parametrize("kind", [LayerNormLSTM, LayerNormGRU])
def test_layers_keep_conventions(kind: type) -> None:
    def make() -> nn.Module:
        return kind(3, 4, bidirectional=True, batch_first=True)

    exported = kind is LayerNormLSTM  # the GRU's cell is exported above
    keeps_conventions(make, torch.randn(2, 2, 3), exported=exported)


def test_gradients_are_those_of_differences() -> None:
    def outputs(kind: type, x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        layer = kind(2, 3, dtype=torch.float64)
        named = dict(zip(dict(layer.named_parameters()), weights, strict=True))
        output, last = functional_call(layer, named, (x,))
        return output, *(last if kind is LayerNormLSTM else (last,))

    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    for kind in (LayerNormLSTM, LayerNormGRU):
        weights = [
            w.detach().requires_grad_()
            for w in kind(2, 3, dtype=torch.float64).parameters()
        ]
        assert torch.autograd.gradcheck(
            lambda *v, k=kind: outputs(k, *v),
            (x, *weights),
            fast_mode=True,
            check_undefined_grad=False,
        )


def test_gradients_of_single_examples_can_be_had() -> None:
    cell = LayerNormLSTMCell(3, 4)
    weights = {name: w.detach() for name, w in cell.named_parameters()}

    def loss(weights: dict, x: Tensor) -> Tensor:
        return functional_call(cell, weights, (x,))[0].square().sum()

    x = torch.randn(5, 3)
    every = vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x)
    whole = torch.func.grad(loss)(weights, x)
    for name, value in every.items():
        _near(value.sum(0), whole[name], within=1e-5)


def test_autocast_keeps_the_cell_state_in_full_precision() -> None:
    layer = LayerNormLSTM(3, 32)
    x = torch.randn(5, 2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, (_, cell) = layer(x)
    assert cell.dtype == torch.float32
    assert (output - layer(x)[0]).abs().mean() < 0.01


def test_dropout_is_between_layers_and_in_training_only() -> None:
    layer = LayerNormLSTM(3, 4, 2, dropout=1.0)
    x = torch.randn(5, 2, 3)
    silent, _ = layer(x)
    other, _ = layer(-x)
    _near(silent, other)
    assert (layer.eval()(x)[0] - layer(-x)[0]).abs().max() > 0.01


# --- what cannot be used --------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LayerNormLSTM(3, 0), r"hidden_size=0 came; expected 1 or more"),
        (lambda: LayerNormLSTMCell(0, 3), r"input_size=0 came"),
        (lambda: LayerNormGRU(3, 4, dropout=1.5), r"dropout=1.5 came"),
        (
            lambda: LayerNormLSTM(3, 4)(torch.ones(2, 2, 5)),
            r"5 features came; expected 3",
        ),
        (lambda: LayerNormLSTM(3, 4)(torch.ones(3)), r"shape \[3\] came"),
        (lambda: LayerNormLSTM(3, 4)(torch.ones(0, 2, 3)), r"length 0 came"),
        (
            lambda: LayerNormGRU(3, 4)(torch.ones(2, 2, 3), torch.ones(1, 3, 4)),
            r"state of shape \[1, 3, 4\] came; expected \[1, 2, 4\]",
        ),
        (lambda: LayerNormLSTMCell(3, 4)(torch.ones(2, 4)), r"shape \[2, 4\] came"),
        (
            lambda: LayerNormGRUCell(3, 4)(torch.ones(2, 3), torch.ones(2, 5)),
            r"state of shape \[2, 5\] came; expected \[2, 4\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make, says: str) -> None:
    with pytest.raises(NormError, match=says):
        make()
