"""The gallery: each panel is named by its curvature, and the names are right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape.pictured import pixels, settings, texts
from surefoot.landscape.functions import (
    BANANA,
    BOWL,
    GALLERY,
    HIMMELBLAU,
    LOWER_WELL,
    SADDLE,
)
from surefoot.landscape.gallery import gallery, labelled

NAMES = {
    "Convex bowl": "minimum",
    "Rugged": "minimum",
    "Local minimum": "minimum",
    "Saddle": "saddle",
    "Plateau": "plateau",
    "Sharp valley": "sharp valley",
}
"""What each point of interest is, by the analysis of its function."""


@pytest.mark.parametrize("panel", labelled(), ids=lambda one: one.function.name)
def test_the_classifier_names_each_panel(panel) -> None:
    assert panel.point.kind == NAMES[panel.function.name]
    hessian = panel.function.hessian(panel.function.point)
    low, high = torch.linalg.eigvalsh(hessian).tolist()
    assert panel.point.lowest.value == pytest.approx(low)
    assert panel.point.highest.value == pytest.approx(high)


def test_the_gallery_shows_all_six() -> None:
    assert {one.name for one in GALLERY} == set(NAMES)


def test_others_are_named_as_well() -> None:
    kinds = [one.point.kind for one in labelled((BANANA, HIMMELBLAU))]
    assert kinds == ["sharp valley", "minimum"]


def test_both_wells_are_minima_one_lower() -> None:
    (panel,) = labelled([one for one in GALLERY if one.name == "Local minimum"])
    here, there = (
        float(panel.function.value(torch.tensor(at, dtype=torch.float64)))
        for at in (panel.function.point, LOWER_WELL)
    )
    assert here > there


def test_the_picture_says_the_names_and_the_numbers() -> None:
    before = settings()
    made = gallery((BOWL, SADDLE))
    said = texts(made)
    assert "MINIMUM" in said
    assert "SADDLE   ‖g‖ 0,   λ from −2 to 2" in said
    assert BOWL.lesson in said
    drawn = pixels(made)
    np.testing.assert_array_equal(drawn, pixels(gallery((BOWL, SADDLE))))
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 100
    assert settings() == before


def test_points_are_marked_in_both_pictures() -> None:
    space, above = gallery((SADDLE,)).subfigs[0].axes
    for axes in (space, above):
        (mark,) = (one for one in axes.get_lines() if one.get_marker() == "o")
        place = mark.get_data_3d() if axes is space else mark.get_data()
        np.testing.assert_allclose(np.ravel(place), 0, atol=1e-12)
