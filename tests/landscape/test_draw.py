"""Figures: they show the numbers, and leave the user's matplotlib alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from landscape.pictured import along_one_direction, field, pixels, settings, texts
from surefoot.landscape.compare import before_after
from surefoot.landscape.draw import both, contour, line, relief
from surefoot.landscape.draw_curvature import convexity, share_below, spectrum
from surefoot.landscape.functions import BOWL, DOUBLE_WELL, SADDLE
from surefoot.landscape.land import land, scale_of
from surefoot.landscape.relief import relief_axes, visible
from surefoot.landscape.style import figure, save
from surefoot.types import Field

PATH = [[1.5, 1.2], [1.2, 0.6], [0.95, 0.0]]


def _spectrum(layers: int = 2, **about: Any) -> Field:
    at = np.linspace(-2, 8, 101)
    values = np.exp(-((at[None] - np.arange(layers)[:, None]) ** 2)).astype(np.float32)
    names = [f"layer{index}" for index in range(layers)]
    axes = {"layer": names, "eigenvalue": at.tolist()}
    return Field(7, "spectrum", axes, values, about=about)


def _convexity() -> Field:
    axes = {"alpha": [-1.0, 0.0, 1.0], "beta": [-1.0, 0.0, 1.0]}
    return Field(0, "convexity", axes, np.eye(3, dtype=np.float32))


DRAWN: tuple[Any, ...] = (
    pytest.param(lambda: contour(field(path=PATH)), id="contour"),
    pytest.param(lambda: relief(field(path=PATH)), id="relief"),
    pytest.param(lambda: both(field(path=PATH)), id="both"),
    pytest.param(lambda: line(along_one_direction([3.0, 1.0, 2.0])), id="line"),
    pytest.param(lambda: convexity(_convexity()), id="convexity"),
    pytest.param(lambda: spectrum(_spectrum()), id="spectrum"),
    pytest.param(
        lambda: before_after(field(BOWL, points=7), field(BOWL, points=7)),
        id="before and after",
    ),
)


@pytest.mark.parametrize("draw", DRAWN)
def test_a_figure_is_drawn_twice_alike_and_no_setting_remains(
    draw: Callable[[], Figure], tmp_path: Path
) -> None:
    before = settings()
    one, other = draw(), draw()
    drawn = pixels(one)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 30
    np.testing.assert_array_equal(drawn, pixels(other))
    written = [
        save(made, tmp_path / name) for made, name in ((one, "a.svg"), (other, "b.svg"))
    ]
    assert written[0].read_bytes() == written[1].read_bytes()
    assert settings() == before


@pytest.mark.parametrize(
    ("ending", "begins"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")]
)
def test_a_figure_is_written_as_its_name_ends(
    ending: str, begins: bytes, tmp_path: Path
) -> None:
    drawn = line(along_one_direction([3.0, 1.0, 2.0]))
    assert save(drawn, tmp_path / f"a{ending}").read_bytes().startswith(begins)


def test_no_window_knows_of_our_figures() -> None:
    from matplotlib import pyplot

    contour(field())
    assert pyplot.get_fignums() == []


def test_a_figure_is_not_written_as_what_it_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'"a.bmp" came; expected a name that ends'):
        save(figure(1, 1), tmp_path / "a.bmp")


def test_the_path_from_above_is_that_of_the_field() -> None:
    axes = contour(field(path=PATH)).axes[0]
    drawn = [np.column_stack(one.get_data()) for one in axes.get_lines()]
    assert any(one.shape == (3, 2) and np.allclose(one, PATH) for one in drawn)
    assert any(np.allclose(one, PATH[:1]) for one in drawn)
    assert any(np.allclose(one, PATH[-1:]) for one in drawn)


def test_axes_say_how_much_of_the_path_they_explain_and_the_caption_the_error() -> None:
    made = contour(
        field(
            directions=["component 1", "component 2"],
            explained=[0.831, 0.104],
            evaluated=[[0, 0], [3, 4]],
            evaluations=97,
            error={"median": 0.0021, "p95": 0.013, "max": 0.09},
            mode="train",
        )
    )
    axes = made.axes[0]
    assert axes.get_xlabel() == "component 1  (83.1 % of the path)"
    assert axes.get_ylabel() == "component 2  (10.4 % of the path)"
    said = texts(made)
    assert "97 evaluations" in said
    assert "0.21 %" in said
    assert "1.3 %" in said
    assert "train mode" in said
    dots = [np.column_stack(one.get_data()) for one in axes.get_lines()]
    grid = land(field())
    expected = [[grid.alphas[0], grid.betas[0]], [grid.alphas[3], grid.betas[4]]]
    assert any(one.shape == (2, 2) and np.allclose(one, expected) for one in dots)


def test_points_are_not_dotted_where_all_were_evaluated() -> None:
    everywhere = np.argwhere(np.ones((13, 13))).tolist()
    made = contour(field(evaluated=everywhere, error={"median": 0.0, "p95": 0.0}))
    assert made.axes[0].get_lines() == []
    assert "interpolated" not in texts(made)


def test_an_error_that_is_not_known_is_not_told() -> None:
    unknown = {"median": float("nan"), "p95": float("nan")}
    assert "nan" not in texts(contour(field(evaluations=9, error=unknown)))


def test_what_is_not_finite_is_hatched_not_coloured() -> None:
    values = np.array(DOUBLE_WELL.field(13).values)
    values[:7] = np.nan
    seen, whole = (contour(field(values=one)) for one in (values, None))
    assert any(patch.get_hatch() for patch in seen.axes[0].patches)
    assert not any(patch.get_hatch() for patch in whole.axes[0].patches)
    pixels(relief(field(values=values)))


def test_a_line_marks_where_the_loss_is_not_finite() -> None:
    made = line(along_one_direction([3.0, 1.0, np.inf, 2.0, 2.5]))
    (span,) = (one for one in made.axes[0].patches if one.get_hatch())
    assert span.get_extents().width > 0
    drawn = made.axes[0].get_lines()[0].get_ydata()
    np.testing.assert_array_equal(drawn, [3.0, 1.0, np.nan, 2.0, 2.5])


@pytest.mark.parametrize("draw", [contour, relief, both])
def test_a_line_is_no_surface(draw: Callable[[Field], Figure]) -> None:
    with pytest.raises(ValueError, match=r"draw it with line\(\)"):
        draw(along_one_direction([1.0, 2.0]))


def test_a_surface_is_no_line() -> None:
    with pytest.raises(ValueError, match=r"draw it with contour\(\)"):
        line(field())


def test_a_hill_hides_what_lies_behind_it() -> None:
    values = np.zeros((21, 21))
    values[:, 10] = 1.0  # a wall along x at y = 0, seen from y below
    axes = {"alpha": np.linspace(-1, 1, 21).tolist()}
    axes["beta"] = np.linspace(-1, 1, 21).tolist()
    seen = land(Field(0, "landscape", axes, values.astype(np.float32)))
    space = relief_axes(figure(3, 3), 111, azimuth=-90, elevation=20)
    space.set(xlim=(-1, 1), ylim=(-1, 1), zlim=(0, 1))
    points = np.array([[0, 0.2, 0.0], [0, -0.5, 0.0], [0, 0.2, 0.99], [0, 0.0, 1.0]])
    shown = visible(space, seen, scale_of(seen), points=points)
    assert shown.tolist() == [False, True, True, True]


# --- before and after -----------------------------------------------------------


def test_before_and_after_have_one_scale_and_their_numbers() -> None:
    low = field(BOWL, values=np.array(BOWL.field(13).values) / 4)
    made = before_after(
        field(BOWL), low, labels=("plain", "skip"), numbers={"roughness": (0.5, 0.125)}
    )
    left, right, *spaces = made.axes
    assert [one.get_title(loc="left") for one in spaces[:2]] == [
        "plain\nroughness 0.5",
        "skip\nroughness 0.125",
    ]
    levels = [axes.collections[0].levels for axes in (left, right)]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(*levels)
    heights = [axes.get_zlim() for axes in made.axes if hasattr(axes, "get_zlim")]
    assert heights == [(0.0, 4.0), (0.0, 4.0)]


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (field(BOWL, points=9), "the grids differ: 13 x 13 points over .* 9 x 9"),
        (field(SADDLE), r"the grids differ: .* over \[-2, 2\] x \[-2, 2\] before"),
        (field(BOWL, directions=["u", "v"]), "the directions differ"),
        (along_one_direction([1.0, 2.0]), "over one direction"),
    ],
)
def test_what_does_not_compare_is_refused(after: Field, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        before_after(field(BOWL), after)


# --- curvature ------------------------------------------------------------------


def test_a_spectrum_says_what_share_lies_below_zero() -> None:
    at = np.linspace(-1, 3, 401)
    assert share_below(at, np.ones(401)) == pytest.approx(0.25, abs=1e-3)
    assert share_below(at, (at > 0).astype(float)) < 2e-3
    peak = np.exp(-((at / 0.1) ** 2) / 2)
    assert share_below(at, peak, -0.3) < 2e-3 < 0.4 < share_below(at, peak)
    made = spectrum(_spectrum(2, top={"layer0": [1.5], "layer1": [2.5, 2.0]}))
    assert [one.get_title(loc="left")[:6] for one in made.axes] == ["layer0", "layer1"]
    ticks = [
        [
            float(one.get_xdata()[0])
            for one in axes.get_lines()
            if one.get_marker() == "v"
        ]
        for axes in made.axes
    ]
    assert ticks == [[1.5], [2.5, 2.0]]


def test_fields_of_other_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match='expected "spectrum"'):
        spectrum(field())
    with pytest.raises(ValueError, match="9 layers came, at most 8"):
        spectrum(_spectrum(9))
    with pytest.raises(ValueError, match='expected "convexity"'):
        convexity(field())
