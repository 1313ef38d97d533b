"""Lines of stability against optimizers that really run on a quadratic."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.optim import (
    SGD,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    Optimizer,
    RMSprop,
)

from surefoot.curvature.edge import against_lines, stability
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.estimate import Estimate
from surefoot.curvature.operators import hessian
from surefoot.curvature.stability import (
    EDGE,
    StabilityLine,
    edge_of_stability,
    gauge,
    largest_rate,
    stability_line,
)

Maker = Callable[..., Optimizer]


@pytest.mark.parametrize(
    ("rate", "left"), [(0.19, 2.66e-5), (0.20, 1.0), (0.21, 1.38e4)]
)
def test_descent_on_a_quadratic_shrinks_below_the_line_and_grows_above(
    rate: float, left: float
) -> None:
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = SGD([weight], lr=rate)
    _descend(optimizer, weight, curvature=10.0, steps=100)
    assert abs(weight.item()) == pytest.approx(left, rel=5e-3)
    line = stability_line(optimizer)
    ratio = 10.0 / line.value
    assert (ratio < 1, ratio == 1, ratio > 1) == (rate < 0.2, rate == 0.2, rate > 0.2)
    assert largest_rate(10.0) == 0.2


RULES: list[tuple[str, Maker]] = [
    ("plain", SGD),
    ("L2 decay", partial(SGD, weight_decay=1.5)),
    ("momentum", partial(SGD, momentum=0.9)),
    ("momentum and decay", partial(SGD, momentum=0.9, weight_decay=3.0)),
    ("dampening", partial(SGD, momentum=0.7, dampening=0.4)),
    ("Nesterov", partial(SGD, momentum=0.9, nesterov=True)),
    ("Nesterov and decay", partial(SGD, momentum=0.5, nesterov=True, weight_decay=2.0)),
]


@pytest.mark.parametrize(("name", "maker"), RULES, ids=[name for name, _ in RULES])
@pytest.mark.parametrize(("factor", "grows"), [(0.98, False), (1.02, True)])
def test_lines_of_sgd_are_where_it_starts_to_grow(
    name: str, maker: Maker, factor: float, grows: bool
) -> None:
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = maker([weight], lr=0.1)
    line = stability_line(optimizer)
    _descend(optimizer, weight, factor * line.value - line.decay, steps=2000)
    assert (abs(weight.item()) > 1e3) is grows
    assert (abs(weight.item()) < 1e-3) is not grows


ADAPTIVE: list[tuple[str, Maker]] = [
    ("Adam", Adam),
    ("Adam, other β₁", partial(Adam, betas=(0.5, 0.999))),
    ("AdamW without decay", partial(AdamW, weight_decay=0.0)),
    ("AdamW", partial(AdamW, weight_decay=2.0)),
    ("RMSprop", RMSprop),
    ("RMSprop, momentum", partial(RMSprop, momentum=0.9)),
    ("Adagrad", Adagrad),
    ("Adamax", Adamax),
]


@pytest.mark.parametrize(("name", "maker"), ADAPTIVE, ids=[n for n, _ in ADAPTIVE])
@pytest.mark.parametrize(("factor", "grows"), [(0.98, False), (1.02, True)])
def test_lines_of_adaptive_optimizers_hold_for_the_preconditioned_curvature(
    name: str, maker: Maker, factor: float, grows: bool
) -> None:
    """With the second moment held fixed, as its change is slow against the step's."""
    weight = nn.Parameter(torch.full((1,), 1e-6, dtype=torch.float64))
    optimizer = maker([weight], lr=0.1)
    line = stability_line(optimizer)
    assert line.preconditioned
    _descend(
        optimizer,
        weight,
        factor * line.value,
        steps=1500,
        hold=_second_moment(optimizer),
    )
    assert (abs(weight.item()) > 1e-3) is grows
    assert (abs(weight.item()) < 1e-9) is not grows


