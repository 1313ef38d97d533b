"""Surfaces of which a part is evaluated: their true error, and the one they state."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from surefoot.landscape import adaptive
from surefoot.landscape.adaptive import Refined, refined
from surefoot.landscape.scattered import interpolations
from surefoot.landscape.surface import Options, surface

GRID = 21
A, B = np.meshgrid(*(np.linspace(-1, 1, GRID),) * 2, indexing="ij")


def rugged() -> np.ndarray:
    waves = 10 * np.cos(3 * np.pi * A) + 10 * np.cos(3 * np.pi * B)
    return 20 + 9 * A**2 + 9 * B**2 - waves


SHAPES: dict[str, np.ndarray] = {
    "bowl": 10 * A**2 + B**2 + 0.1,
    "rosenbrock": (1 - 2 * A) ** 2 + 100 * (1.5 * B + 0.5 - 4 * A**2) ** 2 + 0.01,
    "rugged": rugged(),
    "cliff": np.where(A + 0.3 * B > 0.23, 5.0, 0.5) + A**2,
    "round cliff": np.where(A**2 + B**2 > 0.4, 8.0, 0.2) + 0.1 * B,
    "ridge": 1 + 3 * np.exp(-(((A - B) / 0.12) ** 2)),
    "kinks": np.abs(A) + 2 * np.abs(B - 0.3 * A) + 0.01,
    "valley": np.log1p(1000 * (A - 0.4 * B) ** 2) + 0.1 * B**2 + 0.1,
    "wall": 0.1 + np.exp(8 * (A**2 + B**2)),
    "below zero": A * B - 3,
}
SMOOTH = ("bowl", "rosenbrock", "wall", "below zero")
ROUNDING = 1e-6


class Asked:
    """A grid of known losses that counts what is asked of it."""

    def __init__(self, truth: np.ndarray) -> None:
        self.truth, self.asked = truth, []

    def __call__(self, indices: Sequence[tuple[int, ...]]) -> np.ndarray:
        self.asked += list(indices)
        return np.array([self.truth[index] for index in indices])


def true_errors(truth: np.ndarray, drawn: Refined) -> np.ndarray:
    """Errors of the interpolated points, as shares of the range."""
    span = np.ptp(truth[np.isfinite(truth)])
    open_ = ~drawn.evaluated
    return np.abs(drawn.losses[open_] - truth[open_]) / span


def check_honest(truth: np.ndarray, drawn: Refined) -> None:
    errors = true_errors(truth, drawn)
    assert np.quantile(errors, 0.95) <= drawn.error["p95"] + ROUNDING
    assert np.median(errors) <= drawn.error["median"] + ROUNDING


@pytest.mark.parametrize("name", SHAPES)
def test_the_stated_error_covers_the_true_one(name: str) -> None:
    asked = Asked(SHAPES[name])
    drawn = refined(asked, (GRID, GRID))
    check_honest(SHAPES[name], drawn)
    assert len(asked.asked) == len(set(asked.asked)) == drawn.evaluated.sum()
    assert drawn.evaluated.sum() <= 0.25 * GRID**2
    exact = drawn.evaluated
    np.testing.assert_array_equal(drawn.losses[exact], SHAPES[name][exact])


def random_surface(kind: int, rng: np.random.Generator) -> np.ndarray:
    """A bowl with bumps, walls, cliffs or kinks; or waves alone."""
    fineness = rng.integers(2, 7)
    waves = np.zeros_like(A)
    for _ in range(40):
        ways = rng.normal(size=2) * fineness
        phase = ways[0] * A + ways[1] * B + rng.uniform(0, 6.28)
        waves += np.cos(phase) * rng.normal() / 8
    c, h, w = rng.normal(size=2) * 0.4, rng.uniform(0.5, 8, 2), rng.normal(size=2)
    bowl = h[0] * (A - c[0]) ** 2 + h[1] * (B - c[1]) ** 2
    height, at = rng.uniform(1, 10), rng.uniform(0.1, 1)
    return [
        bowl + 0.1 + rng.uniform(0, 0.5) * (waves - waves.min()),
        np.exp(rng.uniform(0.5, 2) * waves + bowl / 3),
        waves,
        bowl + height * (w[0] * A + w[1] * B > at - 0.5) + 0.1,
        bowl + height * ((A - c[1]) ** 2 + (B - c[0]) ** 2 > at) + 0.2,
        np.maximum(bowl, height * np.abs(A * w[0] + B * w[1])) + np.abs(waves) + 0.05,
    ][kind]


def test_the_stated_error_covers_the_true_one_on_random_surfaces() -> None:
    rng = np.random.default_rng(0)
    covered: list[tuple[bool, bool]] = []
    for count in range(60):
        truth = random_surface(count % 6, rng)
        drawn = refined(Asked(truth), (GRID, GRID), first=[(10, 10)])
        errors = true_errors(truth, drawn)
        covered.append(
            (
                bool(np.median(errors) <= drawn.error["median"] + ROUNDING),
                bool(np.quantile(errors, 0.95) <= drawn.error["p95"] + ROUNDING),
            )
        )
    assert min(np.mean(covered, axis=0)) >= 0.95


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_surfaces_meet_the_target(name: str) -> None:
    drawn = refined(Asked(SHAPES[name]), (GRID, GRID))
    errors = true_errors(SHAPES[name], drawn)
    assert np.median(errors) <= adaptive.MEDIAN
    assert np.quantile(errors, 0.95) <= adaptive.P95


def test_points_are_spent_where_the_surface_bends() -> None:
    drawn = refined(Asked(SHAPES["cliff"]), (GRID, GRID))
    near, far = np.abs(A + 0.3 * B - 0.23) < 0.2, np.abs(A + 0.3 * B - 0.23) > 0.5
    assert drawn.evaluated[near].mean() > 1.5 * drawn.evaluated[far].mean()


def test_a_bowl_costs_hardly_more_than_its_coarse_grid() -> None:
    drawn = refined(Asked(SHAPES["bowl"]), (GRID, GRID))
    assert drawn.evaluated.sum() <= adaptive.COARSE**2 + 9


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nothing_is_interpolated_where_losses_are_not_finite(bad: float) -> None:
    truth = np.where((A - 1) ** 2 + (B - 1) ** 2 < 0.7, bad, 1 + A**2 + B**2)
    drawn = refined(Asked(truth), (GRID, GRID))
    assert drawn.evaluated[~np.isfinite(truth)].all()
    np.testing.assert_array_equal(np.isfinite(drawn.losses), np.isfinite(truth))
    assert not np.isfinite(drawn.losses[~np.isfinite(truth)]).any()
    check_honest(truth, drawn)


def test_a_surface_without_finite_losses_is_evaluated_whole() -> None:
    drawn = refined(Asked(np.full((9, 9), np.nan)), (9, 9))
    assert drawn.evaluated.all()
    assert np.isnan(drawn.losses).all()


def test_a_flat_surface_is_flat() -> None:
    drawn = refined(Asked(np.full((GRID, GRID), 2.3)), (GRID, GRID))
    np.testing.assert_allclose(drawn.losses, 2.3, rtol=1e-9)
    assert drawn.error["max"] <= ROUNDING


def test_grids_of_other_sizes_are_drawn() -> None:
    for shape in ((2, 2), (3, 5), (7, 41), (51, 51)):
        a, b = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
        truth = 1 + a**2 + 0.5 * b**2 + a * b
        drawn = refined(Asked(truth), shape)
        np.testing.assert_allclose(drawn.losses, truth, rtol=0.01)


def test_the_share_is_a_share() -> None:
    few = refined(Asked(SHAPES["rugged"]), (GRID, GRID), share=0.1)
    assert few.evaluated.sum() <= 44
    with pytest.raises(ValueError, match=r"above 0 and at most 1, not 1\.5"):
        refined(Asked(SHAPES["bowl"]), (GRID, GRID), share=1.5)


def test_what_is_asked_for_first_is_evaluated() -> None:
    drawn = refined(Asked(SHAPES["bowl"]), (GRID, GRID), first=[(10, 10)])
    assert drawn.evaluated[10, 10]


def test_what_is_left_out_is_told_as_if_it_were_not_known() -> None:
    generator = np.random.default_rng(0)
    places = generator.random((20, 2))
    values = np.exp(places[:, 0] + places[:, 1] ** 2)
    whole = interpolations(places, values, places[:1])
    without = interpolations(places[1:], values[1:], places[:1])
    for one, other in zip(whole, without, strict=True):
        assert (one.kernel, one.logarithmic) == (other.kernel, other.logarithmic)
        assert one.values[0] == pytest.approx(values[0], rel=1e-6)
        if not one.logarithmic:
            assert one.left_out[0] == pytest.approx(other.values[0], rel=1e-6)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.norm(self.conv(x)))


def trained(net: nn.Module, x: Tensor, y: Tensor) -> nn.Module:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.Tanh(), nn.Linear(24, 4))


def plain_relu() -> nn.Module:
    layers = [layer for _ in range(5) for layer in (nn.Linear(24, 24), nn.ReLU())]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), *layers, nn.Linear(24, 4)
    )


def resnet() -> nn.Module:
    blocks = [Block(6) for _ in range(2)]
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), *blocks, nn.Flatten(), nn.Linear(6 * 16, 4)
    )


@pytest.mark.parametrize("net", [mlp, plain_relu, resnet])
@pytest.mark.parametrize("training", [True, False])
def test_it_is_honest_on_nets(net: Callable[[], nn.Module], training: bool) -> None:
    torch.manual_seed(0)
    y = torch.arange(48) % 4
    x = torch.randn(48, 1, 6, 6) + torch.randn(4, 1, 6, 6)[y]
    model = trained(net(), x, y)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    drawn = surface(model, (x, y), loss_fn=loss, options=Options(training=training))
    exact = Options(training=training, exact=True)
    truth = surface(model, (x, y), loss_fn=loss, options=exact).losses
    told = Refined(drawn.losses, drawn.evaluated, drawn.error)
    check_honest(truth, told)
    errors = true_errors(truth, told)
    assert np.median(errors) <= adaptive.MEDIAN
    assert np.quantile(errors, 0.95) <= adaptive.P95
    assert drawn.evaluations <= 0.25 * truth.size
