"""Two updates in a row: cosine, curvature along the update, first-order change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from surefoot.probes.pairs import MOST_OF_ALL, MOST_OF_TENSOR, gathered, spread

CURVATURES = torch.tensor([10.0, 0.1])


class Quadratic(nn.Module):
    """½ wᵀ diag(10, 0.1) w."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, 1.0]))

    def forward(self) -> torch.Tensor:
        return 0.5 * (CURVATURES * self.w.square()).sum()


def descended(recorded: Any, product: float, steps: int = 2) -> Any:
    """Gradient descent on it, with the rate times the largest curvature given."""
    model = Quadratic()
    optimizer = torch.optim.SGD(model.parameters(), lr=product / 10)

    def step(number: int) -> torch.Tensor:
        loss = model()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return recorded(model, optimizer, step, steps)


@pytest.mark.parametrize(
    ("product", "cosine", "within"),
    [(0.5, 0.997, 0.003), (1.5, -0.974, 0.03), (1.9, -0.9997, 0.0005)],
)
def test_cosine_on_a_quadratic(
    product: float, cosine: float, within: float, recorded: Any
) -> None:
    series = descended(recorded, product).series("grad_cosine")
    assert series.layers == ("w",)
    assert series.steps.tolist() == [1]
    first = np.array([10.0, 0.1])
    second = first * (1 - product / 10 * first)
    exact = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert series.values[0, 0] == pytest.approx(exact, abs=1e-6)
    assert series.values[0, 0] == pytest.approx(cosine, abs=within)


@pytest.mark.parametrize("product", [0.5, 1.9, 2.5])
def test_sharpness_along_the_gradient_of_a_quadratic(
    product: float, recorded: Any
) -> None:
    series = descended(recorded, product, steps=4).series("directional_sharpness")
    assert series.layers == ("run",)
    assert series.steps.tolist() == [0, 1, 2]
    rate, w = product / 10, np.array([1.0, 1.0])
    for value in series.values[:, 0]:
        grad = CURVATURES.numpy() * w
        along = grad @ (CURVATURES.numpy() * grad) / (grad @ grad)
        assert value == pytest.approx(rate * along, rel=1e-4)
        w = w - rate * grad


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def test_pairs_of_adam_equal_what_whole_tensors_give(recorded: Any) -> None:
    model = classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    x, y = torch.randn(12, 5), torch.arange(12) % 3
    grads: list[list[torch.Tensor]] = []
    updates: list[list[torch.Tensor]] = []

    def step(number: int) -> torch.Tensor:
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        before = [p.detach().clone() for p in model.parameters()]
        grads.append([p.grad.clone() for p in model.parameters()])
        optimizer.step()
        pairs = zip(model.parameters(), before, strict=True)
        updates.append([(p - b).detach() for p, b in pairs])
        return loss

    reader = recorded(model, optimizer, step)
    cosine = reader.series("grad_cosine").values
    sharpness = reader.series("directional_sharpness").values[:, 0]
    contribution = reader.series("contribution").values
    for i in range(5):
        now, then = grads[i + 1], grads[i]
        truth = [
            functional.cosine_similarity(a.flatten(), b.flatten(), 0).item()
            for a, b in zip(now, then, strict=True)
        ]
        np.testing.assert_allclose(cosine[i], truth, rtol=1e-4)
        before = dots(then, updates[i])
        assert sharpness[i] == pytest.approx(
            1 - sum(dots(now, updates[i])) / sum(before), rel=1e-3
        )
        np.testing.assert_allclose(contribution[i], before, rtol=1e-4)
        assert sum(contribution[i]) == pytest.approx(sum(before), rel=1e-6)


def dots(ones: Any, others: Any) -> list[float]:
    return [float((a * b).double().sum()) for a, b in zip(ones, others, strict=True)]


def scaled(recorded: Any, scale: float, *, fused: bool) -> list[Any]:
    """What is read of a run under a GradScaler of some scale."""
    model = classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)

    def step(number: int) -> torch.Tensor:
        loss = functional.cross_entropy(model(torch.ones(12, 5)), torch.arange(12) % 3)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    reader = recorded(model, optimizer, step)
    names = ("directional_sharpness", "contribution", "grad_cosine")
    return [reader.series(name).values for name in names]


@pytest.mark.parametrize("fused", [False, True])
def test_a_gradient_scaler_changes_no_sharpness(fused: bool, recorded: Any) -> None:
    plain = scaled(recorded, 1.0, fused=fused)
    large = scaled(recorded, 1024.0, fused=fused)
    for one, other in zip(plain, large, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3)


def test_parameters_without_a_dense_gradient_have_no_cosine(recorded: Any) -> None:
    model = nn.ModuleDict(
        {
            "table": nn.Embedding(9, 4, sparse=True),
            "used": nn.Linear(4, 2),
            "unused": nn.Linear(4, 2),
        }
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(number: int) -> torch.Tensor:
        loss = model["used"](model["table"](torch.arange(3))).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    reader = recorded(model, optimizer, step)
    cosine = reader.series("grad_cosine")
    assert np.isfinite(cosine.of("used.weight")).all()
    assert np.isnan(cosine.of("unused.weight")).all()
    assert np.isnan(cosine.of("table.weight")).all()
    assert set(reader.series("contribution").layers) == {"used.weight", "used.bias"}


def test_samples_are_few_and_meet_all_columns() -> None:
    shapes = [torch.Size(s) for s in [(300, 512), (64, 32, 3, 3), (10,), (50_000, 8)]]
    places = spread(shapes, torch.device("cpu"))
    assert sum(places.counts) <= MOST_OF_ALL
    assert max(places.counts) <= MOST_OF_TENSOR
    index = [torch.arange(shape.numel()).reshape(shape).float() for shape in shapes]
    parts = gathered(index, places, torch.device("cpu")).split(list(places.counts))
    for part, shape in zip(parts, shapes, strict=True):
        assert len(part.unique()) == len(part)
        assert part.max() < shape.numel()
        assert part.max() > 0.9 * (shape.numel() - 1)
        if len(shape) == 2 and shape[1] <= len(part):
            assert len((part % shape[1]).unique()) == shape[1]
    assert places.counts[2] == 10


def test_sampled_sums_stand_for_whole_tensors(recorded: Any) -> None:
    torch.manual_seed(1)
    model = nn.Linear(400, 300, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    target = torch.randn(300, 400)

    def step(number: int) -> torch.Tensor:
        loss = 0.5 * (model.weight - target).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    values = recorded(model, optimizer, step).series("directional_sharpness").values
    np.testing.assert_allclose(values, 0.5, rtol=1e-4)


def test_lbfgs_has_no_pairs(recorded: Any) -> None:
    model = classifier()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=3)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(torch.ones(4, 5)).square().mean()
        loss.backward()
        return loss

    reader = recorded(model, optimizer, lambda number: optimizer.step(closure))
    assert not reader.has("grad_cosine", "main")
    assert not reader.has("contribution", "main")


def test_spread_of_units(recorded: Any) -> None:
    model = classifier()
    with torch.no_grad():
        model[2].weight.copy_(torch.ones(3, 1) * torch.randn(1, 7))
    weight = model[0].weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(number: int) -> torch.Tensor:
        loss = model(torch.ones(4, 5)).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    spread_of = recorded(model, optimizer, step).series("unit_spread")
    assert spread_of.layers == ("0.weight", "2.weight")
    assert spread_of.steps.tolist() == [0]
    truth = (weight - weight.mean(0)).norm() / weight.norm()
    np.testing.assert_allclose(spread_of.values[0], [truth.item(), 0.0], atol=1e-6)
