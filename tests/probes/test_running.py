"""Batch norm: how far the mean of a batch lies from the running mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn


def fed(
    recorded: Any, shift: Any, *, passes: int = 1, steps: int = 60, **rest: Any
) -> Any:
    """Readings of a batch norm whose inputs are shifted by `shift(step)`."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(4, **rest), nn.Conv2d(4, 2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)

    def step(number: int) -> torch.Tensor:
        for _ in range(passes):
            images = 3 * torch.randn(16, 4, 6, 6) + 5 + 3 * shift(number)
            loss = model(images).square().mean()
            loss.backward()
        optimizer.step()
        return loss

    return recorded(model, optimizer, step, steps).series("norm_gap")


@pytest.mark.parametrize(
    ("passes", "momentum"), [(1, 0.1), (3, 0.1), (1, None)], ids=str
)
def test_a_shift_of_two_deviations(
    passes: int, momentum: float | None, recorded: Any
) -> None:
    series = fed(
        recorded, lambda step: 2.0 * (step == 59), passes=passes, momentum=momentum
    )
    assert series.layers == ("0",)
    assert series.values[59, 0] == pytest.approx(2.0, abs=0.15)
    # The noise of means over 576 pixels, largest of four channels.
    assert series.values[40:59].max() < 0.25


def test_the_gap_equals_what_the_batch_gives(recorded: Any) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(3)
    optimizer = torch.optim.SGD(norm.parameters(), lr=0.1)
    truth: list[float] = []

    def step(number: int) -> torch.Tensor:
        x = torch.randn(10, 3) * 2 + 1
        gap = (x.mean(0) - norm.running_mean).abs() / (norm.running_var + 1e-5).sqrt()
        truth.append(gap.max().item())
        loss = norm(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    series = recorded(norm, optimizer, step).series("norm_gap")
    np.testing.assert_allclose(series.values[:, 0], truth, rtol=1e-4)


def test_a_norm_that_only_reads_has_no_gap(recorded: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[0].eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(number: int) -> torch.Tensor:
        loss = model(torch.randn(8, 3)).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    series = recorded(model, optimizer, step).series("norm_gap")
    assert np.isnan(series.of("0")).all()
    assert np.isfinite(series.of("2")).all()
