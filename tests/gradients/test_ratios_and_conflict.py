"""Update ratios, task conflict, and what torch and others do themselves."""

from __future__ import annotations

import math

import pytest
import pytorch_optimizer
import torch
from torch import nn
from torch.nn import functional
from torchjd.aggregation import PCGrad

from surefoot.gradients import (
    UpdateRatios,
    dominant_layers,
    gradient_conflict,
    pairwise_cosines,
    task_gradients,
    update_ratio,
)

PULLS = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def backward(model: nn.Module) -> None:
    source = torch.Generator().manual_seed(0)
    inputs = torch.randn(8, 4, generator=source)
    functional.cross_entropy(model(inputs), torch.arange(8) % 2).backward()


# --- update ratios --------------------------------------------------------------


def test_sgd_at_0_1_with_the_weights_as_gradient_has_the_ratio_0_1() -> None:
    model = net()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    for weight in model.parameters():
        weight.grad = weight.detach().clone()
    with UpdateRatios(model, sgd) as ratios:
        sgd.step()
    assert set(ratios.by_name()) == {name for name, _ in model.named_parameters()}
    assert list(ratios.by_name().values()) == pytest.approx([0.1] * 4, rel=1e-6)


def test_with_adamw_it_is_the_measured_difference() -> None:
    model = net()
    adam = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    before = [weight.detach().clone() for weight in model.parameters()]
    with UpdateRatios(model, adam) as ratios:
        backward(model)
        adam.step()
    expected = [
        ((new.detach() - old).norm() / old.norm()).item()
        for new, old in zip(model.parameters(), before, strict=True)
    ]
    assert list(ratios.by_name().values()) == pytest.approx(expected, rel=1e-5)


def test_only_each_so_many_updates_are_measured_until_it_is_removed() -> None:
    model = net()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    ratios = UpdateRatios(model, sgd, every=2)
    backward(model)
    sgd.step()
    assert ratios.by_name() == {}
    sgd.step()
    measured = ratios.by_name()
    assert measured
    ratios.remove()
    sgd.param_groups[0]["lr"] = 5.0
    sgd.step()
    sgd.step()
    assert ratios.by_name() == measured


def test_a_layer_with_a_rate_a_hundred_times_larger_dominates() -> None:
    model = net()
    groups = [
        {"params": model[0].parameters(), "lr": 0.01},
        {"params": [model[2].weight], "lr": 1.0},
        {"params": [model[2].bias], "lr": 0.01},
    ]
    sgd = torch.optim.SGD(groups)
    for weight in model.parameters():
        weight.grad = weight.detach().clone()
    with UpdateRatios(model, sgd) as ratios:
        sgd.step()
    [found] = ratios.dominant()
    assert found.layer == "2.weight"
    assert found.times == pytest.approx(100, rel=1e-3)
    assert "2.weight dominates" in str(found)


def test_weights_of_zero_and_still_ones_dominate_nothing() -> None:
    still = update_ratio([torch.zeros(2), torch.ones(2)], [torch.ones(2)] * 2)
    assert still.tolist() == [math.inf, 0.0]
    assert not dominant_layers({"a": math.inf, "b": 0.0, "c": 1e-3, "d": 1e-3})
    assert not dominant_layers({"a": 1e-9, "b": 1.0})
    with pytest.raises(ValueError, match="factor above 1"):
        dominant_layers({}, times=1.0)
    with pytest.raises(ValueError, match="expected as many"):
        update_ratio([torch.ones(1)], [])
    sgd = torch.optim.SGD(net().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="0 parameters of Linear"):
        UpdateRatios(nn.Linear(2, 2), sgd)


# --- conflict -------------------------------------------------------------------


def test_two_opposed_pulls_have_a_cosine_of_minus_0_7071_and_conflict_1() -> None:
    found = gradient_conflict(PULLS)
    assert found.cosines[0, 1].item() == pytest.approx(-0.7071, abs=5e-5)
    assert found.rate.item() == 1.0
    assert found.coherence.item() == pytest.approx(-(0.5**0.5))
    assert found.worst == (0, 1)


