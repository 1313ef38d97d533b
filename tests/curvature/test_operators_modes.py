"""Dropout, attention, autocast, compiling, checkpointing, several batches."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from curvature import nets
from curvature.nets import Case
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.operators import (
    Batches,
    Operator,
    fisher,
    ggn,
    hessian,
    restricted,
)

KINDS = {"hessian": hessian, "ggn": ggn, "fisher": fisher}


def dense(operator: Operator) -> torch.Tensor:
    return operator @ torch.eye(operator.shape[0], dtype=operator.dtype)


def close(found: torch.Tensor, expected: torch.Tensor, bound: float = 1e-9) -> None:
    assert (found - expected).norm() <= bound * expected.norm()


# --- dropout --------------------------------------------------------------------


class Dropping(nn.Module):
    """Drops at random in every way that torch has."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.first = nn.Sequential(nn.Linear(4, 4), nn.Dropout(p), nn.Tanh())
        self.attend = nn.MultiheadAttention(4, 2, dropout=p, batch_first=True)
        self.core = nn.GRU(4, 4, num_layers=2, dropout=p, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.dropout(self.first(x), self.p)
        y = functional.scaled_dot_product_attention(x, x, x, dropout_p=self.p)
        z = self.attend(x, x, y, need_weights=False)[0]
        return self.core(functional.alpha_dropout(z, self.p, training=True))[0]


@pytest.fixture
def dropping() -> Case:
    torch.manual_seed(0)
    model = Dropping(0.4).double()
    x, y = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    return Case(model, (x, y), nets.squares)


@pytest.mark.parametrize("kind", KINDS)
def test_without_dropout_the_operator_is_that_of_rate_zero(
    dropping: Case, kind: str
) -> None:
    make = KINDS[kind]
    off = make(dropping.model, dropping.batch, loss_fn=nets.squares, dropout="off")
    bare = Dropping(0.0).double()
    bare.load_state_dict(dropping.model.state_dict())
    bare.attend.load_state_dict(dropping.model.attend.state_dict())
    v = torch.randn(off.shape[0], dtype=torch.float64)
    close(off @ v, make(bare, dropping.batch, loss_fn=nets.squares) @ v)
    fixed = make(dropping.model, dropping.batch, loss_fn=nets.squares)
    assert (fixed @ v - off @ v).norm() > 0.05 * (off @ v).norm()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [True, False])
def test_one_mask_makes_one_symmetric_matrix(
    dropping: Case, kind: str, keep: bool
) -> None:
    halves = [[one[:2] for one in dropping.batch], [one[2:] for one in dropping.batch]]
    batches = Batches(halves, keep_graphs=keep)
    A = KINDS[kind](dropping.model, batches, loss_fn=nets.squares)
    torch.manual_seed(5)  # a run that goes on draws in between
    some = A @ torch.randn(A.shape[0], 6, dtype=torch.float64)
    torch.rand(3)
    u, v = torch.randn(2, A.shape[0], dtype=torch.float64)
    assert torch.dot(u, A @ v).item() == pytest.approx(torch.dot(v, A @ u).item())
    assert some.shape == (A.shape[0], 6)


def test_the_mask_is_the_one_that_the_next_pass_draws(dropping: Case) -> None:
    torch.manual_seed(1)
    H = hessian(dropping.model, dropping.batch, loss_fn=nets.squares)
    loss = nets.squares(dropping.model, dropping.batch)
    assert H.loss.item() == pytest.approx(loss.item(), rel=1e-12)


# --- several batches ------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [True, False])
def test_uneven_batches_make_the_operator_of_one(kind: str, keep: bool) -> None:
    case = nets.made(nets.batch_norm)
    case.model.eval()
    x = torch.randn(11, 1, 3, 3, dtype=torch.float64)
    y = torch.arange(11) % 3
    whole = KINDS[kind](case.model, (x, y), loss_fn=case.loss_fn)
    parts = Batches(
        [(x[:4], y[:4]), (x[4:8], y[4:8]), (x[8:], y[8:])], keep_graphs=keep
    )
    loader = DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True)
    for data in (parts, loader):
        A = KINDS[kind](case.model, data, loss_fn=case.loss_fn)
        close(dense(A), dense(whole))
        close(A.loss, whole.loss)
        if kind == "hessian":
            close(A.gradient, whole.gradient)
            block = restricted(A, "4")
            close(
                block.gradient, whole.gradient[whole.space.slices["4.weight"].start :]
            )
            close(dense(block), dense(restricted(whole, "4")))


def test_batches_may_be_nests_and_must_tell_their_samples() -> None:
    model = nn.Linear(2, 1)

    def loss_fn(model: Any, batch: Any) -> torch.Tensor:
        return model(batch["x"][0]).square().mean()

    batches = [{"x": [torch.ones(n, 2)]} for n in (2, 3)]
    assert hessian(model, Batches(batches), loss_fn=loss_fn).loss > 0
    with pytest.raises(CurvatureError, match="how many samples a batch of type str"):
        hessian(model, Batches(["ab", "c"]), loss_fn=loss_fn)
    with pytest.raises(CurvatureError, match="there is no batch"):
        hessian(model, Batches(iter(())), loss_fn=loss_fn)


def test_a_loss_that_is_no_function_of_model_and_batch_is_noticed() -> None:
    model, counter = nn.Linear(2, 1), iter(range(1, 9))

    def loss_fn(model: Any, batch: Any) -> torch.Tensor:
        return model(batch).square().mean() * next(counter)

    H = hessian(model, Batches([torch.ones(3, 2)]), loss_fn=loss_fn)
    with pytest.raises(CurvatureError, match="at first and"):
        _ = H @ torch.ones(3)


