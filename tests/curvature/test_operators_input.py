"""Bad input gets an error that says what to do; spaces, scipy, preconditioners."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from curvature import nets
from surefoot.curvature.errors import CurvatureError, explained
from surefoot.curvature.operators import (
    Batches,
    fisher,
    ggn,
    hessian,
    preconditioned,
    restricted,
)
from surefoot.curvature.space import space


def dense(operator: Any) -> torch.Tensor:
    return operator @ torch.eye(operator.shape[0], dtype=operator.dtype)


def close(found: torch.Tensor, expected: torch.Tensor, bound: float = 1e-9) -> None:
    assert (found - expected).norm() <= bound * expected.norm()


# --- what a loss may be ----------------------------------------------------------


class Once(torch.autograd.Function):
    """Its derivative has none."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return 2 * ctx.saved_tensors[0] * grad


def mean(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model(x).square().mean()


LOSSES: dict[str, tuple[Callable[..., Any], str]] = {
    "a number": (lambda m, x: mean(m, x).item(), "do not call .item()"),
    "many numbers": (lambda m, x: m(x), r"gave \(3, 2\); expected a tensor with one"),
    "no graph": (lambda m, x: mean(m, x).detach(), "the loss has no graph"),
    "other weights": (
        lambda m, x: torch.ones(1, requires_grad=True).sum(),
        "does not depend on any of the 2 weights",
    ),
    "no number": (lambda m, x: mean(m, x) * float("nan"), "look at the batch"),
    "infinite slope": (
        lambda m, x: (m(x) * 0).abs().sqrt().sum(),
        "gradient of weight is not finite, although the loss is",
    ),
    "once": (lambda m, x: Once.apply(m(x)).mean(), "once_differentiable"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_without_second_derivative_is_refused(name: str) -> None:
    loss_fn, message = LOSSES[name]
    model = nn.Linear(2, 2)

    def ask() -> None:
        H = hessian(model, torch.ones(3, 2), loss_fn=loss_fn)
        _ = H @ torch.ones(H.shape[0])

    with pytest.raises(CurvatureError, match=message):
        ask()


def test_an_operation_without_second_derivative_is_named() -> None:
    """Distances of the third kind have a first derivative only."""
    model = nn.Linear(3, 3)

    def loss_fn(model: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.cdist(model(x), x, p=3.0).square().mean()

    with pytest.raises(CurvatureError, match=r"_cdist_backward.* has no second"):
        _ = hessian(model, torch.randn(4, 3), loss_fn=loss_fn) @ torch.ones(12)


def test_sparse_gradients_are_refused_with_the_switch() -> None:
    model = nn.Embedding(4, 2, sparse=True)
    x = torch.tensor([0, 1, 1])
    with pytest.raises(CurvatureError, match="sparse=False"):
        _ = hessian(model, x, loss_fn=mean) @ torch.ones(8)


@pytest.mark.parametrize("kind", ["parameter", "buffer"])
def test_a_value_that_is_not_finite_is_named(kind: str) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    with torch.no_grad():
        of = model[0].bias if kind == "parameter" else model[1].running_mean
        of[1] = float("nan")
    name = "0.bias" if kind == "parameter" else "1.running_mean"
    with pytest.raises(CurvatureError, match=f"{kind} {name} holds values"):
        hessian(model, torch.ones(3, 2), loss_fn=mean)


def test_weights_that_the_loss_does_not_see_have_zero_rows() -> None:
    model = nn.ModuleList([nn.Linear(2, 1), nn.Linear(3, 1)])
    H = hessian(model, torch.ones(3, 2), loss_fn=lambda m, x: mean(m[0], x))
    rows = dense(H)
    assert rows[:3, :3].norm() > 0
    assert rows[3:].norm() == rows[:, 3:].norm() == 0
    assert dense(restricted(H, "1")).norm() == 0


def test_a_loss_that_is_linear_has_the_zero_hessian() -> None:
    H = hessian(nn.Linear(2, 1), torch.ones(3, 2), loss_fn=lambda m, x: m(x).mean())
    assert not dense(H).any()
    assert H.gradient.tolist() == [1, 1, 1]


def test_weights_that_changed_are_noticed() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kept = hessian(model, torch.ones(3, 2), loss_fn=mean)
    anew = hessian(model, Batches([torch.ones(3, 2)]), loss_fn=mean)
    mean(model, torch.ones(3, 2)).backward()
    optimizer.step()
    for H in (kept, anew, restricted(kept, "bias")):
        with pytest.raises(CurvatureError, match="make a new operator"):
            dense(H)


def test_vectors_that_do_not_fit_are_refused() -> None:
    H = hessian(nn.Linear(2, 1), torch.ones(3, 2), loss_fn=mean)
    for wrong, message in (
        (torch.ones(4), r"came a tensor \[4\]; expected \[3\]"),
        (torch.ones(1, 3), r"came a tensor \[1, 3\]"),
        (torch.ones(3, dtype=torch.float64), "expected torch.float32"),
        (np.ones(3), "came ndarray"),
    ):
        with pytest.raises(CurvatureError, match=message):
            _ = H @ wrong
    assert H.products == 0
    assert (H @ torch.ones(3, 0)).shape == (3, 0)


def test_an_unknown_dropout_is_refused() -> None:
    with pytest.raises(CurvatureError, match="came dropout='on'"):
        hessian(nn.Linear(2, 1), torch.ones(3, 2), loss_fn=mean, dropout="on")


def test_lack_of_memory_stays_what_it_is() -> None:
    error = torch.OutOfMemoryError("out of memory")
    assert explained(error) is error
    assert "first line" in str(explained(RuntimeError("first line\nsecond line")))


# --- spaces ---------------------------------------------------------------------


def test_a_space_counts_tied_weights_once_and_knows_both_names() -> None:
    model = nets.Tied()
    over = space(model)
    assert over.names == ("embed.weight", "inner.weight", "inner.bias")
    assert space(model, "head").names == space(model, ["embed"]).names
    assert over.slices["inner.bias"] == slice(24, 27)
    vector = torch.arange(27.0)
    assert over.split(vector)[0].data_ptr() == vector.data_ptr()
    assert torch.equal(over.flat(over.split(vector)), vector)
    assert not over.flat([None, None, None]).any()


def test_weights_are_chosen_by_name_tensor_group_or_predicate() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    model[0].bias.requires_grad_(False)
    optimizer = torch.optim.SGD([{"params": model[0].parameters()},
                                 {"params": model[1].parameters()}], lr=1)  # fmt: skip
    assert space(model, "1").names == ("1.0.weight", "1.0.bias")
    assert space(model, ["1.0.bias", "0"]).names == ("0.weight", "1.0.bias")
    assert space(model, optimizer.param_groups[0]["params"]).names == ("0.weight",)
    assert space(model, lambda name, w: w.dim() == 1).names == ("1.0.bias",)
    assert space(model, "").size == 10


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("1.weigth", "nothing trainable is called '1.weigth'; close to it: 1.weight"),
        ("zebra", "there is 0.weight, 0.bias, 1.weight, 1.bias"),
        ([torch.ones(2, requires_grad=True)], "is no weight of this space"),
        ([], "no trainable weight is chosen"),
        (lambda name, w: False, "no trainable weight is chosen"),
    ],
)
def test_an_unknown_weight_is_refused(where: Any, message: str) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(CurvatureError, match=message):
        space(model, where)


def test_a_model_without_real_trainable_weights_is_refused() -> None:
    with pytest.raises(CurvatureError, match="no trainable parameter"):
        space(nn.Linear(2, 2).requires_grad_(False))
    with pytest.raises(CurvatureError, match="expected real floating-point"):
        space(nn.Linear(2, 2, dtype=torch.complex64))


@pytest.mark.parametrize("make", [hessian, ggn, fisher])
def test_where_gives_the_block_of_the_whole(make: Any) -> None:
    case = nets.made(nets.embedding_tied)
    whole = make(case.model, case.batch, loss_fn=case.loss_fn)
    part = make(case.model, case.batch, loss_fn=case.loss_fn, where="inner")
    rows = slice(15, 27)
    close(dense(part), dense(whole)[rows, rows])
    close(dense(restricted(whole, "inner")), dense(part))
    close(dense(restricted(part, "inner.bias")), dense(part)[9:, 9:])


# --- scipy and curvlinops --------------------------------------------------------


def test_scipy_takes_an_operator() -> None:
    linalg = pytest.importorskip("scipy.sparse.linalg")
    case = nets.made(nets.smooth)
    H = hessian(case.model, case.batch, loss_fn=case.loss_fn)
    values = linalg.eigsh(H.to_scipy(), k=2, which="LA", return_eigenvectors=False)
    expected = torch.linalg.eigvalsh(dense(H))[-2:]
    np.testing.assert_allclose(np.sort(values), expected, rtol=1e-6)
    eye = np.eye(H.shape[0], 3)
    np.testing.assert_allclose(H.to_scipy() @ eye, dense(H)[:, :3], rtol=1e-9)


@pytest.mark.parametrize("kind", ["hessian", "ggn", "fisher"])
def test_the_products_are_those_of_curvlinops(kind: str) -> None:
    peer = pytest.importorskip("curvlinops")
    case = nets.made(nets.residual)
    parts = [tuple(one[:3] for one in case.batch), tuple(one[3:] for one in case.batch)]
    weights = list(case.model.parameters())
    warnings.simplefilter("ignore")  # theirs, of torch.jit
    kinds = {
        "hessian": (hessian, peer.HessianLinearOperator),
        "ggn": (ggn, peer.GGNLinearOperator),
        "fisher": (fisher, peer.EFLinearOperator),
    }
    ours, theirs = kinds[kind]
    A = ours(case.model, Batches(parts), loss_fn=case.loss_fn)
    B = theirs(case.model, nn.CrossEntropyLoss(), weights, parts, progressbar=False)
    close(dense(A), B @ torch.eye(A.shape[0], dtype=torch.float64))


# --- preconditioners ------------------------------------------------------------


def _optimizers() -> dict[str, tuple[Any, dict[str, Any]]]:
    optim = torch.optim
    return {
        "adam": (optim.Adam, {}),
        "adamw": (optim.AdamW, {"weight_decay": 0.0, "foreach": True}),
        "amsgrad": (optim.Adam, {"amsgrad": True}),
        "betas": (optim.Adam, {"betas": (0.5, 0.9), "eps": 1e-2}),
        "rmsprop": (optim.RMSprop, {}),
        "centered": (optim.RMSprop, {"centered": True, "momentum": 0.9}),
        "adamax": (optim.Adamax, {}),
        "adagrad": (optim.Adagrad, {}),
        "momentum": (optim.SGD, {"momentum": 0.9, "nesterov": True}),
    }


@pytest.mark.parametrize("name", _optimizers())
def test_a_step_is_the_mean_of_gradients_over_the_diagonal(name: str) -> None:
    """An update is −lr · m / P, with m what the optimizer keeps of the gradients."""
    kind, options = _optimizers()[name]
    case = nets.made(nets.smooth)
    rate = 1e-4
    optimizer = kind(case.model.parameters(), lr=rate, **options)
    over = space(case.model)
    for _ in range(3):
        before = over.flat([one.detach().clone() for one in over.tensors])
        optimizer.zero_grad()
        case.loss_fn(case.model, case.batch).backward()
        optimizer.step()
    H = hessian(case.model, case.batch, loss_fn=case.loss_fn)
    P = preconditioned(H, optimizer)
    moved = over.flat([one.detach() for one in over.tensors]) - before
    gradient = over.flat([one.grad for one in over.tensors])
    state = [optimizer.state[one] for one in over.tensors]
    if "exp_avg" in state[0]:
        kept = over.flat([one["exp_avg"] for one in state])
        close(moved, -rate * kept * P.scale**2, bound=1e-6)
    elif name == "centered":
        kept = over.flat([one["momentum_buffer"] for one in state])
        first = over.flat([one["momentum_buffer"] for one in state])
        close(moved, -rate * first, bound=1e-6)
        assert (kept - gradient * P.scale**2).norm() > 0  # older ones are in it
    elif name == "momentum":
        assert torch.equal(P.scale, torch.ones_like(P.scale))
    else:
        close(moved, -rate * gradient * P.scale**2, bound=1e-6)
    scaled = P.scale[:, None] * dense(H) * P.scale
    close(dense(P), scaled)
    close(P @ P.scale, scaled @ P.scale)
    close(dense(restricted(P, "0")), scaled[:12, :12])
    assert "scaled by" in P.notes[-1]


def test_a_preconditioner_that_is_not_known_is_refused() -> None:
    model = nn.Linear(2, 1)
    H = hessian(model, torch.ones(3, 2), loss_fn=mean)
    for optimizer, message in (
        (torch.optim.Adam(model.parameters()), "made no update of weight yet"),
        (torch.optim.Adam([model.bias]), "does not hold weight"),
        (torch.optim.LBFGS(model.parameters()), "is known for LBFGS; expected one of"),
    ):
        with pytest.raises(CurvatureError, match=message):
            preconditioned(H, optimizer)


def test_closing_the_scaled_operator_leaves_the_plain_one_open() -> None:
    model = nn.Linear(2, 1)
    H = hessian(model, torch.ones(3, 2), loss_fn=mean)
    with preconditioned(H, torch.optim.SGD(model.parameters(), lr=1)) as P:
        assert torch.equal(dense(P), dense(H))
    with pytest.raises(CurvatureError, match="closed"):
        dense(P)
    assert dense(H).any()
    assert "3 × 3" in repr(H)
    assert "3 elements of 2 tensors" in repr(H.space)


def test_a_squared_loss_of_linear_weights_is_known_in_closed_form() -> None:
    x = torch.randn(6, 3, dtype=torch.float64)
    model = nn.Linear(3, 1, bias=False).double()

    def loss_fn(model: Any, batch: Any) -> torch.Tensor:
        return functional.mse_loss(model(batch).squeeze(-1), torch.zeros(6).double())

    for make in (hessian, ggn):
        close(dense(make(model, x, loss_fn=loss_fn)), 2 * x.T @ x / 6)
