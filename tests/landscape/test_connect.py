"""Two solutions, joined by a curve around what separates them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from surefoot.landscape.connect import Learning, connect
from surefoot.landscape.surface import surface


class Ring(nn.Module):
    """Two weights whose loss is least on a circle around the origin."""

    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([x, y], dtype=torch.float32))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return (self.weight.square().sum() - 1).square() * x.mean()


def ring(model: nn.Module, batch: Tensor) -> Tensor:
    return model(batch)


def test_a_curve_goes_around_a_hill() -> None:
    model, one, other = Ring(0.3, 0.1), Ring(1.0, 0.0), Ring(-0.8, 0.6)
    streams = torch.get_rng_state()
    found = connect(
        model, torch.ones(4), loss_fn=ring, ends=(one, other),
        learning=Learning(steps=400, lr=0.02),
    )  # fmt: skip
    assert found.barrier_straight > 0.8
    assert found.barrier < 0.1 * found.barrier_straight
    assert found.curve[0] == pytest.approx(0, abs=1e-6)
    assert found.curve[-1] == pytest.approx(0, abs=1e-6)
    assert found.curve.shape == found.straight.shape == found.places.shape
    assert torch.equal(model.weight, torch.tensor([0.3, 0.1]))
    assert (model.calls, model.weight.grad) == (0, None)
    assert torch.equal(torch.get_rng_state(), streams)


def test_the_curve_lies_on_the_plane_of_its_bend() -> None:
    found = connect(
        Ring(0, 0), torch.ones(4), loss_fn=ring, ends=(Ring(1, 0), Ring(-0.8, 0.6)),
        learning=Learning(steps=50, lr=0.05, points=5),
    )  # fmt: skip
    bend = found.bend["weight"]
    ends = torch.tensor([[1.0, 0.0], [-0.8, 0.6]])
    for t, at, loss in zip(found.places, found.plane.path, found.curve, strict=True):
        weight = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * bend + t**2 * ends[1]
        drawn = found.plane.centre[0] + sum(
            float(a) * way[0] for a, way in zip(at, found.plane.directions, strict=True)
        )
        torch.testing.assert_close(drawn, weight.float(), atol=1e-5, rtol=1e-5)
        expected = (float(weight.square().sum()) - 1) ** 2
        assert loss == pytest.approx(expected, abs=1e-5)
    drawn = surface(
        Ring(0, 0), torch.ones(4), loss_fn=ring, directions=found.plane, points=11
    )
    assert len(drawn.field().about["path"]) == 5
    assert [mark.label for mark in drawn.marks] == ["one end", "other end", "bend"]


def test_the_same_seed_learns_the_same_curve() -> None:
    def learnt(seed: int) -> Tensor:
        return connect(
            Ring(0, 0), torch.ones(4), loss_fn=ring, ends=(Ring(1, 0), Ring(-0.8, 0.6)),
            learning=Learning(steps=5, seed=seed),
        ).bend["weight"]  # fmt: skip

    assert torch.equal(learnt(0), learnt(0))
    assert not torch.equal(learnt(0), learnt(1))


def test_nets_are_joined_below_their_straight_line() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    y = (x[:, 0] * x[:, 1] > 0).long()

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    def trained(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 2))
        optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
        for _ in range(120):
            optimizer.zero_grad()
            loss(net, (x, y)).backward()
            optimizer.step()
        return net

    ends = trained(1), trained(2)
    before = [p.detach().clone() for p in ends[0].parameters()]
    found = connect(ends[0], (x, y), loss_fn=loss, ends=ends)
    assert found.barrier_straight > 0.2
    assert found.barrier < 0.5 * found.barrier_straight
    after = ends[0].parameters()
    assert all(torch.equal(p, q) for p, q in zip(after, before, strict=True))


def test_a_curve_has_two_different_ends() -> None:
    with pytest.raises(ValueError, match="two ends, not 1"):
        connect(Ring(0, 0), torch.ones(1), loss_fn=ring, ends=[Ring(0, 0)])
    with pytest.raises(ValueError, match="have the same weights"):
        connect(Ring(0, 0), torch.ones(1), loss_fn=ring, ends=[Ring(0, 1), Ring(0, 1)])
