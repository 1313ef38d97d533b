"""One layer begins anew; every other bit stays."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surefoot.nn.init import InitError, reinitialize


def trained(model: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        out = model(torch.randn(8, 4))
        (out[0] if isinstance(out, tuple) else out).square().mean().backward()
        optimizer.step()
    return optimizer


def moments(model: nn.Module, optimizer: Any) -> dict[str, dict[str, Tensor]]:
    return {
        name: {k: v.clone() for k, v in optimizer.state[p].items()}
        for name, p in model.named_parameters()
        if p in optimizer.state
    }


def test_all_other_tensors_and_moments_are_byte_equal() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 6), nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU()),
        nn.Linear(6, 2),
    )  # fmt: skip
    optimizer = trained(model)
    before, old = copy.deepcopy(model.state_dict()), moments(model, optimizer)
    names = reinitialize(model, "1", optimizer)
    assert names == ("1.0.weight", "1.0.bias", "1.1.weight", "1.1.bias")
    after, new = model.state_dict(), moments(model, optimizer)
    for name in before:
        assert torch.equal(before[name], after[name]) != name.startswith("1.")
    assert set(new) == set(old) - set(names)  # the layer's state is absent
    for name, kept in new.items():
        torch.testing.assert_close(kept, old[name], rtol=0, atol=0)
    assert not model[1][1].running_mean.any()
    assert all(p.grad is None for p in model[1].parameters())
    trained_on = dict(model.named_parameters())
    model(torch.randn(8, 4)).sum().backward()
    optimizer.step()
    assert optimizer.state[trained_on["1.0.weight"]]["step"] == 1
    assert optimizer.state[trained_on["0.weight"]]["step"] == 4


def test_the_layer_is_drawn_as_when_it_was_made() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 3))
    torch.manual_seed(5)
    fresh = nn.LSTM(4, 3)
    torch.manual_seed(5)
    reinitialize(model, "1")
    torch.testing.assert_close(model[1].state_dict(), fresh.state_dict())
    attention = nn.Sequential(nn.MultiheadAttention(4, 2))
    before = attention[0].in_proj_weight.detach().clone()
    assert len(reinitialize(attention, "0")) == 4
    assert not torch.equal(attention[0].in_proj_weight, before)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


class Half(Scaled):
    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(4))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.shift)


def shared() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)))
    model[1][0].weight = model[0].weight
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(4, 4), Scaled())),
         r"1\.1 \(Scaled\) has no reset_parameters"),
        (lambda: nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(4, 4), Half())),
         r"left 1\.1\.scale as it was"),
        (lambda: nn.Sequential(
            nn.ReLU(), nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))),
         r"1 \(ParametrizedLinear\) has a parametrisation"),
        (shared, r"1\.0\.weight is also 0\.weight"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU()), "'1' has no parameters"),
        (lambda: nn.Sequential(nn.Linear(4, 4)), "the name '1' came"),
    ],
)  # fmt: skip
def test_what_cannot_be_reset_raises_with_its_name_and_nothing_changes(
    make: Any, message: str
) -> None:
    torch.manual_seed(0)
    model = make()
    optimizer = trained(model)
    before, old = copy.deepcopy(model.state_dict()), moments(model, optimizer)
    with pytest.raises(InitError, match=message):
        reinitialize(model, "1", optimizer)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    torch.testing.assert_close(moments(model, optimizer), old, rtol=0, atol=0)