def test_the_line_of_adam_is_38_over_the_rate() -> None:
    weight = nn.Parameter(torch.ones(1))
    assert stability_line(Adam([weight], lr=0.01)).value == pytest.approx(3800)
    assert stability_line(AdamW([weight], lr=0.01, weight_decay=0)).rule == "38/η"


def test_a_rate_of_zero_has_no_line() -> None:
    weight = nn.Parameter(torch.ones(1))
    assert stability_line(SGD([weight], lr=0.0)).value == math.inf
    found = edge_of_stability(_known(3.0), SGD([weight], lr=0.0))
    assert (found.ratio, found.state) == (0.0, "below")


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        (partial(NAdam, lr=0.1), "NAdam.*expected SGD"),
        (partial(SGD, lr=0.1, maximize=True), "maximises.*negated"),
    ],
)
def test_an_optimizer_without_a_line_is_refused(optimizer: Maker, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        stability_line(optimizer([nn.Parameter(torch.ones(1))]))


@pytest.mark.parametrize(
    ("value", "error", "state"),
    [
        (10.0, 0.1, "below"),
        (19.5, 0.1, "at the edge"),
        (24.0, 0.5, "at the edge"),
        (40.0, 1.0, "above"),
        (20.0, 10.0, "unresolved"),
        (math.nan, 0.1, "unresolved"),
        (-5.0, 0.1, "below"),
    ],
)
def test_a_gauge_says_what_its_error_allows(
    value: float, error: float, state: str
) -> None:
    found = gauge(_known(value, error), StabilityLine(20.0, "2/η", False))
    assert found.state == state
    assert found.ratio_error == error / 20
    assert f"ratio {value / 20:.2f}" in str(found)


def test_decay_is_added_to_the_curvature_of_sgd() -> None:
    optimizer = SGD([nn.Parameter(torch.ones(1))], lr=0.1, weight_decay=5.0)
    found = edge_of_stability(_known(10.0), optimizer)
    assert (found.sharpness, found.ratio) == (15.0, 0.75)


def test_groups_with_different_lines_give_a_range() -> None:
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    groups = [{"params": [a], "lr": 0.1}, {"params": [b], "lr": 0.01}]
    found = edge_of_stability(_known(30.0), SGD(groups, lr=1.0))
    assert found.ratio == 1.5
    assert found.ratio - found.ratio_error == pytest.approx(0.15)
    assert found.state == "unresolved"
    assert "0.15 to 1.50" in found.note


# --- measured on a model --------------------------------------------------------


def test_the_ratio_of_groups_decides_where_descent_starts_to_grow() -> None:
    """Two coupled weights with rates 0.3 and 0.02: neither line alone decides."""
    bent = torch.tensor([[4.0, 3.0], [3.0, 40.0]], dtype=torch.float64)
    for factor, grows in ((0.95, False), (1.05, True)):
        model = _Two(bent)
        optimizer = SGD(model.groups(0.3, 0.02), lr=1.0, momentum=0.5)
        gauged = stability(model, None, loss_fn=_loss, optimizer=optimizer)
        lowest = min(stability_line(optimizer, g).value for g in optimizer.param_groups)
        assert gauged.line == lowest
        assert "weighted" in gauged.note
        for group in optimizer.param_groups:
            group["lr"] *= factor / gauged.ratio
        for _ in range(500):
            optimizer.zero_grad()
            _loss(model, None).backward()
            optimizer.step()
        assert (model.norm() > 1e3) is grows
        assert (model.norm() < 1e-3) is not grows


def test_decay_inside_of_adam_is_preconditioned_with_the_rest() -> None:
    bent = torch.diag(torch.tensor([4.0, 40.0], dtype=torch.float64))
    model = _Two(bent)
    optimizer = Adam(model.parameters(), lr=0.01, weight_decay=7.0)
    _loss(model, None).backward()
    optimizer.step()
    roots = torch.cat([optimizer.state[w]["exp_avg_sq"] for w in model.parameters()])
    scale = (1 - 0.9) * ((roots / (1 - 0.999)).sqrt() + 1e-8)
    found = stability(model, None, loss_fn=_loss, optimizer=optimizer, tolerance=1e-6)
    expected = (torch.tensor([11.0, 47.0]) / scale).max().item()
    assert found.sharpness == pytest.approx(expected, rel=1e-5)
    assert found.ratio == pytest.approx(expected / 3800, rel=1e-5)


def test_weights_that_the_optimizer_does_not_hold_are_left_out() -> None:
    model = _Two(torch.diag(torch.tensor([4.0, 40.0], dtype=torch.float64)))
    optimizer = SGD([model.first], lr=0.1)
    found = stability(model, None, loss_fn=_loss, optimizer=optimizer)
    assert found.sharpness == pytest.approx(4.0)
    with (
        hessian(model, None, loss_fn=_loss) as whole,
        pytest.raises(CurvatureError, match="does not hold second"),
    ):
        against_lines(whole, optimizer)


@pytest.mark.parametrize("rate", [0.35, 0.45])
def test_full_batch_descent_settles_at_the_line(rate: float) -> None:
    """Progressive sharpening up to 2/η, and no further: Cohen et al. 2021."""
    torch.manual_seed(0)
    inputs = torch.randn(20, 5, dtype=torch.float64)
    targets = torch.sin(2 * inputs[:, :1]) + inputs[:, 1:2] * inputs[:, 2:3]
    net = nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 1)).double()
    optimizer = SGD(net.parameters(), lr=rate)

    def loss(model: nn.Module, _: object) -> Tensor:
        return (model(inputs) - targets).square().mean()

    ratios: list[float] = []
    for step in range(600):
        if step in (0, 400, 599):
            found = stability(net, None, loss_fn=loss, optimizer=optimizer)
            ratios.append(found.ratio)
        optimizer.zero_grad()
        loss(net, None).backward()
        optimizer.step()
    assert ratios[0] < 0.8
    assert all(EDGE[0] < ratio < EDGE[1] for ratio in ratios[1:])