# --- kernels and precisions -----------------------------------------------------


def test_attention_on_the_maths_kernel_is_said_only_where_it_was_called() -> None:
    for build, said in (
        (nets.sdpa, True),
        (nets.attention, True),
        (nets.attention_with_weights, False),
        (nets.linear, False),
    ):
        case = nets.made(build)
        H = hessian(case.model, case.batch, loss_fn=case.loss_fn)
        assert any("maths kernel" in note for note in H.notes) == said


def test_the_mode_of_batch_norms_is_said() -> None:
    case = nets.made(nets.batch_norm)
    for training, words in ((None, "training mode"), (False, "evaluation mode")):
        H = hessian(case.model, case.batch, loss_fn=case.loss_fn, training=training)
        assert words in H.notes[0]
        assert case.model.training


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_is_said_and_costs_digits_only(kind: str) -> None:
    torch.manual_seed(0)
    case = nets.made(nets.smooth)
    model = case.model.float()
    x, y = case.batch[0].float(), case.batch[1]

    def loss_fn(model: Any, batch: Any) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            out = model(batch[0])
        return functional.cross_entropy(out.float(), batch[1])

    A = KINDS[kind](model, (x, y), loss_fn=loss_fn)
    assert any("autocast to torch.bfloat16" in note for note in A.notes)
    v = A.space.flat([torch.randn_like(one) for one in A.space.tensors])
    exact = KINDS[kind](model, (x, y), loss_fn=case.loss_fn) @ v
    close(A @ v, exact, bound=0.1)
    with torch.autocast("cpu", torch.bfloat16):  # whoever asks may be in autocast
        close(hessian(model, (x, y), loss_fn=loss_fn) @ v,
              hessian(model, (x, y), loss_fn=loss_fn) @ v, bound=1e-6)  # fmt: skip


def test_weights_of_two_formats_share_the_wider_one() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1).double())

    def loss_fn(model: Any, x: Any) -> torch.Tensor:
        return model[1](model[0](x).double()).square().mean()

    H = hessian(model, torch.ones(4, 2), loss_fn=loss_fn)
    assert H.dtype == H.space.dtype == torch.float64
    found = dense(H)
    model = model.double()
    H64 = hessian(model, torch.ones(4, 2, dtype=torch.float64), loss_fn=loss_fn)
    close(found, dense(H64), bound=1e-6)
    with pytest.raises(CurvatureError, match="weights of the model were changed"):
        dense(H)


def test_products_can_be_had_where_no_gradients_are_recorded() -> None:
    case = nets.made(nets.smooth)
    expected = dense(hessian(case.model, case.batch, loss_fn=case.loss_fn))
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            close(
                dense(hessian(case.model, case.batch, loss_fn=case.loss_fn)), expected
            )


# --- compiled, copied, checkpointed ---------------------------------------------


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_a_compiled_model_has_the_products_of_the_one_inside(kind: str) -> None:
    case = nets.made(nets.relu)
    expected = dense(KINDS[kind](case.model, case.batch, loss_fn=case.loss_fn))
    compiled = torch.compile(case.model, backend="eager")
    case.loss_fn(compiled, case.batch).backward()
    A = KINDS[kind](compiled, case.batch, loss_fn=case.loss_fn)
    close(dense(A), expected)
    assert A.space.names[0] == "0.weight"
    case.loss_fn(compiled, case.batch).backward()


def test_a_copy_has_an_operator_of_its_own() -> None:
    case = nets.made(nets.relu)
    H = hessian(case.model, case.batch, loss_fn=case.loss_fn)
    double = copy.deepcopy(case.model)
    with torch.no_grad():
        double[0].weight.mul_(2)
    other = hessian(double, case.batch, loss_fn=case.loss_fn)
    close(dense(H), dense(hessian(case.model, case.batch, loss_fn=case.loss_fn)))
    assert (dense(H) - dense(other)).norm() > 0.1 * dense(H).norm()


class Checkpointed(nn.Module):
    def __init__(self, inner: nn.Module, *, reentrant: bool) -> None:
        super().__init__()
        self.inner, self.reentrant = inner, reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.inner, x, use_reentrant=self.reentrant)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [None, False])
def test_checkpointed_parts_run_again_without_trace(
    kind: str, training: bool | None
) -> None:
    case = nets.made(nets.batch_norm)
    model = Checkpointed(case.model, reentrant=False)
    buffers = [b.clone() for b in model.buffers()]
    options = {"loss_fn": case.loss_fn, "training": training}
    A = KINDS[kind](model, case.batch, **options)
    close(dense(A), dense(KINDS[kind](case.model, case.batch, **options)))
    assert any("checkpointing" in note for note in A.notes)
    assert all(map(torch.equal, buffers, model.buffers()))


def test_reentrant_checkpointing_is_refused_with_the_switch() -> None:
    case = nets.made(nets.relu)
    model = Checkpointed(case.model, reentrant=True)
    inside = (case.batch[0].requires_grad_(), case.batch[1])
    behind = nn.Sequential(nn.Linear(3, 3).double(), model)
    for whole in (model, behind):
        for make in (hessian, ggn):
            with pytest.raises(CurvatureError, match="use_reentrant=False"):
                make(whole, inside, loss_fn=case.loss_fn)
