"""Penalties, projections and scores of continual learning: values known by hand."""

from __future__ import annotations

import copy
import io

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from surefoot.schedules import Linear, after_step
from surefoot.tasks.continual import (
    EWC,
    ContinualError,
    Importance,
    OldGradients,
    OrthogonalUpdates,
    TaskMatrix,
    agem_,
    agem_projection,
    fisher_diagonal,
    interference_penalty,
    quadratic_penalty,
)


def _of(value: float, name: str = "weight") -> Importance:
    return Importance({name: torch.full((1, 1), value)}, 1, "Fisher", ())


def _scalar(value: float) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


# --- EWC ------------------------------------------------------------------------


def test_the_optimum_of_a_quadratic_lies_between_old_and_new() -> None:
    """½(θ - 1)² + λ/2 F θ² is least at 1/(1 + λF): 0.5 at λ = 2, F = ½."""
    model = _scalar(0.0)
    ewc = EWC(model, weight=2.0)
    ewc.add(_of(0.5))
    sgd = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(100):
        sgd.zero_grad()
        ((model.weight - 1).square().sum() / 2 + ewc.penalty()).backward()
        sgd.step()
    assert model.weight.item() == pytest.approx(0.5, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.floats(0, 4), st.floats(-3, 3)), min_size=1, max_size=5),
    st.floats(-3, 3),
)
def test_many_tasks_in_one_quadratic_are_their_sum(
    tasks: list[tuple[float, float]], here: float
) -> None:
    model = _scalar(0.0).double()
    ewc = EWC(model, weight=3.0)
    for factor, place in tasks:
        nn.init.constant_(model.weight, place)
        ewc.add(Importance({"weight": torch.full((1, 1), factor)}, 1, "Fisher", ()))
    nn.init.constant_(model.weight, here)
    exact = 1.5 * sum(factor * (here - place) ** 2 for factor, place in tasks)
    assert ewc.penalty().item() == pytest.approx(exact, rel=1e-5, abs=1e-5)


def test_earlier_tasks_fade_with_decay() -> None:
    model = _scalar(0.0)
    ewc = EWC(model, decay=0.25)
    ewc.add(_of(4.0))
    nn.init.constant_(model.weight, 1.0)
    ewc.add(_of(1.0))
    nn.init.constant_(model.weight, 2.0)
    assert ewc.penalty().item() == pytest.approx((1.0 * 4 + 1.0 * 1) / 2)


def test_the_weight_may_follow_a_schedule() -> None:
    model = _scalar(0.0)
    ewc = EWC(model, weight=Linear(0.0, 2.0, steps=10))
    ewc.add(_of(1.0))
    nn.init.constant_(model.weight, 1.0)
    assert [ewc.penalty(step).item() for step in (0, 5, 10)] == [0.0, 0.5, 1.0]


def test_the_penalty_survives_a_checkpoint() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    ewc = EWC(model, weight=5.0)
    for _ in range(2):
        ewc.add(fisher_diagonal(model, [torch.randn(16, 3)]))
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.1)
    file = io.BytesIO()
    torch.save(ewc.state_dict(), file)
    file.seek(0)
    other = EWC(copy.deepcopy(model), weight=5.0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.penalty(), ewc.penalty())
    assert other.tasks == 2
    assert ewc.penalty().item() > 0


def test_gradients_of_the_penalty_are_those_of_the_formula() -> None:
    draw = torch.Generator().manual_seed(0)
    kind = {"generator": draw, "dtype": torch.float64}
    centre, factor = {"w": torch.randn(4, **kind)}, {"w": torch.rand(4, **kind)}
    weights = torch.randn(4, **kind).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda w: quadratic_penalty({"w": w}, centre, factor), weights
    )


