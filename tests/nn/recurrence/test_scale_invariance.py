"""Weights whose scale changes nothing, and what weight decay is on them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from surefoot.nn.norm import (
    NormError,
    effective_learning_rate,
    scale_invariant_parameters,
)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


BATCH = (torch.randn(32, 6), torch.arange(32) % 3)
IMAGES = (torch.randn(16, 3, 8, 8), torch.arange(16) % 3)


def _dense() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 12),
        nn.BatchNorm1d(12),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(12, 8, bias=False),
        nn.LayerNorm(8),
        nn.Linear(8, 3),
    )


def _convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, bias=False), nn.GroupNorm(2, 8), nn.ReLU(),
        nn.Flatten(), nn.LazyLinear(3),
    )  # fmt: skip


def test_rows_before_a_batch_norm_and_matrices_before_a_layer_norm_are_found() -> None:
    found = scale_invariant_parameters(_dense(), BATCH, _loss)
    assert [(one.name, one.by_row) for one in found] == [
        ("0.weight", True),
        ("4.weight", False),
    ]


def test_filters_before_a_batch_norm_are_found() -> None:
    model = _convolutional()
    model(IMAGES[0])
    found = scale_invariant_parameters(model, IMAGES, _loss)
    assert [(one.name, one.by_row) for one in found] == [
        ("0.weight", True),
        ("3.weight", False),
    ]


def test_nothing_is_found_where_no_norm_follows() -> None:
    model = nn.Sequential(nn.Linear(6, 300), nn.ReLU(), nn.Linear(300, 3))
    assert scale_invariant_parameters(model, BATCH, _loss) == ()


def test_gradient_and_weight_are_orthogonal_and_gradients_shrink_with_scale() -> None:
    weight = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    x = torch.randn(32, 6, dtype=torch.float64)
    target = torch.randn(32, 5, dtype=torch.float64)

    def gradient(weight: Tensor) -> Tensor:
        raw = x @ weight.T  # an eps would end the invariance: batch norm without it
        normal = (raw - raw.mean(0)) / raw.std(0, correction=0)
        (found,) = torch.autograd.grad((normal - target).square().sum(), weight)
        return found

    first = gradient(weight)
    assert (weight * first).sum(1).abs().max() < 2e-13
    third = gradient((3 * weight.detach()).requires_grad_())
    torch.testing.assert_close(
        first / third, torch.full_like(first, 3.0), rtol=1e-9, atol=0
    )
    assert (first.norm() / third.norm()).item() == pytest.approx(3, rel=1e-13)


def test_the_model_is_afterwards_as_it_was_bit_for_bit() -> None:
    model = _dense().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    places = [weight.data_ptr() for weight in model.parameters()]
    stream = torch.get_rng_state()
    scale_invariant_parameters(model, BATCH, _loss)
    assert all(torch.equal(model.state_dict()[n], v) for n, v in before.items())
    assert [weight.data_ptr() for weight in model.parameters()] == places
    assert all(weight.grad is None for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), stream)
    assert not model.training


def test_decay_on_such_weights_is_told_to_be_control_of_the_rate() -> None:
    model = _dense()
    sgd = torch.optim.SGD(
        [
            {"params": model[0].parameters(), "weight_decay": 5e-4},
            {"params": model[4:].parameters()},
        ],
        lr=0.1,
    )
    first, second = scale_invariant_parameters(model, BATCH, _loss, optimizer=sgd)
    assert (
        "weight decay 0.0005 on 0.weight is control of its learning rate" in first.note
    )
    assert "not shrinkage" in first.note
    assert second.note == ""
    whole = model[4].weight.square().sum().item()
    assert second.effective_rate == pytest.approx(0.1 / whole, rel=1e-5)
    rows = effective_learning_rate(model[0].weight, 0.1, by_row=True)
    assert rows.shape == (12,)
    assert first.effective_rate == pytest.approx(
        (1 / (1 / rows).mean()).item(), rel=1e-5
    )


def test_a_direction_turns_at_the_effective_rate() -> None:
    """With the weights c times as long, c² times the rate makes the same turns."""
    turned = []
    for scale in (1.0, 4.0):
        torch.manual_seed(0)
        weight = (scale * torch.randn(5, 6, dtype=torch.float64)).requires_grad_()
        x = torch.randn(32, 6, dtype=torch.float64)
        target = torch.randn(32, 5, dtype=torch.float64)
        for _ in range(10):
            raw = x @ weight.T
            normal = (raw - raw.mean(0)) / raw.std(0, correction=0)
            loss = (normal - target).square().mean()
            (gradient,) = torch.autograd.grad(loss, weight)
            weight = (weight - 0.1 * scale**2 * gradient).detach().requires_grad_()
        turned.append(functional.normalize(weight.detach(), dim=1))
    torch.testing.assert_close(turned[1], turned[0], rtol=1e-9, atol=1e-9)


def test_what_is_no_loss_is_refused_and_the_model_left_alone() -> None:
    model = _dense()
    weight = model[0].weight.detach().clone()
    for broken in (
        lambda model, batch: model(batch[0]),
        lambda model, batch: torch.tensor(1.0),
        lambda model, batch: model(batch[0]).sum() * torch.nan,
    ):
        with pytest.raises(NormError, match="expected a finite scalar with gradients"):
            scale_invariant_parameters(model, BATCH, broken)
    assert torch.equal(model[0].weight, weight)
