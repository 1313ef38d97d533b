"""Curvature along directions, by products and by finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from curvature import nets
from surefoot.curvature.along import (
    ROUNDING,
    alignment,
    curvature_along,
    curvature_along_gradient,
    curvature_felt,
    finite_difference_curvature,
    natural_step,
)
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.operators import hessian
from surefoot.curvature.space import space
from surefoot.curvature.updates import next_update


class Bowl(nn.Module):
    """Weights on a quadratic with a given Hessian."""

    def __init__(self, bent: Tensor, at: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(at.clone())
        self.register_buffer("bent", bent)

    def forward(self) -> Tensor:
        return self.weight @ self.bent @ self.weight / 2


def value(model: nn.Module, _: object) -> Tensor:
    return model()


def spectrum(*values: float) -> Bowl:
    bent = torch.diag(torch.tensor(values, dtype=torch.float64))
    return Bowl(bent, torch.ones(len(values), dtype=torch.float64))


# --- by products ----------------------------------------------------------------


def test_the_curvature_of_a_slice_does_not_depend_on_length_or_sign() -> None:
    model = spectrum(10.0, 1.0)
    with hessian(model, None, loss_fn=value) as whole:
        for factor in (1.0, -3.0, 1e-6):
            v = factor * torch.tensor([0.6, 0.8], dtype=torch.float64)
            found = curvature_along(whole, v)
            assert found.value == pytest.approx(4.24, rel=1e-12)
            assert (found.products, found.kind) == (1, "bound")
        along = curvature_along_gradient(whole)
    assert along.value == pytest.approx((10**3 + 1) / (10**2 + 1))


@pytest.mark.parametrize("build", [nets.smooth, nets.conv2d, nets.attention, nets.lstm])
def test_the_stated_rounding_covers_single_precision(build) -> None:
    case = nets.made(build)
    worst = 0.0
    with hessian(case.model, case.batch, loss_fn=case.loss_fn) as whole:
        directions = torch.randn(8, whole.shape[0], dtype=torch.float64)
        exact = [curvature_along(whole, v).value for v in directions]
    model = case.model.float()
    batch = tuple(b.float() if b.is_floating_point() else b for b in case.batch)
    with hessian(model, batch, loss_fn=case.loss_fn) as rounded:
        for v, true in zip(directions, exact, strict=True):
            found = curvature_along(rounded, v.float())
            worst = max(worst, abs(found.value - true) / found.error * ROUNDING)
    assert 0 < worst < ROUNDING


def test_what_the_optimizer_felt_is_the_curvature_along_its_update() -> None:
    model = spectrum(10.0, 1.0)
    adam = torch.optim.Adam(model.parameters(), lr=0.1)
    update = next_update(model, None, loss_fn=value, optimizer=adam)
    with hessian(model, None, loss_fn=value) as whole:
        found = curvature_felt(whole, update)
    # Adam's first update has the signs of the gradient: along (1, 1).
    assert found.value == pytest.approx(5.5, rel=1e-6)
    assert found.method == "curvature the optimizer felt"


@pytest.mark.parametrize("bad", [torch.zeros(2), torch.tensor([1.0, torch.nan])])
def test_a_direction_without_length_is_refused(bad: Tensor) -> None:
    with pytest.raises(CurvatureError, match="finite and not zero"):
        curvature_along(torch.eye(2), bad)


# --- alignment ------------------------------------------------------------------


def test_the_share_of_the_gradient_in_the_top_eigenspace() -> None:
    model = spectrum(10.0, 5.0, 1.0, 0.5)
    with hessian(model, None, loss_fn=value) as whole:
        found = alignment(whole, k=2, tolerance=1e-6)
    gradient = torch.tensor([10.0, 5.0, 1.0, 0.5])
    share = (100 + 25) / (100 + 25 + 1 + 0.25)
    assert found.share.value == pytest.approx(share, rel=1e-6)
    assert abs(found.share.value - share) <= found.share.error < 1e-2
    turned = gradient**2
    cosine = gradient @ turned / gradient.norm() / turned.norm()
    assert found.cosine.value == pytest.approx(cosine.item(), rel=1e-6)
    assert found.by_chance == 0.5
    assert found.share.converged


def test_a_share_that_no_gap_determines_is_not_converged() -> None:
    """Two eigenvalues are the same: the top one has no direction of its own."""
    model = Bowl(torch.eye(3).double(), torch.ones(3).double())
    with hessian(model, None, loss_fn=value) as whole:
        found = alignment(whole, k=1)
    assert not found.share.converged
    assert found.share.error == 1.0
    assert "no gap" in found.share.note


def test_all_of_a_gradient_lies_in_the_whole_space() -> None:
    with hessian(spectrum(3.0, 2.0), None, loss_fn=value) as whole:
        found = alignment(whole, k=2)
        with pytest.raises(CurvatureError, match="k is 3; expected 1 to 2"):
            alignment(whole, k=3)
    assert found.share.value == pytest.approx(1.0)
    assert found.by_chance == 1.0


# --- by finite differences ------------------------------------------------------


@pytest.mark.parametrize("step", [None, 1e-4, 0.1, 10.0])
def test_finite_differences_are_exact_on_a_quadratic(step: float | None) -> None:
    model = spectrum(10.0, 1.0)
    found = finite_difference_curvature(model, None, loss_fn=value, step=step)
    assert found.converged
    assert found.value == pytest.approx((10**3 + 1) / (10**2 + 1), rel=1e-7)
    v = torch.tensor([3.0, 4.0], dtype=torch.float64)
    given = finite_difference_curvature(
        model, None, loss_fn=value, step=step, direction=v
    )
    assert given.value == pytest.approx(4.24, rel=1e-7)


@pytest.mark.parametrize("build", [nets.smooth, nets.batch_norm, nets.encoder_layer])
def test_finite_differences_agree_with_products_on_smooth_nets(build) -> None:
    case = nets.made(build)
    with hessian(case.model, case.batch, loss_fn=case.loss_fn) as whole:
        exact = curvature_along_gradient(whole).value
    found = finite_difference_curvature(case.model, case.batch, loss_fn=case.loss_fn)
    if build is nets.encoder_layer and not found.converged:  # it has ReLUs
        assert "kinks" in found.note
        return
    assert found.converged
    assert abs(found.value - exact) <= found.error <= 0.02 * abs(exact)


def test_kinks_are_flagged() -> None:
    """|w| summed over many points: the slope jumps, and has no derivative."""
    model = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        model.weight.fill_(0.5)
    points = torch.linspace(0.4, 0.6, 7, dtype=torch.float64)[:, None]

    def loss(model: nn.Module, points: Tensor) -> Tensor:
        return (model.weight - points).abs().mean()

    found = finite_difference_curvature(
        model, points, loss_fn=loss, step=0.04, direction=torch.ones(1).double()
    )
    assert not found.converged
    assert "kinks" in found.note


def test_the_step_follows_precision_and_weights() -> None:
    small, large = nn.Linear(4, 4), nn.Linear(4, 4)
    with torch.no_grad():
        large.weight.copy_(10 * small.weight)
        large.bias.copy_(10 * small.bias)
    step = natural_step(space(small))
    assert natural_step(space(large)) == pytest.approx(10 * step)
    assert natural_step(space(small.double())) == pytest.approx(step / 2**14.5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"step": 0.0}, "above 0"),
        ({"direction": torch.ones(3)}, r"shape \(3,\); expected \(2,\)"),
        ({"direction": torch.zeros(2)}, "finite and not zero"),
    ],
)
def test_bad_steps_and_directions_are_refused(arguments, words: str) -> None:
    with pytest.raises(CurvatureError, match=words):
        finite_difference_curvature(
            spectrum(2.0, 1.0), None, loss_fn=value, **arguments
        )
