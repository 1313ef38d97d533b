"""Ways out of a saddle."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from curvature import nets
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.escape import PerturbedDescent, escape


class Saddle(nn.Module):
    """The function x² − y² + y⁴/4: a saddle at 0, minima of −1 at y = ±√2."""

    def __init__(self, x: float = 0.0, y: float = 0.0) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor([x, y], dtype=torch.float64))

    def forward(self) -> Tensor:
        x, y = self.place
        return x**2 - y**2 + y**4 / 4


def value(model: nn.Module, _: object) -> Tensor:
    return model()


def _descend(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> float:
    for _ in range(steps):
        optimizer.zero_grad()
        value(model, None).backward()
        optimizer.step()
    return value(model, None).item()


def test_plain_descent_stays_at_a_saddle() -> None:
    model = Saddle(x=1.0)
    assert _descend(model, torch.optim.SGD(model.parameters(), lr=0.1), 150) < 1e-20
    assert abs(model.place[1].item()) == 0.0


def test_a_step_along_negative_curvature_and_descent_reach_the_minimum() -> None:
    model = Saddle()
    found = escape(model, None, loss_fn=value)
    assert found.moved
    assert found.lowest.value == pytest.approx(-2.0)
    assert found.after == value(model, None).item() < found.before == 0.0
    plain = torch.optim.SGD(model.parameters(), lr=0.1)
    assert _descend(model, plain, 200) == pytest.approx(-1.0)


def test_where_nothing_curves_down_nothing_is_moved() -> None:
    model = Saddle(y=2**0.5)
    before = model.place.detach().clone()
    found = escape(model, None, loss_fn=value)
    assert (found.moved, found.length) == (False, 0.0)
    assert torch.equal(model.place, before)


def test_only_the_weights_that_are_named_move() -> None:
    case = nets.made(nets.smooth)
    kept = {n: p.detach().clone() for n, p in case.model.named_parameters()}
    found = escape(case.model, case.batch, loss_fn=case.loss_fn, where=["0", "2"])
    assert found.lowest.value < 0
    assert found.after < found.before
    moved = {n for n, p in case.model.named_parameters() if not torch.equal(p, kept[n])}
    assert moved <= {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert moved


def test_the_loss_is_never_higher_after_an_escape() -> None:
    """Curved down at the weights, and a wall close by on both sides."""

    class Walled(Saddle):
        def forward(self) -> Tensor:
            x, y = self.place
            return x**2 - y**2 + 1e8 * y**4

    model = Walled()
    found = escape(model, None, loss_fn=value)
    assert found.after <= found.before
    assert value(model, None).item() == found.after


def test_an_error_on_the_way_leaves_the_weights_as_they_were() -> None:
    model, calls = Saddle(), []

    def failing(model: nn.Module, _: object) -> Tensor:
        calls.append(1)
        if len(calls) > 5:
            raise RuntimeError("out of patience")
        return model()

    with pytest.raises(RuntimeError, match="out of patience"):
        escape(model, None, loss_fn=failing)
    assert model.place.tolist() == [0.0, 0.0]


# --- perturbed descent ----------------------------------------------------------


def test_perturbed_descent_reaches_the_minimum_and_stays() -> None:
    model = Saddle(x=1.0)
    optimizer = PerturbedDescent(model.parameters(), lr=0.1)
    assert _descend(model, optimizer, 300) == pytest.approx(-1.0, abs=1e-3)
    assert _descend(model, optimizer, 500) == pytest.approx(-1.0, abs=1e-3)


def test_without_a_small_gradient_it_is_plain_descent() -> None:
    places = []
    for maker in (PerturbedDescent, torch.optim.SGD):
        model = Saddle(x=1.0, y=0.5)
        _descend(model, maker(model.parameters(), lr=0.1), 8)
        places.append(model.place.detach())
    assert torch.allclose(*places, rtol=1e-12)


def test_it_waits_between_perturbations_and_stays_in_the_ball() -> None:
    weight = nn.Parameter(torch.zeros(3))
    optimizer = PerturbedDescent([weight], lr=0.1, radius=0.5, wait=10)
    moved = []
    for step in range(30):
        before = weight.detach().clone()
        weight.grad = torch.zeros(3)
        optimizer.step()
        if not torch.equal(weight, before):
            moved.append(step)
            assert (weight.detach() - before).norm() <= 0.5
    assert len(moved) == 3
    assert min(b - a for a, b in pairwise(moved)) >= 10


def test_it_goes_on_from_a_state_dict() -> None:
    runs = []
    for resumed in (False, True):
        model = Saddle(x=1.0)
        optimizer = PerturbedDescent(model.parameters(), lr=0.1, seed=3)
        _descend(model, optimizer, 45)
        if resumed:
            other = PerturbedDescent(model.parameters(), lr=0.5)
            other.load_state_dict(optimizer.state_dict())
            optimizer = other
        _descend(model, optimizer, 70)
        runs.append(model.place.detach())
    assert torch.equal(*runs)


@pytest.mark.parametrize(
    "arguments", [{"lr": 0.0}, {"lr": 1.0, "radius": 0.0}, {"lr": 1.0, "wait": 0}]
)
def test_arguments_out_of_range_are_refused(arguments) -> None:
    with pytest.raises(ValueError, match="expected lr > 0"):
        PerturbedDescent([nn.Parameter(torch.ones(1))], **arguments)


def test_a_loss_that_is_not_finite_is_refused() -> None:
    with pytest.raises(CurvatureError, match="finite"):
        escape(Saddle(x=float("inf")), None, loss_fn=value)
