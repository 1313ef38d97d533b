"""An open record comes in, a file or folder of another format goes out.

All formats are long: stream, quantity, layer, step, value; one row a reading. A
reading that is NaN has a row; a layer that was absent at a step has none.
"""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path

from surefoot.record.reader import RecordReader
from surefoot.record.schema import RecordError
from surefoot.types import Series

FORMATS = ("csv", "parquet", "tensorboard")

COLUMNS = ("stream", "quantity", "layer", "step", "value")


def export(reader: RecordReader, to: str, out: str | Path) -> Path:
    """Write all readings of a record in another format; returns where they are.

    Args:
        reader: The record.
        to: One of `FORMATS`.
        out: The file to write, for "tensorboard" the folder; made if it is not there.

    Raises:
        RecordError: an unknown format, one whose package is not installed, or a
            place that cannot be written.
    """
    write = _writer_of(to)
    out = Path(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write(all_blocks(reader), out)
    except OSError as error:
        raise RecordError(
            f"{out} cannot be written ({error}); expected a place with room for "
            f"{to}; choose another one"
        ) from error
    return out


def all_blocks(reader: RecordReader) -> Iterator[Series]:
    """Every block of a record, one at a time: stream by stream, then by quantity."""
    for stream in reader.streams():
        for quantity in reader.quantities(stream):
            yield from reader.blocks(quantity, stream)


def _writer_of(to: str) -> Callable[[Iterator[Series], Path], None]:
    if to == "csv":
        return _write_csv
    if to not in FORMATS:
        raise RecordError(
            f"unknown format {to!r}; expected one of {', '.join(FORMATS)}"
        )
    try:
        # Each optional package is imported by a module of its own, loaded only when
        # asked for, so that reading a record needs nothing but numpy.
        return importlib.import_module(f"surefoot.record.export_{to}").write
    except ModuleNotFoundError as error:
        raise RecordError(
            f"exporting to {to} needs the package {error.name!r}, which is not "
            f"installed; pip install 'surefoot[{to}]'"
        ) from error


def _write_csv(blocks: Iterator[Series], out: Path) -> None:
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for block in blocks:
            steps = block.steps.tolist()
            for index, layer in enumerate(block.layers):
                table.writerows(
                    (block.stream, block.quantity, layer, step, value)
                    for step, value in zip(
                        steps, map(str, block.values[:, index]), strict=True
                    )
                )
