"""Projections after the update: what QR and polar are, and what training does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from surefoot.nn.regularize import (
    OrthogonalityError,
    OrthogonalProjection,
    polar_projection,
    polar_projection_,
    qr_retraction,
    qr_retraction_,
    tangent,
)
from surefoot.schedules import after_step

SHEAR = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
MAPS = (
    qr_retraction,
    polar_projection,
    lambda w, groups=1: polar_projection(w, groups, method="newton-schulz"),
)


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=source)


def defect(weight: Tensor, groups: int = 1) -> float:
    """‖WᵀW − I‖ of the smaller side, over all groups."""
    rows = weight.detach().reshape(groups, weight.shape[0] // groups, -1)
    tall = rows if rows.shape[1] >= rows.shape[2] else rows.mT
    product = tall.mT @ tall
    return float((product - torch.eye(product.shape[-1]).to(product)).norm())


# --- what the maps are ----------------------------------------------------------


def test_qr_of_the_shear_is_the_identity_at_distance_1() -> None:
    found = qr_retraction(SHEAR)
    assert torch.equal(found, torch.eye(2, dtype=torch.float64))
    assert float((found - SHEAR).norm()) == 1.0


@pytest.mark.parametrize("method", ["svd", "newton-schulz"])
def test_the_polar_factor_of_the_shear_is_nearer_at_0_7265(method: Any) -> None:
    found = polar_projection(SHEAR, method=method)
    assert float((found - SHEAR).norm()) == pytest.approx(0.7265, abs=5e-5)


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 7), columns=st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_no_orthonormal_matrix_is_nearer_than_the_polar_factor(
    seed: int, rows: int, columns: int
) -> None:
    weight = gaussian(rows, columns, seed=seed)
    least = (polar_projection(weight) - weight).norm()
    other = qr_retraction(gaussian(rows, columns, seed=seed + 1))
    for candidate in (qr_retraction(weight), other):
        assert least <= (candidate - weight).norm() + 1e-12


@pytest.mark.parametrize("method", ["svd", "newton-schulz"])
def test_the_polar_factor_follows_a_permutation_of_the_columns_to_1e_12(
    method: Any,
) -> None:
    weight, order = gaussian(64, 32), gaussian(32, seed=1).argsort()
    found = polar_projection(weight, method=method)
    permuted = polar_projection(weight[:, order], method=method)
    assert float((permuted - found[:, order]).norm()) < 1e-12


def test_qr_depends_on_the_order_of_the_columns() -> None:
    weight = gaussian(64, 32)
    order = torch.arange(31, -1, -1)
    change = qr_retraction(weight[:, order]) - qr_retraction(weight)[:, order]
    assert float(change.norm()) > 1.0


@given(
    seed=st.integers(0, 10_000),
    shape=st.sampled_from([(5, 3), (3, 5), (4, 4), (6, 2, 3), (8, 4, 3, 3), (1, 7)]),
    which=st.integers(0, 2),
)
@settings(max_examples=60, deadline=None)
def test_wide_tall_and_convolution_weights_become_orthonormal(
    seed: int, shape: tuple[int, ...], which: int
) -> None:
    found = MAPS[which](gaussian(*shape, seed=seed))
    assert found.shape == shape
    assert defect(found) < 1e-12
    again = MAPS[which](found)
    torch.testing.assert_close(again, found, rtol=0, atol=1e-12)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_groups_are_made_orthonormal_each_by_itself(which: int) -> None:
    weight = gaussian(8, 2, 3, 3)
    found = MAPS[which](weight, 4)
    assert defect(found, groups=4) < 1e-12
    one = MAPS[which](weight[2:4])
    torch.testing.assert_close(found[2:4], one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3), (3, 3)])
def test_the_maps_have_the_gradients_of_differences(
    which: int, shape: tuple[int, int]
) -> None:
    weight = gaussian(*shape).requires_grad_()
    assert torch.autograd.gradcheck(MAPS[which], (weight,))
    assert torch.autograd.gradcheck(
        lambda v, w: tangent(v, w), (gaussian(*shape, seed=1).requires_grad_(), weight)
    )


def test_a_map_can_be_vectorised() -> None:
    weights = gaussian(3, 6, 4)
    for function in (qr_retraction, polar_projection):
        each = torch.stack([function(one) for one in weights])
        torch.testing.assert_close(torch.func.vmap(function)(weights), each)


def test_newton_schulz_is_the_svd_for_a_condition_of_a_million() -> None:
    left, right = qr_retraction(gaussian(40, 20)), qr_retraction(gaussian(20, 20))
    weight = left * torch.logspace(0, -6, 20, dtype=torch.float64) @ right
    found = polar_projection(weight, method="newton-schulz")
    torch.testing.assert_close(found, left @ right, rtol=0, atol=1e-9)


def test_a_retraction_is_of_second_order() -> None:
    point = qr_retraction(gaussian(6, 3))
    along = tangent(gaussian(6, 3, seed=1), point)
    for function in MAPS:
        errors = [(function(point + e * along) - point - e * along).norm()
                  for e in (1e-2, 1e-3)]  # fmt: skip
        assert float(errors[0] / errors[1]) == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_narrow_weights_keep_their_dtype(dtype: torch.dtype) -> None:
    weight = gaussian(12, 5).to(dtype)
    kept = qr_retraction_(weight)
    assert kept is weight
    assert weight.dtype == dtype
    assert defect(weight.double()) < 10 * torch.finfo(dtype).eps


# --- in training ----------------------------------------------------------------


def procrustes(signs: bool, steps: int = 200) -> tuple[float, float]:
    """Descent on ‖AW − B‖², a projection each step: residual and largest defect."""
    inputs = gaussian(40, 8) / 40**0.5
    target = qr_retraction(gaussian(8, 8, seed=1))
    weight = qr_retraction(target + 0.05 * gaussian(8, 8, seed=2)).requires_grad_()
    sgd = torch.optim.SGD([weight], lr=0.2)
    worst = 0.0

    def raw(step: int) -> dict[str, Any]:
        weight.copy_(torch.linalg.qr(weight).Q)
        return {}

    after_step(sgd, OrthogonalProjection([weight]) if signs else raw)
    for _ in range(steps):
        sgd.zero_grad()
        (inputs @ (weight - target)).square().sum().backward()
        sgd.step()
        worst = max(worst, defect(weight))
    return float((inputs @ (weight - target)).norm().detach()), worst


def test_procrustes_is_solved_to_1e_12_and_orthonormal_to_1e_12_at_each_step() -> None:
    residual, worst = procrustes(signs=True)
    assert residual < 1e-12
    assert worst < 1e-12


def test_without_the_signs_the_same_training_fails() -> None:
    residual, _ = procrustes(signs=False)
    assert residual > 1.0


def test_a_rate_that_explodes_leaves_a_projected_weight_at_its_norm() -> None:
    norms = []
    for projected in (True, False):
        weight = qr_retraction(gaussian(16, 8)).requires_grad_()
        sgd = torch.optim.SGD([weight], lr=2.0)
        if projected:
            after_step(sgd, OrthogonalProjection([weight]))
        for _ in range(100):
            sgd.zero_grad()
            (2.0 * weight.square().sum()).backward()
            sgd.step()
        norms.append(float(weight.detach().norm()))
    assert norms[0] == pytest.approx(8**0.5, abs=1e-12)
    assert norms[0] == pytest.approx(2.8284, abs=5e-5)
    assert norms[1] > 1e48


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (4, 2, 3)])
def test_the_momentum_is_tangent_after_a_step(kind: str, shape: tuple) -> None:
    weight = gaussian(*shape).requires_grad_()
    optimizer = (
        torch.optim.SGD([weight], lr=0.1, momentum=0.9)
        if kind == "SGD"
        else torch.optim.Adam([weight], lr=0.1)
    )
    action = OrthogonalProjection([weight], gain=1.5, momentum_of=optimizer)
    after_step(optimizer, action)
    for seed in range(3):
        weight.grad = gaussian(*shape, seed=seed)
        optimizer.step()
    state = optimizer.state[weight]
    buffer = state["momentum_buffer" if kind == "SGD" else "exp_avg"]
    tall = [one.detach().reshape(shape[0], -1) for one in (weight, buffer)]
    tall = [one if one.shape[0] >= one.shape[1] else one.mT for one in tall]
    side = gaussian(tall[0].shape[1], tall[0].shape[1], seed=9)
    assert abs(float((tall[1] * (tall[0] @ (side + side.mT))).sum())) < 1e-12
    assert float(buffer.norm()) > 0.1


def test_momentum_is_left_alone_unless_asked_for() -> None:
    weight = gaussian(6, 3).requires_grad_()
    sgd = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    after_step(sgd, OrthogonalProjection([weight]))
    weight.grad = gaussian(6, 3, seed=1)
    sgd.step()
    assert torch.equal(sgd.state[weight]["momentum_buffer"], weight.grad)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=2),
        nn.ConvTranspose2d(8, 4, 2), nn.Flatten(), nn.Linear(36, 10),
        nn.Embedding(7, 5),
    )  # fmt: skip


def test_of_a_model_the_maps_are_projected_and_nothing_else() -> None:
    model = net().double()
    before = copy.deepcopy(model.state_dict())
    found = OrthogonalProjection(model, method="svd", gain=2**0.5)(1)
    assert found["weights"] == 4
    assert found["moved"] > 0.1
    for name, groups in (("0", 1), ("2", 2), ("3", 1), ("5", 1)):
        weight = model.get_submodule(name).weight / 2**0.5
        assert defect(weight, groups) < 1e-12
    for name, value in model.state_dict().items():
        if not (name.endswith("weight") and name[0] in "0235"):
            assert torch.equal(value, before[name]), name


def test_weights_of_one_shape_are_projected_as_each_alone() -> None:
    weights = [gaussian(5, 4, seed=seed) for seed in range(3)]
    alone = [qr_retraction(one) for one in weights]
    OrthogonalProjection(weights)(1)
    for one, other in zip(weights, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-15)


def test_a_projection_resumes_and_acts_at_every_tenth_update() -> None:
    def run(steps: int, state: Any = None) -> tuple[Tensor, Any, Any]:
        weight = gaussian(6, 3).requires_grad_()
        sgd = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
        handle = after_step(sgd, OrthogonalProjection([weight]), every=10)
        if state:
            with torch.no_grad():
                weight.copy_(state[0])
            sgd.load_state_dict(state[1])
        for _ in range(steps):
            weight.grad = gaussian(6, 3, seed=handle.step)
            sgd.step()
        return weight.detach(), sgd.state_dict(), handle

    whole, _, handle = run(25)
    assert [event.step for event in handle.log] == [10, 20]
    halfway = run(13)
    resumed, _, _ = run(12, copy.deepcopy(halfway[:2]))
    assert torch.equal(whole, resumed)


# --- what is refused ------------------------------------------------------------


class Sharded(torch.Tensor):
    """What a weight under fully_shard looks like from outside."""

    placements = (type("Shard", (), {"is_replicate": lambda self: False})(),)

    def full_tensor(self) -> Tensor:
        raise AssertionError


def test_bad_input_is_refused_and_nothing_is_written() -> None:
    with pytest.raises(OrthogonalityError, match="two axes or more"):
        OrthogonalProjection([torch.ones(3)])
    with pytest.raises(OrthogonalityError, match="no weight came"):
        OrthogonalProjection(nn.LayerNorm(3))
    with pytest.raises(OrthogonalityError, match="expected one of qr, svd"):
        OrthogonalProjection(net(), method="lu")  # pyright: ignore
    with pytest.raises(OrthogonalityError, match="positive number"):
        OrthogonalProjection(net(), gain=0.0)
    with pytest.raises(OrthogonalityError, match=r"groups=3 came for 8"):
        qr_retraction(torch.ones(8, 2), 3)
    with pytest.raises(OrthogonalityError, match="expected one of svd, newton"):
        polar_projection(torch.ones(2, 2), method="qr")  # pyright: ignore
    normed = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)))
    with pytest.raises(OrthogonalityError, match=r"^0: .*parametrization"):
        OrthogonalProjection(normed)
    with pytest.raises(OrthogonalityError, match="no whole columns"):
        OrthogonalProjection([torch.ones(4, 4).as_subclass(Sharded)])


@pytest.mark.parametrize("method", ["qr", "svd"])
def test_a_weight_that_is_not_finite_leaves_all_as_they_were(method: Any) -> None:
    bad = gaussian(4, 3)
    bad[0, 0] = torch.nan
    weights = [gaussian(5, 2), bad]
    kept = copy.deepcopy(weights)
    with pytest.raises(OrthogonalityError, match="NaN"):
        OrthogonalProjection(weights, method=method)(1)
    in_place = qr_retraction_ if method == "qr" else polar_projection_
    with pytest.raises(OrthogonalityError, match="NaN"):
        in_place(bad)
    for one, other in zip(weights, kept, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_newton_schulz_says_when_no_matrix_is_nearest() -> None:
    with pytest.raises(OrthogonalityError, match="nearly dependent"):
        polar_projection(torch.ones(4, 3), method="newton-schulz")