class _Two(nn.Module):
    """Two weights on a quadratic with a given Hessian."""

    def __init__(self, bent: Tensor) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.ones(1, dtype=torch.float64))
        self.second = nn.Parameter(torch.ones(1, dtype=torch.float64))
        self.bent = bent

    def groups(self, *rates: float) -> list[dict[str, object]]:
        pairs = zip((self.first, self.second), rates, strict=True)
        return [{"params": [weight], "lr": rate} for weight, rate in pairs]

    def norm(self) -> float:
        return torch.cat([self.first, self.second]).detach().norm().item()


def _loss(model: _Two, _: object) -> Tensor:
    both = torch.cat([model.first, model.second])
    return both @ model.bent @ both / 2


def _known(value: float, error: float = 0.0) -> Estimate:
    return Estimate(value, error, products=1, method="given")


def _descend(
    optimizer: Optimizer,
    weight: nn.Parameter,
    curvature: float,
    steps: int,
    hold: Callable[[], None] = lambda: None,
) -> None:
    for _ in range(steps):
        hold()
        weight.grad = curvature * weight.detach()
        optimizer.step()


def _second_moment(optimizer: Optimizer) -> Callable[[], None]:
    """Sets the second moment to one before each step, past the bias corrections.

    Gradients here are far below one, so that a step hardly changes it.
    """

    def hold() -> None:
        for group in optimizer.param_groups:
            group["eps"] = 0.0
            for weight in group["params"]:
                _set_to_one(optimizer.state[weight], weight)

    return hold


def _set_to_one(state: dict[str, Tensor], weight: Tensor) -> None:
    state["step"] = torch.tensor(1e6)
    for name in ("exp_avg", "momentum_buffer"):
        state.setdefault(name, torch.zeros_like(weight))
    for name in ("exp_avg_sq", "square_avg", "sum", "exp_inf"):
        state[name] = torch.ones_like(weight)
