"""Slices along the gradient and along eigenvectors of the Hessian."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from surefoot.landscape import weights
from surefoot.landscape.derivatives import eigenvector_directions, gradient_directions
from surefoot.landscape.surface import Options, surface


def quadratic(model: nn.Module, scale: Tensor) -> Tensor:
    """Half the sum of scale times squared weight: the Hessian is diag(scale)."""
    flat = torch.cat([p.flatten() for p in model.parameters()])
    return 0.5 * (scale * flat.square()).sum()


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 1).double()


@pytest.fixture
def scale() -> Tensor:
    return torch.tensor([[10.0, 5.0, 1.0, -2.0]], dtype=torch.float64)[0]


@pytest.mark.parametrize(
    ("ends", "expected"), [("largest", (10.0, 5.0)), ("both", (10.0, -2.0))]
)
def test_along_eigenvectors_the_loss_bends_by_the_eigenvalues(
    net: nn.Module, scale: Tensor, ends, expected: tuple[float, float]
) -> None:
    plane = eigenvector_directions(net, scale, loss_fn=quadratic, ends=ends)
    drawn = surface(
        net, scale, loss_fn=quadratic, directions=plane, points=3,
        options=Options(exact=True),
    )  # fmt: skip
    for at, value in enumerate(expected):
        cut = drawn.losses[:, 1] if at == 0 else drawn.losses[1]
        assert np.diff(cut, 2)[0] == pytest.approx(value, rel=1e-3)
    assert abs(plane.cosine) < 1e-6
    assert plane.labels[0] == "eigenvector of 10"


def test_along_the_gradient_the_loss_rises_by_its_norm(
    net: nn.Module, scale: Tensor
) -> None:
    plane = gradient_directions(net, scale, loss_fn=quadratic)
    small = Options(extent=1e-4, exact=True)
    drawn = surface(
        net, scale, loss_fn=quadratic, directions=plane, points=3, options=small
    )
    flat = torch.cat([p.detach().flatten() for p in net.parameters()])
    slope = (drawn.losses[2, 1] - drawn.losses[0, 1]) / 2e-4
    assert slope == pytest.approx((scale * flat).norm().item(), rel=1e-6)
    assert drawn.losses[1, 2] - drawn.losses[1, 0] == pytest.approx(0, abs=1e-10)
    assert abs(plane.cosine) < 1e-9


def test_directions_may_be_named(net: nn.Module, scale: Tensor) -> None:
    options = Options(exact=True)
    for name, plane in (
        ("gradient", gradient_directions(net, scale, loss_fn=quadratic)),
        ("eigenvectors", eigenvector_directions(net, scale, loss_fn=quadratic)),
    ):
        one, other = (
            surface(net, scale, loss_fn=quadratic, directions=d, points=3,
                    options=options)
            for d in (name, plane)
        )  # fmt: skip
        assert one.directions == other.directions == plane.labels
        np.testing.assert_array_equal(one.losses, other.losses)
    with pytest.raises(ValueError, match="or a slice, not 'downhill'"):
        surface(net, scale, loss_fn=quadratic, directions="downhill")


def test_frozen_weights_stay(net: nn.Module, scale: Tensor) -> None:
    net.bias.requires_grad_(False)
    gradient = gradient_directions(net, scale, loss_fn=quadratic)
    assert not gradient.directions[0][1].any()
    plane = eigenvector_directions(net, scale, loss_fn=quadratic)
    assert not plane.directions[0][1].any()
    assert weights.norm(plane.directions[0]) == pytest.approx(1, rel=1e-6)


def test_nothing_is_left_behind(net: nn.Module, scale: Tensor) -> None:
    before = [p.detach().clone() for p in net.parameters()]
    streams = torch.get_rng_state()
    gradient_directions(net, scale, loss_fn=quadratic)
    eigenvector_directions(net, scale, loss_fn=quadratic)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), streams)
