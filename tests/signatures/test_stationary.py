"""Points by gradient and curvature, and the limit of stability on a real quadratic."""

from __future__ import annotations

import numpy as np
import pytest

from surefoot.signatures.plateau import classify
from surefoot.signatures.stationary import point, stability_limit

POINTS = [
    ("x^2 - y^2 at 0", 0.0, -2.0, 2.0, "saddle"),
    ("x^4 at 0.01", 4e-6, 1.2e-3, 1.2e-3, "plateau"),
    ("diag(100, 0.1)", 0.0, 0.1, 100.0, "sharp valley"),
    ("x^2 at 0", 0.0, 2.0, 2.0, "minimum"),
    ("x^2 at 1", 2.0, 2.0, 2.0, "moving"),
]


@pytest.mark.parametrize(("name", "grad", "low", "high", "kind"), POINTS)
def test_points(name: str, grad: float, low: float, high: float, kind: str) -> None:
    assert point(grad, low, high, floor=2e-3 if "x^4" in name else 1e-6) == kind


def test_what_is_below_the_noise_is_no_curvature() -> None:
    assert point(0.0, -1e-4, 1e-4, floor=1e-3) == "plateau"
    assert point(0.0, -1e-4, 1.0, floor=1e-3) != "saddle"


def descent(rate: float, curvature: float, momentum: float = 0.0) -> float:
    x, velocity = 1.0, 0.0
    for _ in range(100):
        velocity = momentum * velocity - rate * curvature * x
        x += velocity
    return abs(x)


def test_the_limit_of_descent_is_two_over_the_curvature() -> None:
    assert descent(0.19, 10.0) == pytest.approx(2.66e-5, rel=0.01)
    assert descent(0.20, 10.0) == pytest.approx(1.0)
    assert descent(0.21, 10.0) == pytest.approx(1.38e4, rel=0.01)
    assert stability_limit() / 10.0 == pytest.approx(0.20)


def test_the_limit_with_momentum() -> None:
    limit = stability_limit(0.9) / 10.0
    assert descent(0.99 * limit, 10.0, 0.9) < 1.0
    assert descent(1.02 * limit, 10.0, 0.9) > 2.0


def test_the_limit_of_adam() -> None:
    assert stability_limit(0.9, adaptive=True) == pytest.approx(38.0)
    with pytest.raises(ValueError, match="0 <= momentum < 1"):
        stability_limit(1.0)


def test_why_a_loss_stands_still() -> None:
    nothing = {"cosine": np.nan, "sharpness": np.nan}
    assert classify(1e-4, won=0.99, **nothing) == "converged"
    assert classify(1e-4, won=0.0, **nothing) == "flat"
    assert classify(1.0, cosine=0.9, sharpness=1.95, won=0.3) == "bouncing"
    assert classify(1.0, cosine=0.01, sharpness=1.0, won=0.3) == "wandering"
    assert classify(1.0, cosine=0.6, sharpness=0.5, won=0.0) == "stuck"
