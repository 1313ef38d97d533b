"""A penalty's weight is held where its gradient is a share of the loss's."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from surefoot.nn.regularize import PenaltyController, RegularizeError, gradient_norm

HESSIAN = torch.tensor([[3.0, 1.0], [1.0, 2.0]])


def parts(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A quadratic and an L2 term, whose gradients are known."""
    away = weight - torch.tensor([4.0, -2.0])
    return (away @ HESSIAN @ away) / 2, weight.square().sum() / 2


@pytest.mark.parametrize("begin", [1e-4, 1.0, 50.0])
def test_the_ratio_reaches_its_target_on_a_quadratic_with_an_l2_term(
    begin: float,
) -> None:
    weight = nn.Parameter(torch.tensor([1.0, 1.0]))
    controller = PenaltyController(begin, bounds=(1e-6, 100.0))
    told = []
    for _ in range(50):
        loss, penalty = parts(weight)
        told.append(controller.observe(loss, penalty, [weight]))
        assert 1e-6 <= controller.weight <= 100.0
    slope = HESSIAN @ (weight.detach() - torch.tensor([4.0, -2.0]))
    ratio = controller.weight * weight.detach().norm() / slope.norm()
    assert ratio.item() == pytest.approx(0.10, abs=0.005)
    changes = [one for one in told if one.weight != one.before]
    assert [event.step for event in controller.log] == [one.step for one in changes]
    assert [event.body["after"] for event in controller.log] == [
        one.weight for one in changes
    ]
    assert told[0].verdict == ("too weak" if begin < 0.1 else "too strong")
    assert told[-1].verdict == "in range"


def test_it_holds_the_ratio_while_the_weights_move() -> None:
    weight = nn.Parameter(torch.tensor([20.0, 20.0]))
    controller = PenaltyController(1.0, gain=1.0)
    sgd = torch.optim.SGD([weight], lr=0.01)
    ratios = []
    for _ in range(50):
        loss, penalty = parts(weight)
        ratios.append(controller.observe(loss, penalty, [weight]).ratio)
        sgd.zero_grad()
        (loss + controller.weight * penalty).backward()
        sgd.step()
    assert ratios[-1] == pytest.approx(0.10, abs=0.005)


def test_at_rest_the_ratio_is_one_whatever_the_weight() -> None:
    for strength in (0.1, 1.0):
        right = HESSIAN @ torch.tensor([4.0, -2.0])
        rest = torch.linalg.solve(HESSIAN + strength * torch.eye(2), right)
        weight = nn.Parameter(rest)
        found = PenaltyController(strength).observe(*parts(weight), [weight])
        assert found.ratio == pytest.approx(1.0, abs=1e-4)


lengths = st.one_of(st.floats(0, 1e30), st.just(math.inf), st.just(math.nan))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(lengths, lengths), max_size=20), st.floats(0.1, 1))
def test_the_weight_never_leaves_its_bounds_and_every_change_is_logged(
    norms: list[tuple[float, float]], gain: float
) -> None:
    controller = PenaltyController(1.0, bounds=(0.1, 10.0), gain=gain)
    heard = []
    controller.tell = heard.append
    changes = 0
    for loss_norm, penalty_norm in norms:
        before = controller.weight
        found = controller.update(loss_norm, penalty_norm)
        assert 0.1 <= controller.weight <= 10.0
        assert found.at_bound == (controller.weight in (0.1, 10.0))
        changes += controller.weight != before
    assert len(controller.log) == len(heard) == changes


def test_bounds_that_are_too_narrow_are_said() -> None:
    controller = PenaltyController(1.0, bounds=(0.5, 2.0))
    for _ in range(20):
        found = controller.update(100.0, 0.1)
    assert found.weight == 2.0
    assert found.at_bound
    assert found.verdict == "too weak"
    for _ in range(20):
        found = controller.update(0.1, 100.0)
    assert found.weight == 0.5
    assert found.verdict == "too strong"


def test_nothing_is_changed_by_a_gradient_that_is_no_number() -> None:
    controller = PenaltyController(1.0)
    assert controller.update(math.nan, 1.0).verdict == "unknown"
    assert controller.update(0.0, 0.0).verdict == "unknown"
    assert controller.update(0.0, 1.0).verdict == "too strong"
    assert controller.weight == 1.0
    assert not controller.log


def test_a_resumed_controller_goes_on() -> None:
    one, other = PenaltyController(1.0), PenaltyController(3.0)
    one.update(1.0, 1.0)
    other.load_state_dict(one.state_dict())
    assert one.update(2.0, 1.0) == other.update(2.0, 1.0)
    narrow = PenaltyController(1e-3, bounds=(1e-4, 1e-2))
    with pytest.raises(RegularizeError, match="widen"):
        narrow.load_state_dict(one.state_dict())
    assert narrow.weight == 1e-3


def test_measuring_leaves_gradients_and_graphs_as_they_are() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 1.0]))
    loss, penalty = parts(weight)
    PenaltyController(1.0).observe(loss, penalty, [weight])
    assert weight.grad is None
    (loss + penalty).backward()
    assert weight.grad is not None


def test_parameters_that_do_not_take_part_count_as_zero() -> None:
    used, unused = nn.Parameter(torch.tensor([3.0, 4.0])), nn.Parameter(torch.ones(3))
    found = gradient_norm(used.square().sum() / 2, [used, unused])
    assert found.item() == pytest.approx(5.0)


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RegularizeError, match="between them"):
        PenaltyController(1.0, bounds=(2.0, 3.0))
    with pytest.raises(RegularizeError, match="gain"):
        PenaltyController(1.0, gain=0.0)
    with pytest.raises(RegularizeError, match="without a graph"):
        PenaltyController(1.0).observe(torch.ones(()), torch.ones(()), [])
