"""A surface and a path come in; a page, a picture or a file of numbers goes out.

What a path ends with tells the form. The packages that pictures need are loaded only
when a picture is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from surefoot.landscape.surface import Surface
from surefoot.record.reader import RecordReader
from surefoot.record.writer import RecordWriter
from surefoot.report.contents import contents
from surefoot.report.page import page
from surefoot.types import Event, Field

FILMS = (".gif", ".mp4")
ENDINGS = (".html", ".png", ".svg", *FILMS, ".vts", ".npz")


NO_SCRIPT = "The loss around a checkpoint. Open this page in a browser to see it."
"""Shown where the page's script does not run, as in a mail preview."""


class WrittenError(ValueError):
    """A surface cannot be written in the form that is asked for."""


def check_ending(path: Path) -> None:
    """Whether a surface can be written there, before any work is done.

    Raises:
        WrittenError: another ending, a package that is not installed, or no folder.
    """
    if path.suffix not in ENDINGS:
        raise WrittenError(
            f"{path.name} came for the output; expected a name that ends in "
            f"{', '.join(ENDINGS)}"
        )
    if not path.absolute().parent.is_dir():
        raise WrittenError(f"{path.parent} is no folder; expected one to write to")
    if path.suffix in (".png", ".svg"):
        _drawing("draw", "style")
    if path.suffix in FILMS:
        _drawing("film")
    if path.suffix == ".mp4":
        (encode,) = _drawing("encode")
        try:
            encode.ffmpeg()
        except FileNotFoundError as error:
            raise WrittenError(str(error)) from error


def write_surface(
    surface: Surface, field: Field, path: Path, *, about: Mapping[str, Any]
) -> None:
    """Write a surface in the form that the path's ending names.

    Args:
        surface: what was computed.
        field: the same as a field.
        path: where to.
        about: what a page tells of its origin: `script` and `argv`, as a run does.

    Raises:
        WrittenError: as of `check_ending`.
        OSError: it cannot be written.
    """
    check_ending(path)
    if path.suffix == ".npz":
        surface.save(path)
    elif path.suffix == ".html":
        write_page(field, path, about=about)
    elif path.suffix == ".vts":
        importlib.import_module("surefoot.landscape.export_vtk").export_vtk(field, path)
    elif path.suffix in FILMS:
        (film,) = _drawing("film")
        film.film(field, to=path)
    else:
        draw, style = _drawing("draw", "style")
        two = "beta" in field.axes
        style.save(draw.both(field) if two else draw.line(field), path)


def write_page(field: Field, path: Path, *, about: Mapping[str, Any]) -> None:
    """A page of its own, from a record that holds nothing but the field.

    Raises:
        OSError: it cannot be written.
    """
    with TemporaryDirectory() as folder:
        writer = RecordWriter(Path(folder) / f"{path.stem}.surefoot", about)
        writer.put_meta("streams", {field.stream: {}})
        writer.field(field)
        writer.event(Event(field.step, "end", {"status": "finished"}))
        writer.close()
        with RecordReader(writer.path) as reader:
            text = page(contents(reader, ()), said=NO_SCRIPT)
    path.write_text(text, encoding="utf-8")


def _drawing(*names: str) -> list[Any]:
    """Modules that draw, by their names."""
    try:
        return [importlib.import_module(f"surefoot.landscape.{name}") for name in names]
    except ModuleNotFoundError as error:
        raise WrittenError(
            f"a picture needs the package {error.name!r}, which is not installed; "
            "pip install 'surefoot[plot]', or write a page: --output surface.html"
        ) from error
