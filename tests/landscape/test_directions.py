"""Directions: their norms, their angle, and what moves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from surefoot.landscape import weights
from surefoot.landscape.directions import Slice, random_directions, slice_of


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 5, 3),
        nn.BatchNorm2d(5),
        nn.ConvTranspose2d(5, 3, 2),
        nn.Flatten(),
        nn.Linear(48, 7),
        nn.Embedding(4, 6),
    )


def by_name(plane: Slice, direction: int = 0) -> dict[str, torch.Tensor]:
    return dict(zip(plane.names, plane.directions[direction], strict=True))


def test_each_filter_has_the_norm_of_the_models_filter(net: nn.Sequential) -> None:
    model = net.double()
    plane = random_directions(model, seed=1)
    for direction in (0, 1):
        for name, part in by_name(plane, direction).items():
            weight = dict(model.named_parameters())[name].detach()
            if weight.dim() < 2:
                assert not part.any(), name
                continue
            axis = 1 if name == "2.weight" else 0
            own = part.movedim(axis, 0).flatten(1).norm(dim=1)
            theirs = weight.movedim(axis, 0).flatten(1).norm(dim=1)
            torch.testing.assert_close(own, theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize("seed", range(5))
def test_two_directions_are_orthogonal(net: nn.Sequential, seed: int) -> None:
    plane = random_directions(net, seed=seed)
    one, other = plane.directions
    cosine = weights.dot(one, other) / (weights.norm(one) * weights.norm(other))
    assert abs(cosine) < 1e-6
    assert plane.cosine == pytest.approx(cosine)


def test_filters_of_one_element_are_told_of() -> None:
    torch.manual_seed(0)
    plane = random_directions(nn.Linear(1, 3, bias=False))
    assert abs(plane.cosine) > 0.01


def test_the_seed_decides_and_global_streams_do_not(net: nn.Sequential) -> None:
    before = torch.get_rng_state()
    one, same = random_directions(net, seed=1), random_directions(net, seed=1)
    other = random_directions(net, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(by_name(one)["0.weight"], by_name(same)["0.weight"])
    assert not torch.equal(by_name(one)["0.weight"], by_name(other)["0.weight"])


def test_biases_move_when_asked(net: nn.Sequential) -> None:
    with torch.no_grad():
        net[1].bias.zero_()
    parts = by_name(random_directions(net, vectors="scaled"))
    torch.testing.assert_close(parts["0.bias"].norm(), net[0].bias.norm())
    assert not parts["1.bias"].any()  # its norm is zero


def test_layers_and_units_are_other_scales(net: nn.Sequential) -> None:
    parts = by_name(random_directions(net, normalise="layer"))
    torch.testing.assert_close(parts["4.weight"].norm(), net[4].weight.norm())
    whole = random_directions(net, normalise="unit").directions[0]
    assert weights.norm(whole) == pytest.approx(1, rel=1e-6)
    with pytest.raises(ValueError, match="not 'none'"):
        random_directions(net, normalise="none")  # type: ignore


def test_only_named_layers_move(net: nn.Sequential) -> None:
    parts = by_name(random_directions(net, where=["4"]))
    assert [name for name, part in parts.items() if part.any()] == ["4.weight"]
    with pytest.raises(ValueError, match=r"no weight and no module .* 'layer9'"):
        random_directions(net, where=["layer9"])
    with pytest.raises(ValueError, match="vectors='scaled'"):
        random_directions(net, where=["1"])


def test_tied_weights_move_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert len(random_directions(model).names) == 3


def test_a_slice_goes_around_another_model_of_the_kind(net: nn.Sequential) -> None:
    plane = random_directions(nn.Linear(3, 2))
    other = nn.Linear(3, 2)
    moved = plane.around(other)
    assert torch.equal(moved.centre[0], other.weight)
    assert moved.directions is plane.directions
    with pytest.raises(ValueError, match="belongs to another model"):
        plane.around(nn.Linear(4, 2))


def test_own_directions_must_fit() -> None:
    model = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="one tensor a weight: 2, not 1"):
        slice_of(model, [(torch.zeros(2, 3),)])
    with pytest.raises(ValueError, match="one or two directions, not 0"):
        slice_of(model, [])
