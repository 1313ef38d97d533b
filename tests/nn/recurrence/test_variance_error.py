"""How well norms know their variance, against Monte Carlo."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from surefoot.nn.norm import (
    NormError,
    advise_norm,
    crossover_batch,
    effective_size,
    variance_error,
)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _spread(draws: Tensor) -> float:
    """Relative standard deviation of the rows' variances."""
    found = draws.var(1)
    return float(found.std() / found.mean())


@pytest.mark.parametrize(
    ("n", "error"),
    [(2, 1.4142), (8, 0.5345), (32, 0.2540), (98, 0.1436), (25_088, 0.0089)],
)
def test_the_error_is_the_stated_one_and_that_of_monte_carlo(
    n: int, error: float
) -> None:
    assert variance_error(n) == pytest.approx(error, abs=5e-5)
    if n < 1_000:
        draws = torch.randn(100_000, n)
        assert variance_error(n) == pytest.approx(_spread(draws), rel=0.03)
    else:  # 1,000 variances tell their own spread within 2.2 %: a χ² instead of draws
        gamma = torch.distributions.Chi2(torch.tensor(n - 1.0))
        found = gamma.sample((100_000,)) / (n - 1)
        assert variance_error(n) == pytest.approx(float(found.std()), rel=0.03)


def test_the_two_layers_of_the_paper_have_the_stated_errors() -> None:
    batch = advise_norm(64, 32, batch=2, positions=7 * 7)
    assert batch.error("batch_norm") == pytest.approx(0.1436, abs=5e-5)
    group = advise_norm(256, 32, batch=1, positions=56 * 56)
    assert group.error("group_norm") == pytest.approx(0.0089, abs=5e-5)


def test_after_a_relu_the_error_is_larger() -> None:
    values = torch.randn(400_000, 32, dtype=torch.float64).clamp(min=0)
    centred = values - values.mean()
    kurtosis = float((centred**4).mean() / (centred**2).mean() ** 2)
    assert kurtosis == pytest.approx(5.41, abs=0.02)
    assert variance_error(32, kurtosis) == pytest.approx(0.374, abs=5e-4)
    assert _spread(values) == pytest.approx(0.373, abs=0.004)


def test_neighbours_that_are_alike_count_for_less() -> None:
    assert effective_size(1024, 0.9) == pytest.approx(107, abs=0.5)
    assert variance_error(1024, correlation=0.9) == pytest.approx(0.136, abs=1e-3)
    rho, n = 0.9, 1024
    values = torch.empty(20_000, n)
    values[:, 0] = torch.randn(20_000)
    for at in range(1, n):
        new = torch.randn(20_000) * math.sqrt(1 - rho**2)
        values[:, at] = rho * values[:, at - 1] + new
    spread = float(values.var(1).std())  # of the true variance, which is 1
    assert spread == pytest.approx(0.134, abs=0.003)
    assert variance_error(n, correlation=rho) == pytest.approx(spread, rel=0.03)


def test_one_value_has_no_variance() -> None:
    assert variance_error(1) == math.inf


def test_batch_norm_is_better_above_the_crossover_batch() -> None:
    assert crossover_batch(64, 32) == 2
    for batch, choice in ((1, "group_norm"), (2, "group_norm"), (3, "batch_norm")):
        advice = advise_norm(64, 32, batch=batch, positions=49)
        assert advice.crossover_batch == 2
        assert advice.error("group_norm") == pytest.approx(0.1436, abs=5e-5)
        assert advice.choice == choice
        better = advice.error("batch_norm") < advice.error("group_norm")
        assert better == (choice == "batch_norm")


def test_the_values_of_each_norm_are_those_it_averages() -> None:
    batch, channels, groups, side = 3, 8, 4, 5
    advice = advise_norm(channels, groups, batch=batch, positions=side * side)
    x = torch.randn(batch, channels, side, side, dtype=torch.float64)
    layers = {
        "batch_norm": (nn.BatchNorm2d(channels), (0, 2, 3)),
        "instance_norm": (nn.InstanceNorm2d(channels), (2, 3)),
        "layer_norm": (nn.LayerNorm(x.shape[1:]), (1, 2, 3)),
    }
    told = {one.name: one.values for one in advice.options}
    for name, (layer, dims) in layers.items():
        mean = x.mean(dims, keepdim=True)
        spread = (x.var(dims, correction=0, keepdim=True) + 1e-5).sqrt()
        torch.testing.assert_close(layer.double()(x), (x - mean) / spread)
        assert told[name] == math.prod(x.shape[d] for d in dims)
    assert told["group_norm"] == channels // groups * side * side


def test_batch_norm_of_one_value_is_refused_as_torch_refuses_it() -> None:
    advice = advise_norm(64, 32, batch=1)
    assert "one value a channel has no variance" in advice.refused
    assert advice.choice == "group_norm"
    assert advice.refused in str(advice)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm1d(64)(torch.ones(1, 64))
    assert not advise_norm(64, 32, batch=1, positions=2).refused


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: variance_error(8, kurtosis=0.0), "not the excess"),
        (lambda: variance_error(8, correlation=1.0), "between -1 and 1"),
        (lambda: advise_norm(64, 33, batch=2), "groups that divide"),
        (lambda: advise_norm(64, 0, batch=2), "groups=0 came"),
        (lambda: advise_norm(64, 32, batch=0), "batch=0 came"),
    ],
)
def test_what_makes_no_sense_is_refused(make, says: str) -> None:
    with pytest.raises(NormError, match=says):
        make()
