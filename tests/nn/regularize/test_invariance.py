"""How much outputs move with inputs: consistency, the worst direction, the Jacobian."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from surefoot.nn.regularize import (
    RegularizeError,
    adversarial_direction,
    consistency_penalty,
    jacobian_penalty,
    jacobian_penalty_estimate,
    virtual_adversarial_penalty,
)


def test_the_jacobian_penalty_of_a_linear_map_is_its_length() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(20, 10, dtype=torch.float64)
    x = torch.randn(4, 20, dtype=torch.float64)
    expected = layer.weight.detach().square().sum()
    torch.testing.assert_close(jacobian_penalty(layer, x).detach(), expected)
    stream = torch.Generator().manual_seed(0)
    found = jacobian_penalty_estimate(layer, x[:1], probes=1_000, generator=stream)
    assert found.item() == pytest.approx(expected.item(), rel=0.02)


def test_the_estimate_has_no_bias_on_a_bent_net() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    x = torch.randn(16, 5, dtype=torch.float64)
    exact = jacobian_penalty(net, x).item()
    stream = torch.Generator().manual_seed(1)
    found = jacobian_penalty_estimate(net, x, probes=400, generator=stream).item()
    assert found == pytest.approx(exact, rel=0.03)


def test_its_gradient_is_that_of_the_squared_weights() -> None:
    layer = nn.Linear(3, 2, bias=False, dtype=torch.float64)
    jacobian_penalty(layer, torch.randn(5, 3, dtype=torch.float64)).backward()
    torch.testing.assert_close(layer.weight.grad, 2 * layer.weight.detach())


def test_penalties_have_exact_gradients() -> None:
    w = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    x = torch.randn(2, 4, dtype=torch.float64)

    def exact(w: torch.Tensor) -> torch.Tensor:
        return jacobian_penalty(lambda x: torch.tanh(x @ w.T), x)

    def estimated(w: torch.Tensor) -> torch.Tensor:
        stream = torch.Generator().manual_seed(0)
        model = lambda x: torch.tanh(x @ w.T)  # noqa: E731
        return jacobian_penalty_estimate(model, x, probes=2, generator=stream)

    def between(w: torch.Tensor) -> torch.Tensor:
        return consistency_penalty(x @ w.T, x @ w.detach().T + 1.0 * torch.eye(2, 3))

    assert torch.autograd.gradcheck(exact, (w,))
    assert torch.autograd.gradcheck(estimated, (w,))
    assert torch.autograd.gradcheck(
        lambda s: consistency_penalty(s, torch.ones_like(s).cumsum(1)), (w,)
    )
    assert torch.autograd.gradcheck(
        lambda s: consistency_penalty(s, torch.ones_like(s).cumsum(1), kind="squares"),
        (w,),
    )
    assert between(w).item() > 0


def test_consistency_is_the_divergence_and_pulls_one_side_only() -> None:
    scores = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    reference = torch.tensor([[0.0, 1.0], [0.0, 2.0]], requires_grad=True)
    found = consistency_penalty(scores, reference)
    p, q = reference.softmax(-1), scores.softmax(-1)
    torch.testing.assert_close(found, (p * (p / q).log()).sum(-1).mean())
    found.backward()
    assert reference.grad is None
    torch.testing.assert_close(scores.grad, (q - p).detach() / 2)


def test_the_direction_is_the_one_of_most_change() -> None:
    """Of a linear map: the top eigenvector of WᵀFW, F the Fisher of the softmax."""
    torch.manual_seed(0)
    layer = nn.Linear(6, 4, dtype=torch.float64)
    x = torch.randn(3, 6, dtype=torch.float64)
    found = adversarial_direction(layer, x, rounds=60, probe=1e-4)
    for row in range(3):
        p = layer(x[row]).softmax(-1).detach()
        fisher = torch.diag(p) - torch.outer(p, p)
        vectors = torch.linalg.eigh(layer.weight.T @ fisher @ layer.weight)[1].detach()
        assert abs(float(found[row] @ vectors[:, -1])) == pytest.approx(1, abs=1e-4)


def test_the_worst_direction_moves_more_than_random_ones() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 5))
    x = torch.randn(40, 30)
    worst = virtual_adversarial_penalty(net, x, distance=0.5, rounds=2).item()
    reference = net(x)
    random = []
    for _ in range(20):
        way = nn.functional.normalize(torch.randn(40, 30), dim=1)
        random.append(consistency_penalty(net(x + 0.5 * way), reference).item())
    assert worst > 3 * max(random)


def test_training_on_it_flattens_the_prediction() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    x = torch.randn(64, 4)
    sgd = torch.optim.SGD(net.parameters(), lr=0.5)
    held = []
    for _ in range(30):
        loss = virtual_adversarial_penalty(net, x)
        held.append(loss.item())
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    assert held[-1] < 0.5 * held[0]
    assert net[0].weight.grad is not None


def test_inputs_that_have_a_graph_keep_it() -> None:
    first, last = nn.Linear(3, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 2))
    jacobian_penalty(last, first(torch.randn(4, 3))).backward()
    assert first.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: consistency_penalty(torch.ones(2, 3), torch.ones(2, 2)),
        lambda: consistency_penalty(torch.ones(2, 3), torch.ones(2, 3), kind="max"),  # type: ignore[arg-type]
        lambda: adversarial_direction(nn.Identity(), torch.ones(2, 3), rounds=0),
        lambda: virtual_adversarial_penalty(
            nn.Identity(), torch.ones(2, 3), distance=0
        ),
        lambda: jacobian_penalty(lambda x: torch.ones(2, 2), torch.ones(2, 3)),
        lambda: jacobian_penalty_estimate(nn.Identity(), torch.ones(2, 3), probes=0),
    ],
)
def test_what_does_not_fit_is_refused(call) -> None:
    with pytest.raises(RegularizeError, match="expected"):
        call()
