"""Points get their names from gradient, curvature, scale and error."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from surefoot.curvature.classify import (
    Scale,
    Value,
    classify,
    classify_function,
    classify_point,
)
from surefoot.curvature.noise import parts


def _valley(w: Tensor) -> Tensor:
    return (100 * w[0] ** 2 + 0.1 * w[1] ** 2) / 2


@pytest.mark.parametrize(
    ("function", "point", "kind"),
    [
        (lambda w: w[0] ** 2 - w[1] ** 2, [0.0, 0.0], "saddle"),
        (lambda w: w[0] ** 4, [0.01], "plateau"),
        (_valley, [0.0, 0.0], "sharp valley"),
        (_valley, [0.01, 1.0], "sharp valley"),
        (lambda w: w[0] ** 2, [0.0], "minimum"),
        (lambda w: w[0] ** 2, [0.5], "slope"),
        (lambda w: -(w[0] ** 2) - w[1] ** 2, [0.0, 0.0], "maximum"),
        (lambda w: w[0] ** 2 + 0 * w[1], [0.0, 0.0], "sharp valley"),
        (lambda w: w[0] ** 2 / 20 + 0 * w[1], [0.0, 0.0], "minimum"),
        (lambda w: -(w[0] ** 2) + 0 * w[1], [0.0, 0.0], "maximum"),
        (lambda w: 100 * w[0] ** 2 - w[1] ** 2 / 2, [0.0, 0.0], "saddle"),
        (lambda w: 100 * w[0] ** 2 - w[1] ** 2 / 2, [0.0, 0.5], "sharp valley"),
        (lambda w: 3 * w[0] + 0 * w[1], [0.0, 0.0], "slope"),
    ],
)
def test_functions_get_the_name_a_teacher_would_give(
    function: Callable[[Tensor], Tensor], point: list[float], kind: str
) -> None:
    at = torch.tensor(point, dtype=torch.float64)
    assert classify_function(function, at).kind == kind


def test_the_eigenvalues_of_the_saddle_are_two_and_minus_two() -> None:
    found = classify_function(lambda w: w[0] ** 2 - w[1] ** 2, torch.zeros(2))
    assert (found.lowest.value, found.highest.value) == (-2.0, 2.0)
    assert str(found).startswith("saddle: stationary")


def test_other_units_of_length_and_loss_change_no_name() -> None:
    """In units of a thousandth the same x⁴ has another slope and curvature."""
    for stretch, worth in ((1e3, 1.0), (1e-3, 1.0), (1.0, 1e6), (1e-2, 1e-4)):
        for x, kind in ((0.01, "plateau"), (0.5, "slope"), (0.0, "plateau")):
            found = classify_function(
                lambda w, k=stretch, c=worth: c * (w[0] / k) ** 4,
                torch.tensor([x * stretch], dtype=torch.float64),
                scale=Scale(length=stretch, loss=worth),
            )
            assert found.kind == kind


def test_a_gradient_within_its_noise_is_no_slope() -> None:
    inside, outside = Value(0.3, 0.2), Value(0.5, 0.2)
    assert classify(inside, 1.0, highest=4.0).kind == "minimum"
    assert classify(outside, 1.0, highest=4.0).kind == "slope"
    assert classify(inside, -1.0, highest=4.0).kind == "saddle"


@pytest.mark.parametrize(
    ("lowest", "highest", "kind"),
    [
        (Value(0.5, 1.0), Value(4.0, 1.0), "unresolved"),
        (Value(-0.5, 1.0), Value(4.0, 1.0), "unresolved"),
        (Value(2.0, 1.0), Value(4.0, 1.0), "minimum"),
        (Value(-2.0, 1.0), Value(4.0, 1.0), "saddle"),
        (Value(-2.0, 1.0), Value(0.5, 1.0), "unresolved"),
        (Value(math.nan), Value(4.0), "unresolved"),
        (Value(1.0), Value(math.inf), "unresolved"),
    ],
)
def test_a_sign_that_the_error_hides_is_unresolved(
    lowest: Value, highest: Value, kind: str
) -> None:
    assert classify(0.0, lowest, highest=highest).kind == kind


def test_a_slope_needs_no_curvature_and_a_nan_has_no_name() -> None:
    wide = Value(0.0, 100.0)
    assert classify(5.0, wide, highest=wide).kind == "slope"
    assert classify(math.nan, 1.0, highest=2.0).kind == "unresolved"


@pytest.mark.parametrize(
    ("values", "words"),
    [((-1.0, 0.0, 1.0), "expected a norm"), ((0.0, 2.0, 1.0), "swap them")],
)
def test_numbers_that_cannot_be_are_refused(
    values: tuple[float, float, float], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        classify(values[0], values[1], highest=values[2])


# --- models ---------------------------------------------------------------------


class _Surface(nn.Module):
    """Two weights on a function, with samples that pull them to and fro."""

    def __init__(self, function: Callable[[Tensor], Tensor], at: list[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(at, dtype=torch.float64))
        self.function = function

    def forward(self, batch: Tensor) -> Tensor:
        return self.function(self.weight) + batch.mean(0) @ self.weight


def _loss(model: _Surface, batch: Tensor) -> Tensor:
    return model(batch)


def test_a_model_is_named_as_its_function() -> None:
    quiet = torch.zeros(8, 2, dtype=torch.float64)
    model = _Surface(lambda w: w[0] ** 2 - w[1] ** 2, [0.0, 0.0])
    found = classify_point(model, quiet, loss_fn=_loss, scale=Scale())
    assert found.kind == "saddle"
    assert found.lowest.value == pytest.approx(-2)
    model = _Surface(_valley, [0.01, 1.0])
    assert classify_point(model, quiet, loss_fn=_loss, scale=Scale()).kind == (
        "sharp valley"
    )


def test_the_noise_of_a_batch_is_no_slope() -> None:
    """The mean of the samples is far from zero by chance only."""
    torch.manual_seed(3)
    noisy = torch.randn(32, 2, dtype=torch.float64)
    model = _Surface(lambda w: w[0] ** 2 + w[1] ** 2, [0.0, 0.0])
    one = classify_point(model, noisy, loss_fn=_loss, scale=Scale())
    assert one.kind == "slope"
    several = classify_point(
        model, noisy, loss_fn=_loss, scale=Scale(), micro_batches=parts(noisy, 8)
    )
    assert several.gradient_norm.error > 0.05
    assert several.kind == "minimum"
    tilted = noisy + torch.tensor([2.0, 0.0], dtype=torch.float64)
    steep = classify_point(
        model, tilted, loss_fn=_loss, scale=Scale(), micro_batches=parts(tilted, 8)
    )
    assert steep.kind == "slope"


def test_a_saturated_network_is_on_a_plateau() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 1), nn.Sigmoid())
    with torch.no_grad():
        net[2].bias.fill_(40.0)
    batch = (torch.randn(16, 4), torch.zeros(16, 1))

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (model(batch[0]) - batch[1]).square().mean()

    found = classify_point(net.double(), tuple(b.double() for b in batch), loss_fn=loss)
    assert found.kind == "plateau"
