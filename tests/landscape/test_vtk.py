"""Export to VTK: files that hold the landscape, number by number."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from landscape.pictured import along_one_direction, field
from surefoot.landscape.export_vtk import RISE, export_vtk
from surefoot.landscape.functions import BANANA, DOUBLE_WELL
from surefoot.landscape.land import land

TYPES = {"Float64": np.float64, "Int64": np.int64, "UInt8": np.uint8}


def _arrays(path: Path) -> tuple[ElementTree.Element, dict[str, np.ndarray]]:
    """The one piece of a file, and all its arrays with the sizes they claim."""
    root = ElementTree.parse(path).getroot()
    assert root.tag == "VTKFile"
    assert root.attrib["byte_order"] == "LittleEndian"
    (grid,) = root
    assert grid.tag == root.attrib["type"]
    (piece,) = grid
    found: dict[str, np.ndarray] = {}
    for one in piece.iter("DataArray"):
        assert one.attrib["format"] == "ascii"
        components = int(one.attrib["NumberOfComponents"])
        numbers = np.array((one.text or "").split(), dtype=TYPES[one.attrib["type"]])
        found[one.attrib["Name"]] = (
            numbers.reshape(-1, components) if components > 1 else numbers
        )
    return piece, found


def test_the_surface_is_written_point_by_point(tmp_path: Path) -> None:
    given = field(points=7, evaluated=[[0, 0], [3, 5]])
    (path,) = export_vtk(given, tmp_path / "a.vts")
    piece, arrays = _arrays(path)
    assert piece.attrib["Extent"] == "0 6 0 6 0 0"
    seen = land(given)
    assert len(arrays["Points"]) == 49
    index = 5 * 7 + 3  # the first direction runs fastest
    np.testing.assert_array_equal(
        arrays["Points"][index, :2], [seen.alphas[3], seen.betas[5]]
    )
    assert arrays["loss"][index] == seen.heights[3, 5]
    assert np.flatnonzero(arrays["evaluated"]).tolist() == [0, index]
    heights = arrays["Points"][:, 2]
    assert heights.min() == 0
    assert heights.max() == pytest.approx(RISE * np.ptp(seen.alphas))
    order = np.argsort(arrays["loss"])
    assert (np.diff(heights[order]) >= 0).all()


def test_the_path_is_one_line_on_the_surface(tmp_path: Path) -> None:
    path = [[1.5, 1.2], [1.2, 0.6], [0.95, 0.0]]
    surface, line = export_vtk(field(path=path), tmp_path / "a.vts")
    assert line.name == "a.path.vtp"
    piece, arrays = _arrays(line)
    assert piece.attrib["NumberOfPoints"] == "3"
    assert piece.attrib["NumberOfLines"] == "1"
    np.testing.assert_array_equal(arrays["Points"][:, :2], path)
    np.testing.assert_array_equal(arrays["connectivity"], [0, 1, 2])
    np.testing.assert_array_equal(arrays["offsets"], [3])
    np.testing.assert_allclose(arrays["loss"], land(field()).at(np.array(path)))
    assert _arrays(surface)[1]["loss"].shape == (169,)


def test_a_loss_that_is_not_finite_is_said_to_be_none(tmp_path: Path) -> None:
    values = np.array(DOUBLE_WELL.field(5).values)
    values[1, 2] = np.inf
    (path,) = export_vtk(field(points=5, values=values), tmp_path / "a.vts")
    _, arrays = _arrays(path)
    (missing,) = np.flatnonzero(arrays["finite"] == 0)
    assert missing == 2 * 5 + 1
    assert np.isnan(arrays["loss"][missing])
    assert np.isfinite(arrays["Points"]).all()


def test_heights_may_go_by_the_logarithm(tmp_path: Path) -> None:
    (path,) = export_vtk(BANANA.field(9), tmp_path / "a.vts")
    _, arrays = _arrays(path)
    middle = float(np.sqrt(arrays["loss"].max() * arrays["loss"].max() * 1e-4))
    between = np.interp(
        np.log(middle),
        *np.sort([np.log(arrays["loss"] + 1e-9), arrays["Points"][:, 2]]),
    )
    assert between == pytest.approx(arrays["Points"][:, 2].max() / 2, rel=0.05)


def test_what_is_no_surface_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.vts"):
        export_vtk(field(), tmp_path / "a.vtk")
    with pytest.raises(ValueError, match="a surface has two"):
        export_vtk(along_one_direction([1.0, 2.0]), tmp_path / "a.vts")
    assert list(tmp_path.iterdir()) == []
