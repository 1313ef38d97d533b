"""Branches are dropped by a rule; on average they are the full ones."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from conventions import keeps_conventions
from surefoot.nn.regularize import (
    DepthRates,
    RegularizeError,
    StochasticDepth,
    expected_depth,
    stochastic_depth,
    stochastic_depth_rates,
)
from surefoot.schedules import Linear, after_step


def test_the_expected_depth_of_54_blocks() -> None:
    assert expected_depth(stochastic_depth_rates(54, last=0.5)) == pytest.approx(40.25)
    rates = stochastic_depth_rates(54, last=0.5, rule="timm")
    assert expected_depth(rates) == pytest.approx(40.5)


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 60), st.floats(0, 1))
def test_both_rules_rise_evenly_to_the_last_rate(depth: int, last: float) -> None:
    paper = stochastic_depth_rates(depth, last=last)
    timm = stochastic_depth_rates(depth, last=last, rule="timm")
    assert paper[0] == pytest.approx(last / depth)
    assert timm[0] == 0.0
    assert paper[-1] == pytest.approx(last)
    assert timm[-1] == pytest.approx(last)
    for rates in (paper, timm):
        steps = [b - a for a, b in pairwise(rates)]
        assert max(steps) - min(steps) <= 1e-9


def test_the_mean_output_is_that_of_the_full_block() -> None:
    torch.manual_seed(0)
    branch = torch.randn(8, dtype=torch.float64)
    found = stochastic_depth(branch.expand(100_000, -1), 0.3)
    torch.testing.assert_close(found.mean(0), branch, rtol=0.01, atol=1e-3)
    kept = (found != 0).all(1)
    assert kept.double().mean().item() == pytest.approx(0.7, abs=0.006)
    torch.testing.assert_close(found[kept][0], branch / 0.7)


def test_whole_samples_or_whole_batches_are_dropped() -> None:
    torch.manual_seed(1)
    each = stochastic_depth(torch.ones(64, 3, 4), 0.5).flatten(1)
    assert bool(((each == 0).all(1) | (each == 2).all(1)).all())
    assert 0 < int((each[:, 0] == 0).sum()) < 64
    draws = [
        stochastic_depth(torch.ones(9, 2), 0.5, per_sample=False) for _ in range(20)
    ]
    assert all(len(draw.unique()) == 1 for draw in draws)
    assert {float(draw[0, 0]) for draw in draws} == {0.0, 2.0}


def test_evaluation_and_a_rate_of_zero_change_nothing() -> None:
    x = torch.randn(4, 3)
    assert torch.equal(StochasticDepth(0.9).eval()(x), x)
    assert torch.equal(StochasticDepth(0.0)(x), x)


def test_a_dropped_sample_gives_zeros_and_no_gradient() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    found = StochasticDepth(1.0)(x)
    found.sum().backward()
    assert not found.any()
    assert not x.grad.any()


def test_gradients_are_those_of_the_kept_branch() -> None:
    def dropped(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(2)
        return stochastic_depth(x, 0.4)

    x = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(dropped, (x,))


def test_all_rates_of_a_model_follow_a_schedule_and_are_resumed() -> None:
    model = nn.Sequential(*(StochasticDepth() for _ in range(4)))
    weight = nn.Parameter(torch.ones(1))
    sgd = torch.optim.SGD([weight], lr=0.1)
    action = DepthRates(model, Linear(0.0, 0.8, steps=8), rule="timm")
    handle = after_step(sgd, action)
    weight.grad = torch.zeros(1)
    for _ in range(4):
        sgd.step()
    rates = [float(drop.p) for drop in model]
    assert rates == pytest.approx([0.0, 0.4 / 3, 0.8 / 3, 0.4])
    assert handle.log[-1].body["last"] == pytest.approx(0.4)
    state = sgd.state_dict()
    for drop in model:
        drop.p.zero_()
    sgd.load_state_dict(state)
    assert [float(drop.p) for drop in model] == pytest.approx(rates)


def test_it_keeps_the_conventions() -> None:
    keeps_conventions(lambda: StochasticDepth(0.5), torch.randn(6, 3), exported=True)
    keeps_conventions(lambda: StochasticDepth(0.5, per_sample=False), torch.randn(6, 3))


def test_compiled_code_reads_the_rate_live() -> None:
    torch._dynamo.reset()
    drop = StochasticDepth(0.0)
    fast = torch.compile(drop, fullgraph=True, backend="aot_eager")
    x = torch.ones(3, 2)
    assert torch.equal(fast(x), x)
    drop.p.fill_(1.0)
    assert not fast(x).any()


def test_samples_can_be_vmapped() -> None:
    x = torch.ones(500, 1, 2)
    torch.manual_seed(0)
    drop = StochasticDepth(0.5)
    found = torch.vmap(drop, randomness="different")(x)
    assert 150 < int((found[:, 0, 0] == 0).sum()) < 350


def test_rates_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RegularizeError, match="0 to 1"):
        StochasticDepth(-0.1)
    with pytest.raises(RegularizeError, match="paper, timm"):
        stochastic_depth_rates(4, rule="composer")  # type: ignore[arg-type]
    with pytest.raises(RegularizeError, match="one block"):
        stochastic_depth_rates(0)
    with pytest.raises(RegularizeError, match="no StochasticDepth"):
        DepthRates(nn.ReLU(), 0.5)
    with pytest.raises(RegularizeError, match="0 to 1"):
        expected_depth([2.0])
