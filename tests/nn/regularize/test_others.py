"""What torch and other packages have already does what its names say."""

from __future__ import annotations

import pytest
import torch
from pytorch_optimizer import SAM
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn


def test_dropout_is_scaled_while_training_and_off_in_evaluation() -> None:
    torch.manual_seed(0)
    x = torch.ones(100_000)
    for p in (0.2, 0.5):
        found = nn.Dropout(p)(x)
        assert found.unique().tolist() == [0.0, pytest.approx(1 / (1 - p))]
        assert found.mean().item() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(nn.Dropout(0.5).eval()(x), x)


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    torch.manual_seed(0)
    x = torch.randn(400_000)
    found = nn.AlphaDropout(0.3)(x)
    assert found.mean().item() == pytest.approx(0.0, abs=0.01)
    assert found.var().item() == pytest.approx(1.0, abs=0.01)
    assert nn.Dropout(0.3)(x).var().item() == pytest.approx(1 / 0.7, abs=0.02)


def test_sam_climbs_by_rho_along_the_gradient() -> None:
    curvatures = torch.tensor([4.0, 1.0])
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    sam = SAM([weight], base_optimizer=torch.optim.SGD, rho=0.05, lr=0.1)
    start = weight.detach().clone()
    ((curvatures * weight.square()).sum() / 2).backward()
    slope = weight.grad.clone()
    sam.first_step(zero_grad=True)
    expected = start + 0.05 * slope / slope.norm()
    torch.testing.assert_close(weight.detach(), expected)
    ((curvatures * weight.square()).sum() / 2).backward()
    climbed = weight.grad.clone()
    sam.second_step()
    torch.testing.assert_close(weight.detach(), start - 0.1 * climbed)


def test_averaged_models_hold_the_mean_of_what_they_were_given() -> None:
    model = nn.Linear(1, 1, bias=False)
    plain = AveragedModel(model)
    fading = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    for value in (1.0, 2.0, 6.0):
        nn.init.constant_(model.weight, value)
        plain.update_parameters(model)
        fading.update_parameters(model)
    assert plain.module.weight.item() == pytest.approx(3.0)
    assert fading.module.weight.item() == pytest.approx((1 + 2) / 2 / 2 + 6 / 2)


def test_the_rate_of_weight_averaging_ends_where_it_is_told() -> None:
    sgd = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    rates = SWALR(sgd, swa_lr=0.02, anneal_epochs=4, anneal_strategy="linear")
    for _ in range(5):
        sgd.step()
        rates.step()
    assert rates.get_last_lr() == [pytest.approx(0.02)]


def test_mixup_is_linear_in_inputs_and_in_the_loss() -> None:
    """Mixing labels is the same as mixing their losses, as cross-entropy is linear."""
    torch.manual_seed(0)
    share, scores = 0.3, torch.randn(8, 4)
    one, other = torch.randint(4, (8,)), torch.randint(4, (8,))
    mixed = share * nn.functional.one_hot(one, 4) + (1 - share) * (
        nn.functional.one_hot(other, 4)
    )
    whole = nn.functional.cross_entropy(scores, mixed)
    parts = share * nn.functional.cross_entropy(scores, one) + (
        1 - share
    ) * nn.functional.cross_entropy(scores, other)
    torch.testing.assert_close(whole, parts)
