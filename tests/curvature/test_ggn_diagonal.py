"""Exact diagonals of the Gauss-Newton matrix, against the matrix itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.ggn_diagonal import linear_ggn_diagonal
from surefoot.curvature.operators import ggn

Batch = tuple[Tensor, Tensor]


def entropy(model: nn.Module, batch: Batch) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


def squares(model: nn.Module, batch: Batch) -> Tensor:
    return (model(batch[0]) - functional.one_hot(batch[1], 3)).square().mean()


def net() -> nn.Sequential:
    generator = torch.Generator().manual_seed(0)
    layers = nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3, bias=False)
    ).double()
    with torch.no_grad():
        for weight in layers.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return layers.eval()


def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(7, 4, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(0, 3, (7,), generator=generator)


@pytest.mark.parametrize("loss", [entropy, squares])
def test_it_is_the_diagonal_of_the_matrix(
    loss: Callable[[nn.Module, Batch], Tensor],
) -> None:
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = linear_ggn_diagonal(model, batch(), loss_fn=loss)
    operator = ggn(model, batch(), loss_fn=loss)
    dense = operator @ torch.eye(operator.shape[0], dtype=torch.float64)
    assert set(found) == {"0.weight", "0.bias", "3.weight"}
    for name, value in found.items():
        true = dense.diagonal()[operator.space.slices[name]].view_as(value)
        torch.testing.assert_close(value, true, rtol=1e-9, atol=1e-12)
    assert all(torch.equal(model.state_dict()[k], v) for k, v in before.items())
    assert all(weight.grad is None for weight in model.parameters())


def test_what_it_does_not_cover_is_refused() -> None:
    with pytest.raises(CurvatureError, match="batch norm '1' is in train mode"):
        linear_ggn_diagonal(net().train(), batch(), loss_fn=entropy)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layer(self.layer(inputs))

    data = torch.ones(2, 3), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(CurvatureError, match="layer 'layer' returned"):
        linear_ggn_diagonal(Twice(), data, loss_fn=entropy)


def test_a_loss_that_is_not_convex_is_refused() -> None:
    def bump(model: nn.Module, batch: Batch) -> Tensor:
        return -model(batch[0]).square().mean()

    with pytest.raises(CurvatureError, match="curves downwards"):
        linear_ggn_diagonal(net(), batch(), loss_fn=bump)
    with pytest.raises(CurvatureError, match="linear in the model's outputs"):
        linear_ggn_diagonal(net(), batch(), loss_fn=lambda m, b: m(b[0]).mean())
