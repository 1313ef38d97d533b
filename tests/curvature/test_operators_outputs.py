"""Gauss–Newton and Fisher matrices against dense ones built from their definitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from curvature import nets
from curvature.nets import Case
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.operators import Operator, fisher, ggn
from surefoot.curvature.space import space

UNCOUPLED = tuple(build for build in nets.ALL if build is not nets.batch_norm)
"""Nets whose samples do not see each other."""


def close(found: torch.Tensor, expected: torch.Tensor, bound: float = 1e-6) -> None:
    assert (found - expected).norm() <= bound * expected.norm()


def dense(operator: Operator) -> torch.Tensor:
    return operator @ torch.eye(operator.shape[0], dtype=operator.dtype)


def outputs_and_jacobian(
    model: nn.Module, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a model gives, and its derivative [outputs, weights] by flat weights."""
    over = space(model)
    places = {id(tensor): place for place, tensor in enumerate(over.tensors)}
    named = dict(model.named_parameters(remove_duplicate=False))
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}

    def outputs(flat: torch.Tensor) -> torch.Tensor:
        pieces = over.split(flat)
        values = {name: pieces[places[id(one)]] for name, one in named.items()}
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return functional_call(model, {**values, **buffers}, (x,))

    start = over.flat([tensor.detach() for tensor in over.tensors])
    z = outputs(start)
    jacobian = torch.autograd.functional.jacobian(outputs, start)
    return z.detach(), jacobian.reshape(z.numel(), -1)


@pytest.mark.parametrize("build", nets.ALL, ids=lambda build: build.__name__)
def test_products_are_those_of_the_dense_gauss_newton_matrix(build: Any) -> None:
    case = nets.made(build)
    z, J = outputs_and_jacobian(case.model, case.batch[0])
    H = torch.autograd.functional.hessian(
        lambda z: case.loss_fn(lambda x: z, case.batch), z
    ).reshape(z.numel(), -1)
    with ggn(case.model, case.batch, loss_fn=case.loss_fn) as G:
        close(dense(G), J.T @ H @ J)
        assert not G.notes or "batch norm" in G.notes[0] or "attention" in G.notes[0]


def samples(batch: Any) -> Iterator[Any]:
    x, y = batch
    return ((x[i : i + 1], y[i : i + 1]) for i in range(len(x)))


def gradient(case: Case, batch: Any) -> torch.Tensor:
    """The gradient of the loss of one batch, flat."""
    over = space(case.model)
    loss = case.loss_fn(case.model, batch)
    return over.flat(torch.autograd.grad(loss, over.tensors, allow_unused=True))


@pytest.mark.parametrize("build", UNCOUPLED, ids=lambda build: build.__name__)
def test_the_empirical_fisher_is_the_mean_of_squares(build: Any) -> None:
    case = nets.made(build)
    rows = torch.stack([gradient(case, one) for one in samples(case.batch)])
    with fisher(case.model, case.batch, loss_fn=case.loss_fn) as F:
        close(dense(F), rows.T @ rows / len(rows))


def test_the_empirical_fisher_knows_a_sum_from_a_mean() -> None:
    case = nets.made(nets.relu)

    def summed(model: Any, batch: Any) -> torch.Tensor:
        return functional.cross_entropy(model(batch[0]), batch[1], reduction="sum")

    with fisher(case.model, case.batch, loss_fn=case.loss_fn) as F:
        expected = dense(F)
    with fisher(case.model, case.batch, loss_fn=summed) as F:
        close(dense(F), expected)


# --- the true Fisher matrix ------------------------------------------------------


@dataclass(frozen=True)
class Likelihood:
    """A loss, how its logits become what it is given, and its predicted targets."""

    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    given: Callable[[torch.Tensor], torch.Tensor]
    targets: Callable[[torch.Tensor], list[tuple[torch.Tensor, torch.Tensor]]]


