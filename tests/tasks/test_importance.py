"""Importance of weights: the loop over samples beside it, on many kinds of models."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from surefoot.tasks.continual import (
    ContinualError,
    Importance,
    fisher_diagonal,
    mas_importance,
)
from surefoot.tasks.continual.likelihood import ALL, CATEGORICAL, likelihood_of


def _loop(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Mean squared gradient of each sample, one by one, with its true label."""
    model.eval()
    total = {name: torch.zeros_like(w) for name, w in model.named_parameters()}
    inputs, targets = batch
    for place in range(len(targets)):
        part = slice(place, place + 1)
        loss = functional.cross_entropy(model(inputs[part]), targets[part])
        slopes = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        for held, slope in zip(total.values(), slopes, strict=True):
            held += 0 if slope is None else slope.square()
    return {name: held / len(targets) for name, held in total.items()}


def _close(found: Importance, exact: dict[str, Tensor], rtol: float = 1e-5) -> None:
    assert found.values.keys() == exact.keys()
    for name, value in exact.items():
        torch.testing.assert_close(
            found.values[name], value, rtol=rtol, atol=1e-6 * float(value.max())
        )


def _logistic() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    inputs = torch.randn(1024, 20)
    return nn.Linear(20, 2), (inputs, (inputs[:, 0] > 0).long())


def test_the_fisher_of_logistic_regression_equals_the_loop_to_1e_5() -> None:
    model, batch = _logistic()
    found = fisher_diagonal(model, [batch], labels="true")
    _close(found, _loop(model, batch))
    assert found.samples == 1024
    assert found.ways == ("layers",)
    assert found.kind == "Fisher, true labels"


@pytest.mark.parametrize("labels", ["true", "sampled"])
@pytest.mark.parametrize("size", [1, 16, 64, 256])
def test_the_fisher_does_not_depend_on_the_batch_size(labels: str, size: int) -> None:
    """The square of a batch's gradient would be 0.064, 0.018 and 0.0066 of it."""
    model, (inputs, targets) = _logistic()
    whole = fisher_diagonal(model, [(inputs, targets)], labels=labels)  # type: ignore[arg-type]
    batches = zip(inputs.split(size), targets.split(size), strict=True)
    _close(fisher_diagonal(model, batches, labels=labels), dict(whole.values))  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "share"), [(16, 0.064), (64, 0.018), (256, 0.0066)])
def test_squared_gradients_of_batches_are_far_too_small(
    size: int, share: float
) -> None:
    model, (inputs, _) = _logistic()
    with torch.no_grad():
        targets = CATEGORICAL.sample(model(inputs), np.random.default_rng(0))
    exact = fisher_diagonal(model, [(inputs, targets)], labels="true").values["weight"]
    squares = torch.zeros_like(exact)
    batches = list(zip(inputs.split(size), targets.split(size), strict=True))
    for one, label in batches:
        loss = functional.cross_entropy(model(one), label)
        squares += torch.autograd.grad(loss, model.weight)[0].square() / len(batches)
    found = float(squares.mean() / exact.mean())
    assert share / 2 < found < share * 2


class Tied(nn.Module):
    """A weight in two places, and one that is used without its layer being called."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.out = nn.Linear(6, 3)
        self.aside = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(torch.tanh(self.first(x)))
        return (
            self.out(x) + self.aside(x) + 0.3 * functional.linear(x, self.aside.weight)
        )


class Branching(nn.Module):
    """What it does depends on the values: `vmap` refuses it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 1e9:
            x = x * 2
        return x * self.scale


class Twice(nn.Module):
    """One layer that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.inner(self.inner(x).relu()))


class Sequence(nn.Module):
    """Attention, norms and a layer on each token."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.block(x)).mean(1)


