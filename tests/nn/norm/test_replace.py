"""Norms are replaced by rule: weights and optimizer go on, groups divide."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from surefoot.nn.norm import (
    RULES,
    BatchRenorm2d,
    ChannelLayerNorm,
    MaskedBatchNorm1d,
    NormError,
    groups_for,
    replace_norm,
)


def convolutions(**of: object) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 12, 3),
        nn.BatchNorm2d(12, **of),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(12, 6, 3), nn.BatchNorm2d(6, **of)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 32),
        nn.BatchNorm1d(32, **of),
        nn.Linear(32, 2),
    )


@pytest.mark.parametrize("to", ["small_batch", "variable_length", "layer", "rms"])
def test_a_batch_of_one_trains_after_and_not_before(to: str) -> None:
    net, x = convolutions(), torch.randn(1, 3, 8, 8)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        net(x)
    replace_norm(net, to)
    out = net(x)
    assert torch.isfinite(out).all()
    out.sum().backward()
    grads = [weight.grad for weight in net.parameters()]
    assert all(grad is not None and torch.isfinite(grad).all() for grad in grads)


def test_each_rule_names_its_norm_and_all_is_told() -> None:
    expected = {
        "small_batch": ["GroupNorm(6, 12)", "GroupNorm(3, 6)", "GroupNorm(2, 32)"],
        "variable_length": ["ChannelLayerNorm"] * 3,
        "streaming": ["BatchRenorm2d", "BatchRenorm2d", "BatchRenorm1d"],
    }
    assert set(expected) == set(RULES)
    for trouble, after in expected.items():
        told = replace_norm(convolutions(), trouble)
        assert [one.name for one in told] == ["1", "3.1", "7"]
        assert [one.before for one in told] == ["BatchNorm2d"] * 2 + ["BatchNorm1d"]
        assert [one.after for one in told] == after


def test_weights_are_the_same_parameters_and_the_optimizer_goes_on() -> None:
    net = convolutions()
    optimizer = torch.optim.Adam(net.parameters())
    names = dict(net.named_parameters())
    net(torch.randn(4, 3, 8, 8)).sum().backward()
    optimizer.step()
    for to in ("group", "rms", "layer", "group"):
        assert len(replace_norm(net, to)) == 3
        assert {name: id(p) for name, p in net.named_parameters()} == {
            name: id(p) for name, p in names.items()
        }
    before = copy.deepcopy(optimizer.state[names["1.weight"]])
    optimizer.zero_grad()
    net(torch.randn(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    after = optimizer.state[names["1.weight"]]
    assert after["step"] == before["step"] + 1
    assert not torch.equal(after["exp_avg"], before["exp_avg"])


def test_the_way_back_keeps_weights_and_says_that_statistics_are_new() -> None:
    net = convolutions()
    net[1].weight.data.fill_(3.0)
    conv = nn.Sequential(*list(net)[:4])
    replace_norm(conv, "group")
    with pytest.raises(NormError, match="does not know the dimensions"):
        replace_norm(conv, "batch")
    assert isinstance(conv[1], nn.GroupNorm)
    told = replace_norm(conv, "batch", dimensions=2)
    assert all("recalibrate_bn" in one.note for one in told)
    assert isinstance(conv[1], nn.BatchNorm2d)
    assert (conv[1].weight == 3).all()
    assert torch.isfinite(conv(torch.randn(2, 3, 8, 8))).all()


def test_running_statistics_go_with_batch_renormalisation_and_back() -> None:
    net = convolutions().train()
    for _ in range(3):
        net(torch.randn(4, 3, 8, 8) + 2)
    x = torch.randn(4, 3, 8, 8)
    expected = net.eval()(x)
    told = replace_norm(net, "renorm")
    assert isinstance(net[1], BatchRenorm2d)
    assert not any(one.note for one in told)
    torch.testing.assert_close(net(x), expected)
    replace_norm(net, "batch")
    torch.testing.assert_close(net(x), expected)


def test_a_ramp_is_given_on_and_one_that_cannot_be_is_refused_before() -> None:
    net = convolutions()
    with pytest.raises(NormError, match=r"ramp=\(9, 5, 5\) came"):
        replace_norm(net, "streaming", ramp=(9, 5, 5))
    assert isinstance(net[1], nn.BatchNorm2d)
    replace_norm(net, "streaming", ramp=(1, 5, 5))
    assert net[1].ramp == (1, 5, 5)
    assert [m.ramp for m in net.modules() if hasattr(m, "ramp")] == [(1, 5, 5)] * 3


def test_modes_frozen_weights_and_norms_without_weights_stay_as_they_are() -> None:
    net = convolutions().eval()
    net[1].weight.requires_grad_(False)
    replace_norm(net, "layer")
    assert not any(module.training for module in net.modules())
    assert not net[1].weight.requires_grad
    bare = convolutions(affine=False)
    number = len(list(bare.parameters()))
    replace_norm(bare, "group")
    assert bare[1].weight is None
    assert len(list(bare.parameters())) == number
    assert torch.isfinite(bare(torch.randn(1, 3, 8, 8))).all()


def test_a_shared_norm_stays_shared() -> None:
    norm = nn.BatchNorm2d(4)
    net = nn.Sequential(norm, nn.ReLU(), norm)
    assert [one.name for one in replace_norm(net, "group")] == ["0", "2"]
    assert net[0] is net[2]


def test_what_has_other_inputs_stays() -> None:
    net = nn.Sequential(MaskedBatchNorm1d(4), nn.LayerNorm(4), ChannelLayerNorm(4))
    before = list(net)
    assert replace_norm(net, "layer") == ()
    assert all(one is other for one, other in zip(net, before, strict=True))


def test_a_replaced_model_can_be_saved_and_loaded() -> None:
    net, other = convolutions(), convolutions()
    replace_norm(net, "group")
    replace_norm(other, "group")
    other.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(other(x), net(x))


@given(st.integers(1, 600), st.booleans())
def test_groups_divide_and_hold_enough(channels: int, positions: bool) -> None:
    groups = groups_for(channels, positions=positions)
    assert channels % groups == 0
    assert groups == 1 or channels // groups >= (2 if positions else 16)
    assert groups <= 32


def test_what_cannot_be_is_refused_and_nothing_was_replaced() -> None:
    net = convolutions()
    before = list(net.modules())
    for to, of, told in (
        ("groups", {}, "expected a norm, batch, renorm"),
        ("group", {"groups": 4}, "4 groups came for 6 channels"),
        ("group", {"groups": 0}, "0 groups came"),
    ):
        with pytest.raises(NormError, match=told):
            replace_norm(net, to, **of)
        after = list(net.modules())
        assert all(one is other for one, other in zip(before, after, strict=True))
    with pytest.raises(NormError, match="itself a BatchNorm2d"):
        replace_norm(nn.BatchNorm2d(4), "group")