def test_the_rate_counts_pairs_and_the_worst_pair_is_named() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.1], [0.0, 0.0]])
    found = gradient_conflict(rows)
    assert found.rate.item() == pytest.approx(1 / 6)
    assert found.worst == (0, 2)
    assert (found.cosines[3] == 0).all()


def test_cosines_have_the_gradients_of_differences_and_can_be_vectorised() -> None:
    source = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 3, 4, dtype=torch.float64, generator=source)
    each = torch.stack([pairwise_cosines(one) for one in rows])
    torch.testing.assert_close(torch.func.vmap(pairwise_cosines)(rows), each)

    def above(one: torch.Tensor) -> torch.Tensor:
        return pairwise_cosines(one).triu(1)  # 1 on the diagonal has no slope

    assert torch.autograd.gradcheck(above, (rows[0].requires_grad_(),))


def test_task_gradients_are_those_of_each_loss_and_leave_nothing() -> None:
    model = net()
    inputs = torch.ones(3, 4)
    output = model(inputs)
    losses = [output[:, 0].mean(), output[:, 1].mean()]
    found = task_gradients(losses, model.parameters())
    assert found.shape == (2, sum(one.numel() for one in model.parameters()))
    assert all(one.grad is None for one in model.parameters())
    sum(losses).backward()
    expected = torch.cat([one.grad.flatten() for one in model.parameters()])
    torch.testing.assert_close(found.sum(0), expected)
    assert found[0, -1] == found[1, -2] == 0


def test_a_penalty_on_conflict_can_be_trained() -> None:
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    losses = [(weight[0] * weight[1]), -(weight[0] ** 2) + weight[1]]
    rows = task_gradients(losses, [weight], create_graph=True)
    (-pairwise_cosines(rows)[0, 1]).backward()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"two tasks or more; task_gradients"):
        gradient_conflict(torch.ones(1, 3))
    with pytest.raises(ValueError, match="0 losses"):
        task_gradients([], [torch.ones(1)])


# --- torch's own and the optional packages --------------------------------------


def test_torchs_clips_by_norm_and_by_value() -> None:
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, -4.0])
    assert nn.utils.get_total_norm([weight.grad]).item() == 5.0
    assert nn.utils.clip_grad_norm_(weight, 1.0).item() == 5.0
    assert weight.grad.tolist() == pytest.approx([0.6, -0.8], rel=1e-5)
    nn.utils.clip_grad_value_(weight, 0.7)
    assert weight.grad.tolist() == pytest.approx([0.6, -0.7], rel=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda w: torch.optim.Adam(w, lr=0.01),
        lambda w: torch.optim.RAdam(w, lr=0.01),
        lambda w: torch.optim.Muon(w, lr=0.01),
        lambda w: pytorch_optimizer.Lamb(w, lr=0.01),
        lambda w: pytorch_optimizer.SPAM(w, lr=0.01),
    ],
    ids=["Adam", "RAdam", "Muon", "Lamb", "SPAM"],
)
def test_adaptive_optimizers_of_others_are_clipped_and_measured(make: object) -> None:
    from surefoot.gradients import ZScoreClip

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.Linear(8, 2, bias=False))
    optimizer = make(list(model.parameters()))  # pyright: ignore
    clip = ZScoreClip()
    clip.attach(optimizer)
    with UpdateRatios(model, optimizer) as ratios:
        first = None
        for _ in range(20):
            optimizer.zero_grad()
            backward(model)
            optimizer.step()
            first = first or ratios.by_name()
    assert clip.step == 20
    assert all(ratio > 0 for ratio in first.values())


def test_pcgrad_takes_each_pull_off_the_other() -> None:
    torch.testing.assert_close(PCGrad()(PULLS), torch.tensor([0.5, 1.5]))
    parts = [
        one - (one @ other) / (other @ other) * other
        for one, other in ((PULLS[0], PULLS[1]), (PULLS[1], PULLS[0]))
    ]
    assert parts[0].tolist() == pytest.approx([0.5, 0.5])
    assert parts[1].tolist() == pytest.approx([0.0, 1.0])
    assert gradient_conflict(torch.stack([PULLS[0], parts[1]])).rate.item() == 0.0