class Recurrent(nn.Module):
    """An LSTM whose last state is read."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0][:, -1])


def _parametrized() -> nn.Module:
    layer = nn.Linear(4, 3)
    parametrize.register_parametrization(layer, "weight", nn.Tanh())
    return layer


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)), (4,)),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 6, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 4, 3, groups=2, dilation=2, padding=2, bias=False),
            nn.BatchNorm2d(4),
            nn.Flatten(),
            nn.LazyLinear(3),
        ),
        (2, 9, 9),
    ),
    "sequence": (lambda: nn.Sequential(nn.Conv1d(3, 3, 4, padding=1), _Last()), (3, 7)),
    "volumes": (
        lambda: nn.Sequential(
            nn.Conv3d(2, 3, (1, 2, 3), dilation=2), nn.Flatten(2), _Last()
        ),
        (2, 4, 5, 6),
    ),
    "same": (
        lambda: nn.Sequential(nn.Conv1d(3, 3, 3, padding="same"), _Last()),
        (3, 7),
    ),
    "attention": (Sequence, (5, 8)),
    "recurrent": (Recurrent, (5, 3)),
    "tied": (Tied, (6,)),
    "twice": (Twice, (5,)),
    "branching": (Branching, (3,)),
    "parametrized": (_parametrized, (4,)),
}


class _Last(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1)


WAYS = {
    "mlp": ("layers",),
    "convolutions": ("layers", "vmap"),
    "sequence": ("layers",),
    "volumes": ("layers",),
    "same": ("vmap",),
    "attention": ("layers", "vmap"),
    "recurrent": ("layers", "vmap"),
    "tied": ("layers", "vmap"),
    "twice": ("layers", "vmap"),
    "branching": ("one by one",),
    "parametrized": ("vmap",),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_every_kind_of_model_equals_the_loop(name: str) -> None:
    make, shape = MODELS[name]
    torch.manual_seed(0)
    model = make()
    inputs, targets = torch.randn(12, *shape), torch.randint(3, (12,))
    model(inputs)
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = fisher_diagonal(model, [(inputs, targets)], labels="true")
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert found.ways == WAYS[name]
    _close(found, _loop(model, (inputs, targets)), rtol=1e-4)


@settings(deadline=None, max_examples=20)
@given(
    channels=st.integers(1, 3),
    out=st.integers(1, 3),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    bias=st.booleans(),
)
def test_convolutions_of_all_shapes_equal_the_loop(
    channels: int, out: int, kernel: int, stride: int, padding: int, bias: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, out, kernel, stride, padding, bias=bias)
    model = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    batch = torch.randn(5, channels, 6, 5), torch.randint(out, (5,))
    _close(fisher_diagonal(model, [batch], labels="true"), _loop(model, batch), 1e-4)


def test_frozen_weights_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    found = fisher_diagonal(model, [torch.randn(4, 3)])
    assert list(found.values) == ["1.weight", "1.bias"]


def test_sampled_labels_follow_the_model_and_not_the_data() -> None:
    """Where it is sure and wrong, true labels weigh much and sampled ones do not."""
    model = nn.Linear(1, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[5.0], [-5.0]]))
    batch = torch.ones(64, 1), torch.ones(64, dtype=torch.int64)
    true = fisher_diagonal(model, [batch], labels="true").values["weight"]
    drawn = fisher_diagonal(model, [batch], labels="sampled").values["weight"]
    assert float(true[0]) == pytest.approx(1.0, abs=1e-3)
    assert float(drawn[0]) < 1e-2


@pytest.mark.parametrize("name", [one.name for one in ALL])
def test_the_sampled_fisher_is_the_curvature_of_the_loss(name: str) -> None:
    """For these likelihoods E_y of the squared slope is the second derivative."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2, bias=False).double()
    inputs = torch.randn(1, 3, dtype=torch.float64)
    found = fisher_diagonal(model, [inputs.expand(20_000, 3)], likelihood=name)
    loss = likelihood_of(name).loss
    targets = {"categorical": torch.tensor([1])}.get(name, torch.zeros(1, 2).double())
    curved = torch.autograd.functional.hessian(
        lambda w: loss(inputs @ w.T, targets).sum(), model.weight.detach()
    )
    exact = torch.einsum("ijij->ij", curved)
    torch.testing.assert_close(found.values["weight"], exact, rtol=0.05, atol=1e-3)


def test_arguments_may_be_a_tuple_or_named() -> None:
    model = nn.Bilinear(3, 4, 2)
    left, right, targets = torch.randn(5, 3), torch.randn(5, 4), torch.ones(5).long()
    plain = fisher_diagonal(model, [((left, right), targets)], labels="true")
    named = {"input1": left, "input2": right}
    other = fisher_diagonal(model, [(named, targets)], labels="true")
    _close(other, dict(plain.values))
    assert fisher_diagonal(model, [named]).samples == 5


def test_mas_is_the_mean_of_absolute_gradients() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.LayerNorm(3))
    inputs = torch.randn(9, 4)
    found = mas_importance(model, [inputs[:4], inputs[4:]])
    exact = {name: torch.zeros_like(w) for name, w in model.named_parameters()}
    for one in inputs:
        slopes = torch.autograd.grad(
            model(one[None]).square().sum(), list(model.parameters())
        )
        for held, slope in zip(exact.values(), slopes, strict=True):
            held += slope.abs() / 9
    for name, value in exact.items():
        torch.testing.assert_close(found.values[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("batches", "named", "told"),
    [
        ([], {}, "no samples"),
        ([torch.ones(2, 3)], {"labels": "true"}, "without targets"),
        ([torch.ones(2, 3)], {"labels": "exact"}, "'sampled' or 'true'"),
        ([torch.ones(2, 3)], {"likelihood": "poisson"}, "expected categorical"),
        ([(torch.ones(2, 3),) * 3], {}, "3 parts"),
    ],
)
def test_wrong_requests_are_refused(batches: list, named: dict, told: str) -> None:
    with pytest.raises(ContinualError, match=told):
        fisher_diagonal(nn.Linear(3, 2), batches, **named)


def test_a_model_without_a_tensor_is_refused() -> None:
    with pytest.raises(ContinualError, match="wrap it in a module"):
        mas_importance(nn.LSTM(3, 3), [torch.ones(2, 4, 3)])
