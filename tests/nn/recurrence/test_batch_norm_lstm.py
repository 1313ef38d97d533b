"""An LSTM with batch statistics for each time step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils.rnn import pack_sequence

from conventions import keeps_conventions
from surefoot.nn.norm import BatchNormLSTM, NormError


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _near(found: Tensor, expected: Tensor, *, within: float = 1e-6) -> None:
    torch.testing.assert_close(found, expected, rtol=within, atol=within)


def _by_hand(layer: BatchNormLSTM, x: Tensor, *, statistics: bool) -> Tensor:
    """Cooijmans et al. 2017, equations 6 to 8; `statistics` are those of the batch."""

    def normal(v: Tensor, name: str, time: int, bias: Tensor | None = None) -> Tensor:
        kept = [
            getattr(layer, f"running_{of}_{name}_l0")[time] for of in ("mean", "var")
        ]
        mean = v.mean(0) if statistics else kept[0]
        var = v.var(0, correction=0) if statistics else kept[1]
        gain = getattr(layer, f"gain_{name}_l0")
        found = gain * (v - mean) / (var + layer.eps).sqrt()
        return found if bias is None else found + bias

    h = c = torch.zeros(x.shape[1], layer.hidden_size, dtype=x.dtype)
    outputs = []
    for time, one in enumerate(x):
        gates = normal(one @ layer.weight_ih_l0.T, "ih", time)
        gates = gates + normal(h @ layer.weight_hh_l0.T, "hh", time)
        gates = gates + layer.bias_ih_l0 + layer.bias_hh_l0
        i, f, g, o = gates.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * normal(c, "cell", time, layer.bias_cell_l0).tanh()
        outputs.append(h)
    return torch.stack(outputs)


def test_training_uses_the_batch_and_evaluation_the_running_statistics() -> None:
    layer = BatchNormLSTM(3, 4, t_max=6, dtype=torch.float64)
    x = torch.randn(6, 8, 3, dtype=torch.float64)
    _near(layer(x)[0], _by_hand(layer, x, statistics=True), within=1e-10)
    layer.eval()
    _near(layer(x)[0], _by_hand(layer, x, statistics=False), within=1e-10)


def test_without_norms_it_is_the_lstm_of_torch() -> None:
    theirs, ours = nn.LSTM(3, 5, 2), BatchNormLSTM(3, 5, 2, t_max=4, norm=False)
    ours.load_state_dict(theirs.state_dict() | {"steps_tracked": torch.tensor(0)})
    x = torch.randn(6, 4, 3)
    _near(ours(x)[0], theirs(x)[0])
    assert list(ours.buffers()) == [ours.steps_tracked]


def test_gains_begin_at_a_tenth() -> None:
    layer = BatchNormLSTM(3, 4, t_max=4)
    gains = [p for name, p in layer.named_parameters() if "gain" in name]
    assert len(gains) == 3
    assert all((gain == 0.1).all() for gain in gains)
    assert layer.bias_cell_l0.count_nonzero() == 0


def test_running_statistics_at_a_step_are_the_averages_of_that_step() -> None:
    layer = BatchNormLSTM(3, 4, t_max=5, momentum=1.0)
    x = torch.randn(5, 64, 3) * torch.arange(1.0, 6)[:, None, None]
    layer(x)
    raw = functional.linear(x, layer.weight_ih_l0)
    _near(layer.running_mean_ih_l0, raw.mean(1), within=1e-5)
    _near(layer.running_var_ih_l0, raw.var(1), within=1e-4)


def test_a_longer_unseen_sequence_uses_the_statistics_of_the_last_step() -> None:
    layer = BatchNormLSTM(3, 4, t_max=4)
    for _ in range(20):
        layer(torch.randn(4, 16, 3))
    layer.eval()
    x = torch.randn(9, 2, 3)
    longer = BatchNormLSTM(3, 4, t_max=9).eval()
    state = layer.state_dict()
    for name, value in state.items():
        if name.startswith("running"):
            state[name] = torch.cat([value, value[-1:].expand(5, -1)])
    longer.load_state_dict(state | {"steps_tracked": torch.tensor(9)})
    _near(layer(x)[0], longer(x)[0])


def test_steps_that_were_never_trained_have_no_statistics_to_be_used() -> None:
    short, roomy = BatchNormLSTM(3, 4, t_max=4), BatchNormLSTM(3, 4, t_max=50)
    missing = roomy.load_state_dict(dict(short.named_parameters()), strict=False)
    assert not missing.unexpected_keys
    for layer in (short, roomy):
        torch.manual_seed(1)
        for _ in range(5):
            layer(torch.randn(4, 16, 3))
        layer.eval()
    x = torch.randn(9, 2, 3)
    assert (short.steps_tracked, roomy.steps_tracked) == (4, 4)
    _near(short(x)[0], roomy(x)[0])


def test_training_beyond_the_last_step_updates_the_last_statistics_only() -> None:
    layer = BatchNormLSTM(3, 4, t_max=2)
    layer(torch.randn(2, 16, 3))
    first = layer.running_mean_hh_l0.clone()
    layer(torch.randn(7, 16, 3))
    assert layer.running_mean_hh_l0.shape == (2, 16)
    assert (layer.running_mean_hh_l0[1] - first[1]).abs().max() > 1e-4


def test_a_step_with_one_sequence_left_uses_running_statistics() -> None:
    layer = BatchNormLSTM(3, 4, t_max=5)
    packed = pack_sequence([torch.randn(n, 3) for n in (5, 3, 3)])
    layer(packed)
    assert layer.steps_tracked == 3
    assert torch.equal(layer.running_var_ih_l0[3:], torch.ones(2, 16))
    assert (layer.running_var_ih_l0[:3] != 1).all()


def test_sequences_that_have_ended_do_not_count() -> None:
    layer = BatchNormLSTM(3, 4, t_max=5)
    sequences = [torch.randn(n, 3) for n in (5, 5, 2)]
    output, (hidden, _) = layer(pack_sequence(sequences))
    longer, _ = BatchNormLSTM.forward(layer, torch.stack(sequences[:2], 1))
    alike = layer(pack_sequence([*sequences[:2], sequences[2] * 100]))[0]
    assert output.data.shape == (12, 4)
    _near(hidden[0, 2], output.data[5])
    assert longer.shape == (5, 2, 4)
    assert (alike.data - output.data)[:3].abs().max() > 1e-3


def test_it_keeps_conventions() -> None:
    def make() -> nn.Module:
        return BatchNormLSTM(3, 4, t_max=2, batch_first=True)

    keeps_conventions(make, torch.randn(4, 2, 3), exported=True)


def test_gradients_are_those_of_differences() -> None:
    layer = BatchNormLSTM(1, 2, t_max=2, momentum=0.0, dtype=torch.float64)
    names = tuple(dict(layer.named_parameters()))
    weights = [w.detach().requires_grad_() for w in layer.parameters()]

    def output(x: Tensor, *weights: Tensor) -> Tensor:
        return functional_call(layer, dict(zip(names, weights, strict=True)), (x,))[0]

    x = torch.randn(2, 3, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        output, (x, *weights), fast_mode=True, check_undefined_grad=False
    )


def test_forgotten_statistics_are_those_of_a_new_layer() -> None:
    layer, new = BatchNormLSTM(3, 4, t_max=3), BatchNormLSTM(3, 4, t_max=3)
    layer(torch.randn(3, 8, 3))
    layer.reset_running_stats()
    for found, expected in zip(layer.buffers(), new.buffers(), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bidirectional": True}, "expected one direction"),
        ({"t_max": 0}, "t_max=0"),
        ({"momentum": 2.0}, "momentum=2.0"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict, says: str) -> None:
    with pytest.raises(NormError, match=says):
        BatchNormLSTM(3, 4, **{"t_max": 3, **options})


def test_a_batch_of_one_in_training_is_refused_and_changes_nothing() -> None:
    layer = BatchNormLSTM(3, 4, t_max=3)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    for input in (
        torch.ones(3, 1, 3),
        torch.ones(3, 3),
        pack_sequence([torch.ones(2, 3)]),
    ):
        with pytest.raises(NormError, match="batch of one sequence came in training"):
            layer(input)
    assert all(torch.equal(layer.state_dict()[n], v) for n, v in before.items())
    assert layer.eval()(torch.ones(3, 1, 3))[0].shape == (3, 1, 4)