def classes(z: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each class and the probability with which the logits [1, C] predict it."""
    return [(torch.tensor([c]), p) for c, p in enumerate(z.softmax(-1)[0])]


def coins(z: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each pair of outcomes of two coins, and its probability."""
    p = z.sigmoid()[0]
    pairs = [(a, b) for a in (0.0, 1.0) for b in (0.0, 1.0)]
    return [
        (
            torch.tensor([pair], dtype=z.dtype),
            torch.stack([q if one else 1 - q for one, q in zip(pair, p, strict=True)])
            .prod(),
        )
        for pair in pairs
    ]  # fmt: skip


def counts(z: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each pair of counts up to 14, and its probability."""
    law = torch.distributions.Poisson(z.exp()[0])
    grid = torch.cartesian_prod(torch.arange(15.0), torch.arange(15.0)).to(z)
    return [(one[None], law.log_prob(one).sum().exp()) for one in grid]


LIKELIHOODS = {
    "cross entropy": Likelihood(functional.cross_entropy, lambda z: z, classes),
    "log classes": Likelihood(
        functional.nll_loss, lambda z: z.log_softmax(-1), classes
    ),
    "logits": Likelihood(
        lambda z, y: 2 * functional.binary_cross_entropy_with_logits(z, y),
        lambda z: z,
        coins,
    ),
    "probabilities": Likelihood(
        lambda z, y: 2 * functional.binary_cross_entropy(z, y), torch.sigmoid, coins
    ),
    "counts": Likelihood(
        lambda z, y: 2 * functional.poisson_nll_loss(z, y), lambda z: z, counts
    ),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_true_fisher_is_the_expectation_over_predicted_targets(name: str) -> None:
    law = LIKELIHOODS[name]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    x = torch.randn(2, 2, dtype=torch.float64)

    def loss_fn(model: Any, batch: Any) -> torch.Tensor:
        return law.loss(law.given(model(batch[0])), batch[1])

    case = Case(model, (x, None), loss_fn)
    expected = torch.zeros(())
    for row in x.split(1):
        for target, share in law.targets(model(row).detach()):
            g = gradient(case, (row, target))
            expected = expected + share * torch.outer(g, g) / len(x)
    with torch.no_grad():
        drawn = [law.targets(model(row))[0][0] for row in x.split(1)]
    with fisher(model, (x, torch.cat(drawn)), loss_fn=loss_fn, kind="true") as F:
        close(dense(F), expected)


def test_the_true_fisher_of_squares_is_that_of_a_gaussian() -> None:
    case = nets.made(nets.linear)
    x, y = case.batch
    z, J = outputs_and_jacobian(case.model, x)
    variance = y.shape[1] / 2  # of which mse_loss is the negative logarithm
    for loss_fn in (case.loss_fn, lambda m, b: functional.mse_loss(b[1], m(b[0]))):
        with fisher(case.model, (x, y), loss_fn=loss_fn, kind="true") as F:
            close(dense(F), J.T @ J / variance / len(z))


# --- where the network ends -----------------------------------------------------


class Own(nn.Module):
    """Computes its loss itself, and returns it among other things."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
        hidden = self.inner[0](x)
        logits = self.inner[2](self.inner[1](hidden))
        loss = functional.cross_entropy(logits, y)
        return {"loss": loss, "logits": logits, "hidden": (hidden, [hidden.relu()])}


@pytest.fixture
def plain() -> Case:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    return Case(model, (x, torch.arange(5) % 3), nets.cross_entropy)


@pytest.mark.parametrize("inside", [True, False])
def test_what_else_a_model_returns_makes_no_difference(
    plain: Case, inside: bool
) -> None:
    def loss_fn(model: Any, batch: Any) -> torch.Tensor:
        found = model(*batch)
        if inside:
            return found["loss"]
        return functional.cross_entropy(found["logits"], batch[1])

    expected = dense(ggn(plain.model, plain.batch, loss_fn=plain.loss_fn))
    model = Own(plain.model)
    close(dense(ggn(model, plain.batch, loss_fn=loss_fn)), expected)
    close(dense(fisher(model, plain.batch, loss_fn=loss_fn, kind="true")), expected)
    assert not ggn(model, plain.batch, loss_fn=loss_fn).notes


class Cell(nn.Module):
    """One step of a recurrent network, called in a loop by the loss function."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(
        self, x: torch.Tensor, *, hidden: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.tanh(self.inner(x) + hidden)
        return hidden * 2, hidden


def unrolled(cell: Any, batch: Any) -> torch.Tensor:
    hidden, total = torch.zeros(4, 3, dtype=torch.float64), torch.zeros(())
    for x in batch:
        out, hidden = cell(x, hidden=hidden)
        total = total + out.square().mean()
    return total


def test_a_state_that_a_model_gets_back_keeps_its_graph() -> None:
    torch.manual_seed(0)
    cell, x = Cell().double(), torch.randn(3, 4, 3, dtype=torch.float64)
    over = space(cell)

    def outputs(flat: torch.Tensor) -> torch.Tensor:
        values = dict(zip(over.names, over.split(flat), strict=True))
        hidden, found = torch.zeros(4, 3, dtype=torch.float64), []
        for one in x:
            out, hidden = functional_call(cell, values, (one,), {"hidden": hidden})
            found.append(out)
        return torch.stack(found)

    flat = over.flat([one.detach() for one in over.tensors])
    J = torch.autograd.functional.jacobian(outputs, flat).reshape(36, -1)
    close(dense(ggn(cell, x, loss_fn=unrolled)), J.T @ J * 2 / 12)


def test_a_state_that_is_computed_with_before_it_comes_back_is_refused() -> None:
    def loss_fn(model: Any, x: Any) -> torch.Tensor:
        return model(model(x) * 2).square().mean()

    with pytest.raises(CurvatureError, match="gives the result to the model again"):
        ggn(nn.Linear(2, 2), torch.ones(3, 2), loss_fn=loss_fn)


def test_a_penalty_on_weights_is_left_out_and_said(plain: Case) -> None:
    def penalised(model: Any, batch: Any) -> torch.Tensor:
        return plain.loss_fn(model, batch) + model[0].weight.square().sum()

    G = ggn(plain.model, plain.batch, loss_fn=penalised)
    close(dense(G), dense(ggn(plain.model, plain.batch, loss_fn=plain.loss_fn)))
    assert "penalty" in G.notes[-1]


def test_log_probabilities_have_no_gauss_newton_matrix() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.LogSoftmax(-1))
    batch = (torch.ones(2, 2), torch.tensor([0, 1]))
    with pytest.raises(CurvatureError, match="return logits for cross_entropy"):
        ggn(model, batch, loss_fn=lambda m, b: functional.nll_loss(m(b[0]), b[1]))


@pytest.mark.parametrize(
    ("make", "loss", "message"),
    [
        (ggn, lambda m, x: (m.weight @ x[0]).sum(), "never called the model itself"),
        (fisher, lambda m, x: m(x).mean() * 2, None),
        (
            lambda *a, **k: fisher(*a, **k, kind="true"),
            lambda m, x: m(x).square().mean(),
            "no loss function of torch",
        ),
        (
            lambda *a, **k: fisher(*a, **k, kind="true"),
            lambda m, x: functional.l1_loss(m(x), x),
            "no likelihood is known for l1_loss",
        ),
        (
            lambda *a, **k: fisher(*a, **k, kind="exact"),
            lambda m, x: m(x).mean(),
            "kind='exact'",
        ),
        (fisher, lambda m, x: m(x[0])[0] ** 2 + m(x).mean(), "one row a sample"),
    ],
)
def test_bad_input_says_what_is_expected(make: Any, loss: Any, message: Any) -> None:
    model, x = nn.Linear(2, 2), torch.ones(3, 2)
    if message is None:
        assert make(model, x, loss_fn=loss).shape == (6, 6)
        return
    with pytest.raises(CurvatureError, match=message):
        make(model, x, loss_fn=loss)
