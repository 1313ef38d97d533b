"""A landscape comes in, files that ParaView opens go out: XML of VTK, as text.

    export_vtk(surface, "surface.vts")      # the surface, and surface.path.vtp

The grid is a StructuredGrid whose points stand at (alpha, beta, height), with the loss
and whether it was evaluated as point data; the path is a PolyData with one line. The
format is that of the VTK file formats guide, version 0.1 of the XML.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

import numpy as np
from numpy.typing import NDArray

from surefoot.landscape.land import Doubles, Drawable, Land, land, scale_of

Numbers = NDArray[np.floating] | NDArray[np.integer]

RISE = 0.62
"""Height of the drawn surface as a share of its width, as in the figures."""


def export_vtk(
    drawable: Drawable, to: str | Path, *, log: bool | None = None
) -> tuple[Path, ...]:
    """Write a landscape for ParaView, and its path beside it.

    Heights are scaled so that the surface is as high as `RISE` of its width; the point
    data "loss" holds the losses themselves. Where a loss is not finite the height is
    the greatest, "loss" is NaN, and "finite" 0.

    Args:
        drawable: a field of kind "landscape" over two directions, or a surface.
        to: a name that ends in .vts; the path, if there is one, ends in .path.vtp.
        log: heights by the logarithm of the loss or not; None decides by the losses.

    Returns:
        The files written.

    Raises:
        ValueError: another ending, no landscape, or a line.
    """
    to = Path(to)
    if to.suffix != ".vts":
        raise ValueError(f'"{to.name}" came; expected a name that ends in .vts')
    seen = land(drawable)
    if not len(seen.betas):
        raise ValueError("a landscape over one direction came; a surface has two")
    _write(_grid(seen, log), to)
    if not len(seen.path):
        return (to,)
    beside = to.with_suffix(".path.vtp")
    _write(_line(seen, log), beside)
    return to, beside


def _grid(seen: Land, log: bool | None) -> Element:
    columns, rows = seen.heights.shape
    extent = f"0 {columns - 1} 0 {rows - 1} 0 0"
    root = _root("StructuredGrid")
    whole = SubElement(root, "StructuredGrid", WholeExtent=extent)
    piece = SubElement(whole, "Piece", Extent=extent)
    # VTK runs along the first direction fastest.
    alphas, betas = np.meshgrid(seen.alphas, seen.betas, indexing="xy")
    losses = seen.heights.T
    at = np.stack([alphas, betas, _heights(seen, losses, log)], axis=-1)
    finite = np.isfinite(losses)
    about: dict[str, Numbers] = {"loss": losses, "finite": finite.astype(np.uint8)}
    if seen.about.get("evaluated") is not None:
        about["evaluated"] = _evaluated(seen).T
    _point_data(piece, about)
    _points(piece, at.reshape(-1, 3))
    return root


def _line(seen: Land, log: bool | None) -> Element:
    count = len(seen.path)
    losses = seen.at(seen.path)
    root = _root("PolyData")
    piece = SubElement(
        SubElement(root, "PolyData"), "Piece",
        NumberOfPoints=str(count), NumberOfVerts="0", NumberOfLines="1",
        NumberOfStrips="0", NumberOfPolys="0",
    )  # fmt: skip
    _point_data(piece, {"loss": losses, "point": np.arange(count)})
    _points(piece, np.column_stack([seen.path, _heights(seen, losses, log)]))
    lines = SubElement(piece, "Lines")
    _array(lines, "connectivity", np.arange(count))
    _array(lines, "offsets", np.array([count]))
    return root


def _heights(seen: Land, losses: Doubles, log: bool | None) -> Doubles:
    """From 0 to `RISE` times the width; where the loss is not finite, the top."""
    scale = scale_of(seen, log=log)
    low, high = scale.heights(np.array([scale.low, scale.high]))
    share = (scale.heights(losses) - low) / (high - low)
    return np.nan_to_num(share, nan=1.0) * RISE * float(np.ptp(seen.alphas))


def _evaluated(seen: Land) -> NDArray[np.uint8]:
    marks = np.zeros(seen.heights.shape, dtype=np.uint8)
    at = np.asarray(seen.about["evaluated"], dtype=int).reshape(-1, 2)
    marks[at[:, 0], at[:, 1]] = 1
    return marks


def _root(kind: str) -> Element:
    return Element("VTKFile", type=kind, version="0.1", byte_order="LittleEndian")


def _points(piece: Element, at: Doubles) -> None:
    _array(SubElement(piece, "Points"), "Points", at, components=3)


def _point_data(piece: Element, arrays: Mapping[str, Numbers]) -> None:
    data = SubElement(piece, "PointData", Scalars="loss")
    for name, values in arrays.items():
        _array(data, name, values)


def _array(parent: Element, name: str, values: Numbers, components: int = 1) -> None:
    kinds = {"f": "Float64", "i": "Int64", "u": "UInt8"}
    made = SubElement(
        parent, "DataArray", type=kinds[values.dtype.kind], Name=name,
        NumberOfComponents=str(components), format="ascii",
    )  # fmt: skip
    made.text = " ".join(_texts(values.reshape(-1)))


def _texts(values: Numbers) -> Iterable[str]:
    """As many digits as bring a double back exactly."""
    return (repr(one) for one in values.tolist())


def _write(root: Element, to: Path) -> None:
    indent(root)
    part = to.with_name(to.name + ".part")
    ElementTree(root).write(part, encoding="utf-8", xml_declaration=True)
    part.replace(to)
