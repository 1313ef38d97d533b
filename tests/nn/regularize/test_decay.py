"""Which parameters decay, and how much at which depth."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from surefoot.nn.regularize import (
    RegularizeError,
    decay_groups,
    depth_decay_groups,
    depth_penalty,
    geometric_profile,
)


class Tied(nn.Module):
    """An embedding that is also the head, and a norm with a gain of two dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.norm = nn.LayerNorm((3, 4))
        self.inner = nn.Linear(4, 4)
        self.head = nn.Linear(4, 5)
        self.head.weight = self.embed.weight


def test_every_parameter_is_in_exactly_one_group_and_tied_weights_once() -> None:
    model = Tied()
    groups = decay_groups(model, weight_decay=0.1)
    held = [id(w) for group in groups for w in group["params"]]
    assert sorted(held) == sorted(id(w) for w in model.parameters())
    assert len(held) == len(set(held))
    assert groups[0]["names"] == ["embed.weight", "inner.weight"]
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    torch.optim.AdamW(groups, lr=0.1)


def test_a_tied_weight_is_spared_if_it_would_be_by_one_of_its_names() -> None:
    groups = decay_groups(
        Tied(), weight_decay=0.1, decays=lambda name, _: name != "head.weight"
    )
    spared = groups[1]["names"]
    assert spared == ["embed.weight"]


def test_gains_of_any_shape_and_embeddings_can_be_spared() -> None:
    groups = decay_groups(Tied(), weight_decay=0.1, embeddings=False)
    assert groups[0]["names"] == ["inner.weight"]
    assert "norm.weight" in groups[1]["names"]


def test_frozen_parameters_are_listed() -> None:
    model = nn.Linear(2, 2).requires_grad_(False)
    groups = decay_groups(model, weight_decay=0.1)
    assert [group["names"] for group in groups] == [["weight"], ["bias"]]


def test_weight_decay_of_torch_is_decoupled() -> None:
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    adamw = torch.optim.AdamW([weight], lr=0.01, weight_decay=0.1)
    for _ in range(100):
        weight.grad = torch.zeros_like(weight)
        adamw.step()
    assert weight.item() == pytest.approx(0.904792, abs=1e-6)
    assert weight.item() == pytest.approx((1 - 1e-3) ** 100, rel=1e-12)


def test_the_penalty_of_torch_is_in_the_gradient() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    sgd = torch.optim.SGD([weight], lr=0.5, weight_decay=0.1)
    weight.grad = torch.tensor([1.0])
    sgd.step()
    assert weight.item() == pytest.approx(2.0 - 0.5 * (1.0 + 0.1 * 2.0))


def test_a_profile_decays_in_exactly_its_ratios_at_zero_gradient() -> None:
    layers = [nn.Linear(3, 3, dtype=torch.float64) for _ in range(3)]
    model = nn.Sequential(*layers)
    for layer in layers:
        nn.init.ones_(layer.weight)
    groups = depth_decay_groups(
        model, layers, weight_decay=0.125, profile=geometric_profile(3, first=4, last=1)
    )
    adamw = torch.optim.AdamW(groups, lr=0.0625)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    adamw.step()
    lost = [1 - layer.weight.detach() for layer in layers]
    assert torch.equal(lost[0], 4 * lost[2])
    assert torch.equal(lost[1], 2 * lost[2])
    assert bool((lost[2] > 0).all())


def test_depth_groups_hold_all_parameters_once_and_the_rest_at_the_plain_rate() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    groups = depth_decay_groups(
        model, [model[0], model[1]], weight_decay=1.0, profile=[0.5, 0.25]
    )
    held = [id(w) for group in groups for w in group["params"]]
    assert sorted(held) == sorted(id(w) for w in model.parameters())
    by_name = {n: g["weight_decay"] for g in groups for n in g["names"]}
    assert by_name["0.weight"] == 0.5
    assert by_name["1.weight"] == 0.25
    assert by_name["2.weight"] == by_name["3.weight"] == 1.0
    assert by_name["0.bias"] == 0.0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 8), min_size=1, max_size=4), st.floats(0.1, 3))
def test_the_penalty_pulls_by_its_factor_times_the_weight(
    profile: list[float], strength: float
) -> None:
    layers = [nn.Linear(2, 2, dtype=torch.float64) for _ in profile]
    depth_penalty(layers, profile, strength=strength).backward()
    for layer, factor in zip(layers, profile, strict=True):
        expected = strength * factor * layer.weight.detach()
        torch.testing.assert_close(layer.weight.grad, expected)
        assert layer.bias.grad is None


def test_the_penalty_of_power_one_pulls_by_sign() -> None:
    layer = nn.Linear(3, 2)
    depth_penalty([layer], [2.0], power=1.0).backward()
    assert torch.equal(layer.weight.grad, 2 * layer.weight.detach().sign())


@pytest.mark.parametrize(
    ("profile", "said"), [([1.0], "one factor"), ([1.0, -1.0], "0 or more")]
)
def test_a_profile_that_does_not_fit_is_refused(
    profile: list[float], said: str
) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(RegularizeError, match=said):
        depth_decay_groups(model, list(model), weight_decay=0.1, profile=profile)
    with pytest.raises(RegularizeError, match=said):
        depth_penalty(list(model), profile)


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(RegularizeError, match="no parameters"):
        decay_groups(nn.ReLU(), weight_decay=0.1)
    with pytest.raises(RegularizeError, match="0 or more"):
        decay_groups(nn.Linear(1, 1), weight_decay=-0.1)
    with pytest.raises(RegularizeError, match="not the model's"):
        depth_decay_groups(
            nn.Linear(1, 1), [nn.Linear(1, 1)], weight_decay=0.1, profile=[1.0]
        )
    with pytest.raises(RegularizeError, match="no weights"):
        depth_penalty([nn.BatchNorm1d(3)], [1.0])
    with pytest.raises(RegularizeError, match="above 0"):
        geometric_profile(3, first=0.0, last=1.0)
