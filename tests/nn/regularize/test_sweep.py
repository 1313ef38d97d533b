"""How much noise training or a trained model bears."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import nn

from surefoot.nn.regularize import (
    GradientNoise,
    RegularizeError,
    inputs_under_noise,
    noise_budget,
    weights_under_noise,
)

SIGMAS = (0.01, 0.05, 0.1, 0.3)


class Bowl(nn.Module):
    """A quadratic of known curvature, at its minimum."""

    def __init__(self, curvatures: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros_like(curvatures))
        self.register_buffer("curvatures", curvatures)


def bowl_loss(model: Bowl, batch: None) -> torch.Tensor:
    return (model.curvatures * model.weight.square()).sum() / 2


def test_the_excess_loss_of_a_quadratic_is_half_the_trace_for_each_sigma() -> None:
    curvatures = torch.linspace(0.1, 3, 400, dtype=torch.float64)
    model = Bowl(curvatures)
    measures = weights_under_noise(model, None, loss_fn=bowl_loss, pairs=8)
    budget = noise_budget(measures, SIGMAS, tolerance={"loss": 1.0})
    expected = [sigma**2 * float(curvatures.sum()) / 2 for sigma in SIGMAS]
    for row, excess in zip(budget.rows, expected, strict=True):
        assert row.excess["loss"] == pytest.approx(excess, rel=0.05)
        assert row.error["loss"] < 0.05 * excess
    first = next(s for s, rise in zip(SIGMAS, expected, strict=True) if rise > 1.0)
    assert budget.beyond["loss"] == budget.first_beyond == first


def test_the_model_is_as_before() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2)
    )
    batch = torch.randn(8, 3), torch.randint(2, (8,))
    kept = {k: v.clone() for k, v in net.state_dict().items()}
    stream = torch.get_rng_state()

    def loss_fn(model: nn.Module, batch: tuple) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    weights_under_noise(net, batch, loss_fn=loss_fn)(0.1, 0)
    inputs_under_noise(net, *batch)(0.1, 0)
    assert all(torch.equal(v, kept[k]) for k, v in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), stream)
    assert net.training

    def broken(model: nn.Module, batch: tuple) -> torch.Tensor:
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        weights_under_noise(net, batch, loss_fn=broken)(0.1, 0)
    assert all(torch.equal(v, kept[k]) for k, v in net.state_dict().items())


def test_noise_on_inputs_costs_accuracy_and_calibration() -> None:
    torch.manual_seed(0)
    x = torch.randn(400, 2)
    targets = (x[:, 0] > 0).long()
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[-8.0, 0.0], [8.0, 0.0]]))
        net.bias.zero_()
    measures = inputs_under_noise(net, x, targets)
    budget = noise_budget(
        measures, (0.1, 1.0), tolerance={"error": 0.1, "calibration": 0.1}
    )
    assert budget.clean["error"] == 0.0
    assert budget.rows[0].excess["error"] < budget.rows[1].excess["error"]
    assert budget.beyond == {"error": 1.0, "calibration": 1.0}


def trained(sigma: float, seed: int) -> Mapping[str, float]:
    """Steps until a loss is reached, and the last loss, with noisy gradients."""
    weight = nn.Parameter(torch.full((50,), 2.0))
    sgd = torch.optim.SGD([weight], lr=0.1)
    GradientNoise(sgd, sigma, seed=seed)
    reached = math.inf
    for step in range(80):
        loss = weight.square().sum() / 2
        if loss.item() < 1.0:
            reached = min(reached, step)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    return {"loss": loss.item(), "steps": reached}


def test_noise_that_derails_training_is_flagged_by_speed_and_loss() -> None:
    budget = noise_budget(
        trained, (0.1, 0.3, 3.0), tolerance={"loss": 0.5, "steps": 10}, seeds=(0, 1)
    )
    assert budget.beyond == {"loss": 3.0, "steps": 3.0}
    assert budget.rows[-1].excess["steps"] == math.inf
    assert math.isnan(budget.rows[-1].error["steps"])
    expected = 50 / 2 * 0.1 * 0.3**2 / (2 - 0.1)  # of a noisy step's resting place
    assert budget.rows[1].excess["loss"] == pytest.approx(expected, rel=0.5)


def test_what_cannot_be_swept_is_refused() -> None:
    def measures(sigma: float, seed: int) -> Mapping[str, float]:
        return {"loss": sigma}

    with pytest.raises(RegularizeError, match="above 0"):
        noise_budget(measures, (0.0, 0.1), tolerance={})
    with pytest.raises(RegularizeError, match=r"measured are \['loss'\]"):
        noise_budget(measures, (0.1,), tolerance={"accuracy": 0.1})
