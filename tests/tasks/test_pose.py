"""Heat maps and what their width means, beside kornia and autograd."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.geometry.subpix import render_gaussian2d

from conventions import keeps_conventions
from surefoot.schedules import Geometric, Vary, after_step
from surefoot.tasks.pose import (
    GaussianHeatmaps,
    HeatmapError,
    gaussian_heatmaps,
    heatmap_report,
    pull,
)

SOME = torch.tensor([[5.0, 7.0], [0.3, 20.7], [-2.0, 4.0]], dtype=torch.float64)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.5])
def test_maps_that_sum_to_one_are_those_of_kornia(sigma: float) -> None:
    found = gaussian_heatmaps(SOME, size=(24, 18), sigma=sigma, scale="sum")
    widths = torch.full_like(SOME, sigma)
    expected = render_gaussian2d(SOME, widths, (24, 18), normalized_coordinates=False)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum((-2, -1)), torch.ones(3).double())


@pytest.mark.parametrize(("sigma", "peak"), [(1, 0.15915), (2, 0.0398), (4, 0.0099)])
def test_the_peak_of_a_map_that_sums_to_one_is_1_over_2_pi_sigma_squared(
    sigma: float, peak: float
) -> None:
    middle = torch.tensor([32.0, 32.0], dtype=torch.float64)
    found = gaussian_heatmaps(middle, size=(65, 65), sigma=sigma, scale="sum").max()
    assert found.item() == pytest.approx(1 / (2 * math.pi * sigma**2), rel=1e-6)
    assert found.item() == pytest.approx(peak, abs=1e-4)
    assert heatmap_report([sigma], scale="sum")[0].peak == pytest.approx(found.item())


def test_a_map_has_its_peak_of_1_at_x_and_y_of_the_point() -> None:
    found = gaussian_heatmaps(torch.tensor([3, 5]), size=(8, 6))
    assert found.dtype == torch.float32
    assert divmod(found.argmax().item(), 6) == (5, 3)
    assert found.max() == 1


@pytest.mark.parametrize(("sigma", "slope"), [(1, 0.6065), (2, 0.3033), (4, 0.1516)])
def test_the_steepest_slope_is_exp_of_minus_half_over_sigma(
    sigma: float, slope: float
) -> None:
    offsets = torch.linspace(0, 3 * sigma, 3001, dtype=torch.float64)
    points = torch.stack([offsets, torch.zeros_like(offsets)], -1).requires_grad_()
    maps = gaussian_heatmaps(points, size=(1, 1), sigma=sigma)
    (slopes,) = torch.autograd.grad(maps.sum(), points)
    steepest = slopes[:, 0].abs().max().item()
    assert steepest == pytest.approx(slope, abs=5e-5)
    assert heatmap_report([sigma])[0].steepest == pytest.approx(steepest, rel=1e-5)


def measured(offset: float, sigma: float, scale: str) -> float:
    """The same pull from rendered maps, by autograd."""
    size = (161, 161)
    target = torch.tensor([80.0, 80.0], dtype=torch.float64)
    guess = (target + torch.tensor([offset, 0])).requires_grad_()
    maps = [gaussian_heatmaps(p, size=size, sigma=sigma, scale=scale)
            for p in (guess, target)]  # fmt: skip
    (slope,) = torch.autograd.grad((maps[0] - maps[1]).square().sum(), guess)
    return slope[0].item()


@pytest.mark.parametrize(
    ("sigma", "slope"), [(1, 0.0023), (2, 1.99), (4, 10.7), (8, 16.4)]
)
def test_a_peak_of_one_six_pixels_off_is_pulled_the_less_the_narrower(
    sigma: float, slope: float
) -> None:
    found = measured(6.0, sigma, "peak")
    assert found == pytest.approx(slope, rel=0.02)
    # A sum over pixels is the integral of the closed form but for 2e-4 at σ = 1.
    assert pull(6.0, sigma=sigma) == pytest.approx(found, rel=3e-4)


def test_a_sum_of_one_reverses_the_trend_of_the_largest_pull() -> None:
    plan = [8.0, 4.0, 2.0, 1.0]
    peaks = [one.largest_pull for one in heatmap_report(plan)]
    sums = [one.largest_pull for one in heatmap_report(plan, scale="sum")]
    assert peaks == sorted(peaks, reverse=True)
    assert sums == sorted(sums)
    for sigma in (2.0, 4.0):
        found = pull(6.0, sigma=sigma, scale="sum")
        assert found == pytest.approx(measured(6.0, sigma, "sum"), rel=1e-6)


def test_the_largest_pull_is_where_the_report_says() -> None:
    (told,) = heatmap_report([3.0])
    tries = torch.linspace(0.1, 20, 400).tolist()
    best = max(tries, key=lambda offset: pull(offset, sigma=3.0))
    assert told.reach == pytest.approx(best, abs=0.05)
    assert told.largest_pull == pytest.approx(pull(best, sigma=3.0), rel=1e-4)
    assert told.largest_pull == pytest.approx(
        math.pi * math.sqrt(2) * 3 * math.exp(-0.5)
    )


@pytest.mark.parametrize("scale", ["peak", "sum"])
def test_slopes_of_maps_are_right(scale: str) -> None:
    sigma = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda p, s: gaussian_heatmaps(p, size=(6, 5), sigma=s, scale=scale),
        (SOME.clone().requires_grad_(), sigma),
    )


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(-1e4, 1e4),
    y=st.floats(-1e4, 1e4),
    sigma=st.floats(0.1, 50),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_maps_are_finite_wherever_the_point_is(
    x: float, y: float, sigma: float, height: int, width: int
) -> None:
    points = torch.tensor([x, y], requires_grad=True)
    for scale, total in (("peak", None), ("sum", 1.0)):
        found = gaussian_heatmaps(
            points, size=(height, width), sigma=sigma, scale=scale
        )
        assert found.shape == (height, width)
        assert ((found >= 0) & (found <= 1)).all()
        if total is not None:
            assert found.sum().item() == pytest.approx(total, rel=1e-4)
        assert torch.autograd.grad(found.square().sum(), points)[0].isfinite().all()


def test_points_that_are_not_seen_have_empty_maps_and_no_slope() -> None:
    points = SOME.clone().requires_grad_()
    seen = torch.tensor([True, False, True])
    found = gaussian_heatmaps(points, size=(24, 18), visible=seen)
    assert found[1].eq(0).all()
    found.sum().backward()
    assert points.grad is not None
    assert points.grad[1].eq(0).all()
    assert points.grad[0].ne(0).any()


def test_each_joint_may_have_its_own_width() -> None:
    widths = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found = gaussian_heatmaps(SOME[None], size=(9, 9), sigma=widths)
    for index, width in enumerate(widths.tolist()):
        alone = gaussian_heatmaps(SOME[index], size=(9, 9), sigma=width)
        torch.testing.assert_close(found[0, index], alone)


def test_half_precision_points_are_computed_in_float32() -> None:
    points = torch.tensor([[300.0, 2.0]], dtype=torch.bfloat16)
    found = gaussian_heatmaps(points, size=(4, 320), sigma=1.0)
    assert found.dtype == torch.bfloat16
    assert found[0, 2].argmax() == 300


def test_vmap_over_images_is_each_image() -> None:
    batch = torch.stack([SOME, SOME + 1])
    found = torch.func.vmap(lambda p: gaussian_heatmaps(p, size=(8, 8)))(batch)
    torch.testing.assert_close(found, gaussian_heatmaps(batch, size=(8, 8)))


# --- the module -----------------------------------------------------------------


def test_the_module_keeps_the_conventions() -> None:
    keeps_conventions(
        lambda: GaussianHeatmaps((8, 6), sigma=1.5), SOME.float(), exported=True
    )
    seen = torch.tensor([True, False, True])
    keeps_conventions(
        lambda: GaussianHeatmaps((8, 6), scale="sum"), SOME.float(), visible=seen
    )


def test_the_width_follows_a_schedule_without_compiling_again() -> None:
    plan = Geometric(4.0, 1.0, steps=2)
    targets = GaussianHeatmaps((9, 9), sigma=plan)
    weight = torch.nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([weight], lr=0.1)
    after_step(sgd, Vary(targets, "sigma", schedule=plan))
    compiled: list[object] = []

    def counted(graph: torch.fx.GraphModule, _: object) -> object:
        compiled.append(graph)
        return graph.forward

    torch._dynamo.reset()
    fast = torch.compile(targets, fullgraph=True, backend=counted)
    weight.grad = torch.zeros(1)
    for width in (4.0, 2.0, 1.0):
        expected = gaussian_heatmaps(SOME.float(), size=(9, 9), sigma=width)
        torch.testing.assert_close(fast(SOME.float()), expected)
        sgd.step()
    assert len(compiled) == 1
    assert "sigma=1," in repr(targets)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"points": torch.zeros(3)}, r"\(3,\).*\(x, y\)"),
        ({"sigma": 0.0}, "positive width"),
        ({"size": (0, 4)}, "height, width"),
        ({"scale": "one"}, "'peak' or 'sum'"),
        ({"visible": torch.ones(3)}, "expected booleans"),
        ({"visible": torch.ones(2, dtype=torch.bool)}, r"shape \(3,\)"),
    ],
)
def test_what_makes_no_map_is_refused(change: dict, words: str) -> None:
    given = {"points": SOME, "size": (4, 4), **change}
    with pytest.raises(HeatmapError, match=words):
        gaussian_heatmaps(given.pop("points"), **given)


def test_a_width_that_is_not_positive_is_refused_everywhere() -> None:
    for run in (
        lambda: GaussianHeatmaps((4, 4), sigma=-1.0),
        lambda: pull(1.0, sigma=0.0),
        lambda: heatmap_report([1.0, math.nan]),
    ):
        with pytest.raises(HeatmapError, match="positive width"):
            run()