@pytest.mark.parametrize(
    ("importance", "told"),
    [
        (_of(1.0, "bias"), "names and shapes"),
        (Importance({"weight": torch.ones(2)}, 1, "", ()), "names and shapes"),
        (_of(-1.0), "negative"),
        (_of(float("nan")), "not finite"),
    ],
)
def test_a_wrong_importance_is_refused_and_changes_nothing(
    importance: Importance, told: str
) -> None:
    ewc = EWC(_scalar(1.0))
    ewc.add(_of(1.0))
    before = copy.deepcopy(ewc.state_dict())
    with pytest.raises(ContinualError, match=told):
        ewc.add(importance)
    assert ewc.state_dict() == before
    with pytest.raises(ContinualError, match="decay"):
        EWC(_scalar(1.0), decay=1.5)


# --- A-GEM ----------------------------------------------------------------------


def test_agem_takes_out_what_opposes_the_memory() -> None:
    found = agem_projection(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0]))
    assert found.tolist() == [0.5, 0.5]


vectors = st.lists(st.floats(-5, 5), min_size=4, max_size=4).map(torch.tensor)


@settings(deadline=None, max_examples=60)
@given(vectors, vectors)
def test_after_agem_no_gradient_opposes_the_memory(g: Tensor, r: Tensor) -> None:
    g, r = g.double(), r.double()
    found = agem_projection(g, r)
    assert float(found @ r) >= -1e-9
    if float(g @ r) >= 0:
        assert torch.equal(found, g)


def test_agem_is_one_projection_over_all_parameters() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    weights = list(model.parameters())
    model(torch.randn(5, 3)).sum().backward()
    flat = torch.cat([w.grad.flatten() for w in weights])
    opposite = [-w.grad + 0.1 * torch.randn_like(w) for w in weights]
    along = torch.cat([one.flatten() for one in opposite])
    assert agem_(weights, opposite).item()
    found = torch.cat([w.grad.flatten() for w in weights])
    torch.testing.assert_close(found, agem_projection(flat, along))
    assert not agem_(weights, [w.grad.clone() for w in weights]).item()
    with pytest.raises(ContinualError, match="one for each"):
        agem_(weights, opposite[:2])


# --- interference ---------------------------------------------------------------


def test_the_penalty_on_a_conflict_is_its_cosine() -> None:
    pair = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    assert interference_penalty(pair, 3.0).item() == pytest.approx(3 * 0.5**0.5)
    assert interference_penalty(torch.eye(3)).item() == 0.0
    with pytest.raises(ContinualError, match="two tasks or more"):
        interference_penalty(torch.ones(1, 3))


def test_the_penalty_can_be_differentiated() -> None:
    draw = torch.Generator().manual_seed(1)
    rows = torch.randn(3, 4, generator=draw, dtype=torch.float64).requires_grad_()
    assert interference_penalty(rows).item() > 0
    assert torch.autograd.gradcheck(interference_penalty, rows)


# --- old gradients --------------------------------------------------------------


def _losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - batch[1]).square().mean()


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_old_loss_of_a_linear_model_does_not_move(decay: float) -> None:
    """To 1e-12, with Adam, momentum and weight decay."""
    torch.manual_seed(0)
    model = nn.Linear(8, 2).double()
    kind = torch.float64
    old = torch.randn(3, 8, dtype=kind), torch.randn(3, 2, dtype=kind)
    new = torch.randn(30, 8, dtype=kind), torch.randn(30, 2, dtype=kind)
    held = OldGradients(model.parameters())
    assert held.add(model, [old[0]]) == 6
    before, start = _losses(model, old).item(), _losses(model, new).item()
    adam = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=decay)
    after_step(adam, OrthogonalUpdates(held))
    for _ in range(50):
        adam.zero_grad()
        _losses(model, new).backward()
        adam.step()
    assert abs(_losses(model, old).item() - before) < 1e-12
    assert _losses(model, new).item() < 0.8 * start


