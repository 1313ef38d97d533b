"""Slices through checkpoints: lines, planes, and the path of a training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from surefoot.landscape import weights
from surefoot.landscape.path import through, trajectory
from surefoot.landscape.surface import line, surface


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def state(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {name: value.clone() for name, value in net().state_dict().items()}


def squared(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).square().mean()


def vector(state: dict[str, Tensor]) -> Tensor:
    model = net()
    model.load_state_dict(state)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_line_through_two_checkpoints_has_their_losses_at_its_ends() -> None:
    a, b = state(0), state(1)
    x = torch.randn(16, 5, generator=torch.Generator().manual_seed(2))
    model = net()
    cut = line(model, x, loss_fn=squared, directions=through(model, [a, b]), points=7)
    assert cut.alphas[0] == pytest.approx(-0.25)
    for at, place in ((a, 0.0), (b, 1.0)):
        other = net()
        other.load_state_dict(at)
        expected = squared(other, x).item()
        near = int(np.argmin(np.abs(cut.alphas - place)))
        assert cut.alphas[near] == pytest.approx(place)
        assert cut.losses[near] == pytest.approx(expected, rel=1e-5)
    assert [(m.at, m.label) for m in cut.marks] == [
        ((0.0,), "checkpoint 1"), ((1.0,), "checkpoint 2")
    ]  # fmt: skip


def test_a_plane_through_three_checkpoints_holds_them() -> None:
    states = [state(seed) for seed in range(3)]
    plane = through(net(), states, labels=("start", "small rate", "large rate"))
    one, other = plane.directions
    assert abs(weights.dot(one, other)) < 1e-6 * weights.dot(one, one)
    assert weights.norm(one) == pytest.approx(weights.norm(other), rel=1e-6)
    for mark, expected in zip(plane.marks, states, strict=True):
        place = [
            c + mark.at[0] * a + mark.at[1] * b
            for c, a, b in zip(plane.centre, one, other, strict=True)
        ]
        flat = torch.cat([part.flatten() for part in place])
        torch.testing.assert_close(flat, vector(expected), rtol=1e-5, atol=1e-6)
    assert plane.marks[1].label == "small rate"
    low, high = zip(*plane.reach, strict=True)
    for mark in plane.marks:
        assert all(a < x < b for a, x, b in zip(low, mark.at, high, strict=True))


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (lambda a, b: [a], "takes two checkpoints and a plane three, not 1"),
        (lambda a, b: [a, a], "have the same weights"),
        (lambda a, b: [a, b, a], "lie on a line"),
        (lambda a, b: [a, {}], r"no value for the weight 0\.weight"),
        (
            lambda a, b: [a, b | {"2.weight": torch.zeros(2, 5)}],
            r"shape \(2, 4\) in the model and \(2, 5\)",
        ),
        (
            lambda a, b: [a, b | {"2.weight": torch.full((2, 4), np.nan)}],
            r"checkpoint 2 of 2 holds NaN or infinities in 2\.weight",
        ),
    ],
)
def test_checkpoints_that_make_no_slice_are_refused(states, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        through(net(), states(state(0), state(1)))


def test_a_model_that_diverged_still_tells_of_its_checkpoints() -> None:
    model = net()
    with torch.no_grad():
        model[0].weight.fill_(np.nan)
    before = model[0].weight.detach().numpy().tobytes()
    plane = through(model, [state(0), state(1), state(2)])
    drawn = surface(
        model, torch.ones(4, 5), loss_fn=squared, directions=plane, points=3
    )
    assert np.isfinite(drawn.losses).all()
    assert model[0].weight.detach().numpy().tobytes() == before


def test_names_of_wrapped_models_are_understood() -> None:
    wrapped = {f"_orig_mod.module.{n}": value for n, value in state(1).items()}
    plain, other = (through(net(), [state(0), s]) for s in (state(1), wrapped))
    for a, b in zip(plain.directions[0], other.directions[0], strict=True):
        assert torch.equal(a, b)


def planar_path(noise: float = 0.0) -> tuple[list[dict[str, Tensor]], np.ndarray]:
    """Checkpoints on a spiral in a random plane, and their distances."""
    generator = torch.Generator().manual_seed(0)
    origin = state(0)
    names = [name for name, _ in net().named_parameters()]
    ways = [
        {n: torch.randn(origin[n].shape, generator=generator) for n in names}
        for _ in range(2)
    ]
    found = []
    for t in np.linspace(0, 4, 12):
        x, y = np.cos(t) * (5 - t), np.sin(t) * (5 - t)
        found.append(
            origin
            | {
                n: origin[n] + float(x) * ways[0][n] + float(y) * ways[1][n]
                + noise * torch.randn(origin[n].shape, generator=generator)
                for n in names
            }
        )  # fmt: skip
    flat = torch.stack([vector(one) for one in found]).double()
    return found, torch.cdist(flat, flat).numpy()


def test_a_planar_path_is_explained_whole() -> None:
    states, apart = planar_path()
    plane = trajectory(net(), states)
    assert sum(plane.explained) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(plane.path[-1], 0, atol=1e-9)
    drawn = np.linalg.norm(plane.path[:, None] - plane.path[None], axis=-1)
    np.testing.assert_allclose(drawn, apart, rtol=1e-4, atol=1e-4)
    for direction in plane.directions:
        assert weights.norm(direction) == pytest.approx(1, rel=1e-5)
    low, high = (np.array(one) for one in zip(*plane.reach, strict=True))
    assert ((plane.path > low) & (plane.path < high)).all()


def test_a_path_with_noise_is_explained_in_part() -> None:
    states, _ = planar_path(noise=1.0)
    exact = torch.stack([vector(one) for one in states]).double()
    values = torch.linalg.svdvals(exact - exact.mean(0)) ** 2
    expected = (values / values.sum())[:2].tolist()
    plane = trajectory(net(), states)
    assert plane.explained == pytest.approx(expected, rel=1e-4)
    assert sum(plane.explained) < 0.99


def test_the_path_lies_on_the_surface() -> None:
    states, _ = planar_path()
    model = net().eval()
    model.load_state_dict(states[0])
    x = torch.randn(16, 5, generator=torch.Generator().manual_seed(2))
    drawn = surface(
        model, x, loss_fn=squared, directions=trajectory(model, states), points=7
    )
    field = drawn.field()
    assert len(field.about["path"]) == len(states)
    assert sum(field.about["explained"]) == pytest.approx(1, abs=1e-6)
    last = net().eval()
    last.load_state_dict(states[-1])
    assert drawn.loss_at_centre == pytest.approx(squared(last, x).item(), rel=1e-4)


def test_a_path_needs_checkpoints_that_spread() -> None:
    with pytest.raises(ValueError, match="3 checkpoints or more, not 2"):
        trajectory(net(), [state(0), state(1)])
    with pytest.raises(ValueError, match="do not spread in 2 dimensions"):
        trajectory(net(), [state(0), state(1), state(0)])
    assert trajectory(net(), [state(0), state(1)], dimensions=1).dimensions == 1
