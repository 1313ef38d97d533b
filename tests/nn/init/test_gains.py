"""Gains that fit activations, torch's own starts, swaps of activations, and LSUV."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from surefoot.nn.init import (
    InitError,
    activations_of,
    gain,
    initialize_,
    lsuv_,
    replace_activation,
)


def gradient_ratio(
    depth: int, width: int, draw: Callable[[Tensor], object], activation: Any
) -> float:
    """Norm of the gradient at the input of all layers over that at their output."""
    first = x = torch.randn(256, width, requires_grad=True)
    for _ in range(depth):
        weight = torch.empty(width, width)
        draw(weight)
        x = activation(x @ weight.T)
    arriving = torch.randn_like(x)
    (back,) = torch.autograd.grad(x, first, arriving)
    return (back.norm() / arriving.norm()).item()


# --- torch's own starts ---------------------------------------------------------


def test_he_keeps_the_gradient_norm_of_5_relu_layers_within_5_percent() -> None:
    torch.manual_seed(0)
    ratio = gradient_ratio(
        5, 1024, lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"), torch.relu
    )
    assert ratio == pytest.approx(1.0, abs=0.05)


def test_a_dirac_convolution_returns_its_input_bit_exactly() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(5, 5, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight)
    x = torch.randn(2, 5, 9, 9)
    assert torch.equal(layer(x), x)


def test_orthogonal_and_identity_starts_keep_lengths() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 32)
    wide = nn.init.orthogonal_(torch.empty(64, 32))
    torch.testing.assert_close((x @ wide.T).norm(dim=1), x.norm(dim=1))
    assert torch.equal(x @ nn.init.eye_(torch.empty(32, 32)).T, x)


# --- gains ----------------------------------------------------------------------


def test_the_gain_of_a_sigmoid_is_4_where_torch_says_1() -> None:
    assert gain("sigmoid") == 4.0
    assert gain(nn.Sigmoid()) == gain(torch.sigmoid) == 4.0
    assert nn.init.calculate_gain("sigmoid") == 1


def test_5_sigmoid_layers_keep_100_times_more_gradient_with_gain_4() -> None:
    def ratio(scale: float) -> float:
        torch.manual_seed(0)
        draw = lambda w: nn.init.xavier_normal_(w, scale)  # noqa: E731
        return gradient_ratio(5, 512, draw, torch.sigmoid)

    one, four = ratio(1.0), ratio(gain("sigmoid"))
    assert one == pytest.approx(6.5e-4, rel=0.1)
    assert four == pytest.approx(0.079, rel=0.1)
    assert four >= 100 * one


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("relu", ("relu",)), ("tanh", ("tanh",)), ("selu", ("selu",)),
     ("linear", ("linear",)), ("leaky_relu", ("leaky_relu", 0.01))],
)  # fmt: skip
def test_gains_that_torch_knows_are_torch_s(ours: str, theirs: Any) -> None:
    assert gain(ours) == pytest.approx(nn.init.calculate_gain(*theirs), rel=1e-12)


def test_leaky_relu_of_slope_a_has_root_of_2_over_1_plus_a_squared() -> None:
    assert gain(nn.LeakyReLU(0.2)) == pytest.approx(1.3868, abs=5e-5)
    assert gain(nn.PReLU(init=0.2)) == pytest.approx((2 / 1.04) ** 0.5, rel=1e-6)


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "elu", "relu6", "hardswish"])
def test_gains_keep_the_second_moment(name: str) -> None:
    torch.manual_seed(0)
    z = torch.randn(400_000, dtype=torch.float64)
    kept = getattr(functional, name)(z).square().mean() * gain(name) ** 2
    assert kept.item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: gain("cube"), "expected one of relu"),
        (lambda: gain(torch.zeros_like), "keeps nothing of its input"),
        (lambda: gain(nn.Softmax(0)), r"Softmax\(dim=0\) has no gain: Softmax mixes"),
        (lambda: gain(nn.RReLU()), "has no gain: RReLU gives another output each"),
        (lambda: gain(lambda z: 0 * z + 2), "keeps nothing"),
    ],
)
def test_activations_without_a_gain_are_refused(wrong: Any, message: str) -> None:
    with pytest.raises(InitError, match=message):
        wrong()


# --- swaps ----------------------------------------------------------------------


def net(activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 8), activation(), nn.Sequential(nn.Linear(8, 8), activation())
    )


def test_a_swap_reports_its_count_and_the_matching_gain_1_3868() -> None:
    model = net().eval()
    swapped = replace_activation(model, lambda: nn.LeakyReLU(0.2))
    assert swapped.count == 2
    assert swapped.names == ("1", "2.1")
    assert (swapped.before, swapped.after) == (("ReLU",), "LeakyReLU")
    assert swapped.gain == pytest.approx(1.3868, abs=5e-5)
    assert swapped.factor == pytest.approx(1.3868 / 2**0.5, abs=5e-5)
    assert [type(m) for m in activations_of(model).values()] == [nn.LeakyReLU] * 2
    assert not model[1].training


def test_weights_can_be_scaled_along_and_all_is_undone() -> None:
    model = net()
    before, text = copy.deepcopy(model.state_dict()), repr(model)
    swapped = replace_activation(model, "gelu", rescale=["0", "2.0"])
    torch.testing.assert_close(
        model[0].weight, before["0.weight"] * gain("gelu") / 2**0.5
    )
    swapped.undo()
    assert repr(model) == text
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_one_module_in_many_places_is_swapped_in_all() -> None:
    relu = nn.ReLU()
    model = net(lambda: relu)
    assert replace_activation(model, "tanh", within=["1"]).count == 1
    assert isinstance(model[2][1], nn.Tanh)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda m: replace_activation(m, "cube"), "expected one of relu"),
        (lambda m: replace_activation(m, "gelu", within=["0"]), "without activation"),
        (lambda m: replace_activation(m, "gelu", within=["9"]), "the name '9' came"),
        (lambda m: m.append(nn.Tanh()) and replace_activation(m, "gelu", rescale=["0"]),
         "several gains"),
    ],
)  # fmt: skip
def test_swaps_that_cannot_be_are_refused_untouched(wrong: Any, message: str) -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InitError, match=message):
        wrong(model)
    assert all(isinstance(m, nn.ReLU | nn.Tanh) for m in activations_of(model).values())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_schemes_draw_what_torch_draws() -> None:
    model = net()
    for scheme, draw in (
        ("kaiming_normal", nn.init.kaiming_normal_),
        ("xavier_normal", nn.init.xavier_normal_),
        ("orthogonal", nn.init.orthogonal_),
    ):
        activation = "relu" if scheme == "kaiming_normal" else "linear"
        named = {"nonlinearity": "relu"} if scheme == "kaiming_normal" else {}
        generator = torch.Generator().manual_seed(3)
        done = initialize_(model, scheme, within=["2"], activation=activation,
                           generator=generator)  # fmt: skip
        expected = torch.empty(8, 8)
        draw(expected, generator=torch.Generator().manual_seed(3), **named)
        assert done.names == ("2.0",)
        torch.testing.assert_close(model[2][0].weight.detach(), expected)
        assert not model[2][0].bias.any()
    with pytest.raises(InitError, match="expected kaiming_normal"):
        initialize_(model, "magic")
    with pytest.raises(InitError, match="without linear or convolution"):
        initialize_(model, "orthogonal", within=["1"])


# --- unit variance --------------------------------------------------------------


def mixed() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Sigmoid(), nn.Flatten(),
        nn.Linear(128, 32), nn.Tanh(), nn.Linear(32, 10),
    )  # fmt: skip


def stds(model: nn.Module, x: Tensor) -> list[float]:
    found: list[float] = []
    kinds = (nn.Linear, nn.Conv2d)
    hooks = [
        m.register_forward_hook(lambda m, a, out: found.append(out.std().item()))
        for m in model.modules()
        if isinstance(m, kinds)
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("orthogonal", [True, False])
def test_every_layer_has_output_std_within_2_percent_of_1_after_one_pass(
    orthogonal: bool,
) -> None:
    model = mixed()
    x = 3 + 2 * torch.randn(64, 3, 8, 8)
    before = copy.deepcopy(model.state_dict())
    done = lsuv_(model, x, orthogonal=orthogonal)
    assert [one.name for one in done] == ["0", "2", "5", "7"]
    assert stds(model, x) == pytest.approx([1.0] * 4, abs=0.02)
    for one in done:
        weight = model.get_parameter(f"{one.name}.weight").flatten()
        if not orthogonal:  # the direction of the weights is kept
            old = before[f"{one.name}.weight"].flatten()
            cosine = functional.cosine_similarity(weight, old, dim=0)
            assert cosine.item() == pytest.approx(1.0, abs=1e-6)
        else:
            rows = weight.reshape(model.get_submodule(one.name).weight.shape).flatten(1)
            gram = rows @ rows.T / one.factor**2
            torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)
        assert one.factor == pytest.approx(1 / one.std)


def test_only_the_layers_named_change_and_statistics_stay() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    before = copy.deepcopy(model.state_dict())
    stream = torch.get_rng_state()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 4, generator=generator)
    lsuv_(model, x, within=["2"], generator=generator)
    after = model.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert set(before) - same == {"2.weight", "2.bias"}
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.Threshold(9, 0), nn.Linear(4, 4)),
         "2 puts out values of standard deviation 0"),
        (lambda: nn.Sequential(nn.Linear(4, 4), _Forgets()), "1.unused was not called"),
        (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))),
         "0 has a parametrisation"),
        (lambda: nn.Sequential(nn.ReLU()), "without linear or convolution"),
    ],
)  # fmt: skip
def test_layers_that_cannot_be_scaled_are_named_and_nothing_changes(
    make: Any, message: str
) -> None:
    torch.manual_seed(0)
    model = make()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InitError, match=message):
        lsuv_(model, 0.1 * torch.randn(16, 4))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert not any(m._forward_hooks for m in model.modules())


class _Forgets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x