def test_projected_gradients_leave_the_old_loss_under_plain_sgd() -> None:
    torch.manual_seed(0)
    model = nn.Linear(8, 1).double()
    old, new = torch.randn(2, 8).double(), torch.randn(9, 8).double()
    held = OldGradients(model.parameters())
    held.add(model, [old])
    before = model(old).detach()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(20):
        sgd.zero_grad()
        model(new).square().mean().backward()
        held.project_()
        sgd.step()
    assert (model(old) - before).abs().max() < 1e-12


def test_a_direction_that_is_there_is_not_added_again() -> None:
    held = OldGradients([torch.zeros(3)], most=2)
    rows = torch.tensor([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    assert held.add_rows(rows) == 1
    assert held.add_rows(torch.tensor([[0.0, 1.0, 0.0]])) == 1
    kept = held.basis.clone()
    with pytest.raises(ContinualError, match="most=2"):
        held.add_rows(torch.eye(3))
    assert torch.equal(held.basis, kept)
    with pytest.raises(ContinualError, match="expected"):
        held.add_rows(torch.eye(4))
    other = OldGradients([torch.zeros(3)])
    other.load_state_dict(held.state_dict())
    assert other.outside(torch.ones(3)).abs().max() == pytest.approx(1.0)
    with pytest.raises(ContinualError, match="1 or more"):
        OldGradients([])


def test_a_resumed_run_starts_from_the_weights_it_loaded() -> None:
    weight = torch.zeros(2, requires_grad=True)
    held = OldGradients([weight])
    held.add_rows(torch.tensor([[1.0, 0.0]]))
    sgd = torch.optim.SGD([weight], lr=1.0)
    after_step(sgd, OrthogonalUpdates(held))
    saved = sgd.state_dict()
    with torch.no_grad():
        weight.copy_(torch.tensor([5.0, 5.0]))
    sgd.load_state_dict(saved)
    weight.grad = torch.ones(2)
    sgd.step()
    assert weight.tolist() == [5.0, 4.0]


# --- scores ---------------------------------------------------------------------


def test_forgetting_of_a_matrix_by_hand() -> None:
    matrix = TaskMatrix(2)
    matrix.record(0, [0.9])
    matrix.record(1, [0.7, 0.8])
    assert matrix.forgetting == pytest.approx(0.2)
    assert matrix.backward_transfer == pytest.approx(-0.2)
    assert matrix.accuracy == pytest.approx(0.75)
    assert "0.900    ·" in repr(matrix)


def test_three_tasks_by_hand() -> None:
    matrix = TaskMatrix(3)
    for after, row in enumerate([[0.8, 0.5, 0.3], [0.9, 0.7, 0.4], [0.6, 0.75, 0.9]]):
        matrix.record(after, row)
    assert matrix.forgetting == pytest.approx((0.3 - 0.05) / 2)
    assert matrix.backward_transfer == pytest.approx((-0.2 + 0.05) / 2)
    assert matrix.forward_transfer([0.1, 0.4, 0.4]) == pytest.approx(0.05)
    other = TaskMatrix(3)
    other.load_state_dict(matrix.state_dict())
    assert other.accuracy == matrix.accuracy


def test_scores_that_are_missing_are_asked_for() -> None:
    matrix = TaskMatrix(2)
    with pytest.raises(ContinualError, match="scores are missing"):
        _ = matrix.accuracy
    matrix.record(0, [0.9])
    assert matrix.forgetting == 0.0
    matrix.rows[1][1] = 0.5
    with pytest.raises(ContinualError, match="scores are missing"):
        _ = matrix.forgetting
    for wrong in ((2, [0.1]), (0, [0.1] * 3)):
        with pytest.raises(ContinualError, match="at most 2"):
            matrix.record(*wrong)
    with pytest.raises(ContinualError, match="tasks=0"):
        TaskMatrix(0)
    with pytest.raises(ContinualError, match="one a task"):
        matrix.forward_transfer([0.1])
