"""Penalties from curvature: where they lead, and what they leave alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from curvature import nets
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.penalties import CurvaturePenalty, SharpnessPenalty


@dataclass(frozen=True)
class Pairs:
    values: Tensor
    vectors: Tensor


def _weights(*values: float) -> nn.ParameterDict:
    return nn.ParameterDict({"w": torch.tensor(values, dtype=torch.float64)})


# --- springs --------------------------------------------------------------------


def test_a_quadratic_with_springs_ends_where_the_closed_form_says() -> None:
    """½Σh(w−a)² + λΣh(w−b)² is least at (a + 2λb)/(1 + 2λ), where h is positive."""
    h = torch.tensor([10.0, 1.0, 0.1], dtype=torch.float64)
    goal = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    model, strength = _weights(0.5, 0.5, 0.5), 0.7
    anchor = model["w"].detach().clone()
    penalty = CurvaturePenalty.of_diagonal(model, h, strength=strength)
    descent = torch.optim.LBFGS(model.parameters(), lr=1, max_iter=200)

    def closure() -> Tensor:
        descent.zero_grad()
        loss = (h * (model["w"] - goal) ** 2).sum() / 2 + penalty()
        loss.backward()
        return loss

    descent.step(closure)
    expected = (goal + 2 * strength * anchor) / (1 + 2 * strength)
    assert torch.allclose(model["w"], expected, atol=1e-7)


def test_negative_curvature_makes_no_spring() -> None:
    model = _weights(0.0, 0.0)
    penalty = CurvaturePenalty.of_diagonal(model, torch.tensor([2.0, -5.0]))
    with torch.no_grad():
        model["w"].add_(1.0)
    penalty().backward()
    assert model["w"].grad is not None
    assert model["w"].grad.tolist() == [4.0, 0.0]


def test_low_rank_springs_leave_other_directions_byte_equal() -> None:
    sharp = torch.tensor([[1.0], [1.0], [0.0]], dtype=torch.float64) / 2**0.5
    model = _weights(0.0, 0.0, 0.0)
    penalty = CurvaturePenalty.of_eigenpairs(
        model, Pairs(torch.tensor([9.0]), sharp), strength=0.5
    )
    with torch.no_grad():
        model["w"].copy_(torch.tensor([1.0, -1.0, 7.0]))

    def slope(extra: bool) -> Tensor:
        model.zero_grad()
        loss = functional.softplus(model["w"]).sum()
        (loss + penalty() if extra else loss).backward()
        assert model["w"].grad is not None
        return model["w"].grad.clone()

    assert torch.equal(slope(extra=True), slope(extra=False))
    with torch.no_grad():
        model["w"].copy_(torch.tensor([2.0, 2.0, 7.0]))
    along = slope(extra=True) - slope(extra=False)
    assert along.tolist() == pytest.approx([18.0, 18.0, 0.0], rel=1e-12)


def test_a_penalty_is_saved_and_loaded() -> None:
    model = _weights(1.0, 2.0)
    first = CurvaturePenalty.of_diagonal(model, torch.tensor([1.0, 3.0]), strength=2.0)
    with torch.no_grad():
        model["w"].add_(1.0)
    second = CurvaturePenalty.of_diagonal(model, torch.zeros(2))
    second.load_state_dict(first.state_dict())
    assert second().item() == first().item() == 8.0
    other = CurvaturePenalty.of_diagonal(_weights(1.0), torch.zeros(1))
    with pytest.raises(CurvatureError, match="of 2 weights; expected 1"):
        other.load_state_dict(first.state_dict())


@pytest.mark.parametrize(
    ("values", "vectors", "words"),
    [
        (torch.ones(3), None, "expected 2, one for each weight"),
        (torch.tensor([1.0, torch.nan]), None, "NaN"),
        (torch.ones(2), torch.ones(2, 1), "expected 1, one for each direction"),
        (torch.ones(1), torch.ones(3, 1), "have 3 rows; expected 2"),
    ],
)
def test_curvatures_that_do_not_fit_are_refused(values, vectors, words: str) -> None:
    def make() -> CurvaturePenalty:
        model = _weights(1.0, 2.0)
        if vectors is None:
            return CurvaturePenalty.of_diagonal(model, values)
        return CurvaturePenalty.of_eigenpairs(model, Pairs(values, vectors))

    with pytest.raises(CurvatureError, match=words):
        make()


# --- sharpness ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["trace", "top"])
def test_the_gradient_on_a_quartic_is_six_lambda_w(kind) -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    penalty = SharpnessPenalty(0.1, kind=kind)((weight**4 / 4).sum(), [weight])
    assert penalty.item() == pytest.approx(1.2)
    penalty.backward()
    assert weight.grad is not None
    assert weight.grad.item() == pytest.approx(1.2)


def test_traces_average_out_to_the_trace_and_its_gradient() -> None:
    case = nets.made(nets.logistic)
    weights = list(case.model.parameters())
    penalty = SharpnessPenalty(1.0, rounds=400)
    found = penalty(case.loss_fn(case.model, case.batch), weights)
    exact = _exact(case, weights, lambda bent: bent.trace())
    spread = _exact(case, weights, lambda bent: _aside(bent).square().sum())[0]
    error = (2 * spread.item() / 400) ** 0.5
    assert abs(found.item() - exact[0].item()) < 3.5 * error < 0.4 * exact[0].item()
    slope = torch.cat([g.flatten() for g in torch.autograd.grad(found, weights)])
    assert torch.cosine_similarity(slope, exact[1], dim=0) > 0.95


def test_the_top_eigenvalue_and_its_gradient_are_found() -> None:
    case = nets.made(nets.logistic)
    weights = list(case.model.parameters())
    penalty = SharpnessPenalty(1.0, kind="top", rounds=300)
    found = penalty(case.loss_fn(case.model, case.batch), weights)
    exact = _exact(case, weights, lambda bent: torch.linalg.eigvalsh(bent)[-1])
    assert found.item() == pytest.approx(exact[0].item(), rel=1e-3)
    slope = torch.cat([g.flatten() for g in torch.autograd.grad(found, weights)])
    assert torch.allclose(slope, exact[1], atol=0.02 * exact[1].norm().item())


def test_the_largest_eigenvalue_is_found_beside_a_more_negative_one() -> None:
    weight = nn.Parameter(torch.tensor([0.3, 0.2]))
    penalty = SharpnessPenalty(1.0, kind="top")
    for _ in range(60):
        found = penalty(weight[0] ** 2 - 4 * weight[1] ** 2, [weight])
    assert found.item() == pytest.approx(2.0, rel=1e-3)


def test_training_with_the_penalty_ends_less_sharp() -> None:
    tops = []
    for strength in (0.0, 0.02):
        case = nets.made(nets.logistic)
        weights = list(case.model.parameters())
        penalty = SharpnessPenalty(strength, rounds=2)
        descent = torch.optim.SGD(weights, lr=0.2)
        for _ in range(150):
            descent.zero_grad()
            loss = case.loss_fn(case.model, case.batch)
            (loss + penalty(loss, weights)).backward()
            descent.step()
        tops.append(_exact(case, weights, lambda bent: bent.trace())[0].item())
    assert tops[1] < 0.9 * tops[0]


@pytest.mark.parametrize("kind", ["trace", "top"])
def test_it_draws_from_no_stream_but_its_own_and_goes_on_after_loading(kind) -> None:
    case = nets.made(nets.logistic)
    weights = list(case.model.parameters())

    def call(penalty: SharpnessPenalty) -> float:
        return penalty(case.loss_fn(case.model, case.batch), weights).item()

    before = torch.get_rng_state()
    first, second = (SharpnessPenalty(1.0, kind=kind, seed=5) for _ in range(2))
    call(first)
    second.load_state_dict(first.state_dict())
    assert call(first) == call(second)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(one.grad is None for one in weights)


def test_a_linear_loss_is_not_curved() -> None:
    weight = nn.Parameter(torch.ones(3))
    assert SharpnessPenalty(1.0)(weight.sum(), [weight]).item() == 0.0
    assert SharpnessPenalty(1.0, kind="top")(weight.sum(), [weight]).item() == 0.0


def test_bad_input_is_refused() -> None:
    weight = nn.Parameter(torch.ones(3))
    with pytest.raises(CurvatureError, match="no graph"):
        SharpnessPenalty(1.0)(weight.detach().sum(), [weight])
    with pytest.raises(CurvatureError, match="loss is nan"):
        SharpnessPenalty(1.0)(weight.sum() * torch.nan, [weight])
    with pytest.raises(ValueError, match="'trace' or 'top'"):
        SharpnessPenalty(1.0, kind="norm")  # pyright: ignore[reportArgumentType]


def _aside(bent: Tensor) -> Tensor:
    return bent - torch.diag(bent.diagonal())


def _exact(case: nets.Case, weights: Iterable[Tensor], of) -> tuple[Tensor, Tensor]:
    """A function of the dense Hessian, and its gradient."""
    held = list(weights)
    loss = case.loss_fn(case.model, case.batch)
    slopes = torch.autograd.grad(loss, held, create_graph=True, materialize_grads=True)
    slope = torch.cat([one.flatten() for one in slopes])
    rows = [
        torch.cat(
            [
                one.flatten()
                for one in torch.autograd.grad(
                    entry, held, create_graph=True, materialize_grads=True
                )
            ]
        )
        for entry in slope
    ]
    value = of(torch.stack(rows))
    found = torch.autograd.grad(value, held, materialize_grads=True)
    return value.detach(), torch.cat([one.flatten() for one in found])
