"""Values to table rows and back: series, events and JSON in, rows with a CRC out.

A row that was altered on disk does not pass its CRC and comes back as None.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from surefoot.record.schema import SEQUENCE_BITS
from surefoot.types import Event, Field, Floats, Series, Steps

Row = tuple[Any, ...]

CHANNEL_KEY = "channel "
"""Keys of `meta` that repeat a row of `channel`: on another page, so that one broken
page does not leave readings without a name."""

SEAL_KEY = "sealed"
"""Key of `meta` that a closed record ends with: how many rows it has, so that a
missing end is noticed. An object of tables and, by channel number, `chunk`."""


def crc_of(*parts: object) -> int:
    """CRC-32 of the parts with their types and lengths, so that none can shift."""
    texts = [repr(part).encode() for part in parts]
    lengths = struct.pack(f"<{len(texts)}I", *map(len, texts))
    return zlib.crc32(b"".join((lengths, *texts)))


# --- JSON -----------------------------------------------------------------------


def encoded(value: Any) -> str:
    """`value` as JSON; dataclasses become objects, strangers their `str`.

    Raises:
        TypeError, ValueError: keys that are no strings or numbers; cycles.

    >>> encoded({"loss": np.float32(0.5), "where": ("net", 3)})
    '{"loss":0.5,"where":["net",3]}'
    """
    text = json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":"))
    # A lone surrogate, as in a file name that is no UTF-8, cannot be stored.
    return text.encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: getattr(value, field.name)
            for field in dataclasses.fields(value)
        }
    if isinstance(value, np.ndarray | np.generic):
        return cast(Any, value.tolist())
    if isinstance(value, Mapping):
        return dict(cast(Mapping[Any, Any], value))
    if isinstance(value, set | frozenset):
        return sorted(cast(Any, value), key=str)
    return str(value)


# --- rows that hold text ----------------------------------------------------------


def meta_row(number: int, key: str, text: str) -> Row:
    """Row of table `meta`; `text` is JSON."""
    return (number, key, text, crc_of("meta", number, key, text))


def channel_row(number: int, stream: str, quantity: str, layers: Sequence[str]) -> Row:
    """Row of table `channel`: one stream, quantity and set of layers."""
    text = encoded(list(layers))
    return (
        number, stream, quantity, text,
        crc_of("channel", number, stream, quantity, text),
    )  # fmt: skip


def event_row(number: int, step: int, stream: str, kind: str, body: str) -> Row:
    """Row of table `event`; `body` is JSON."""
    return (
        number, step, stream, kind, body,
        crc_of("event", number, step, stream, kind, body),
    )  # fmt: skip


def whole(table: str, row: Row) -> bool:
    """Whether a row of that table is as it was written."""
    if table == "chunk":
        return chunk_whole(row)
    if table == "field":
        return field_whole(row)
    return crc_of(table, *row[:-1]) == row[-1]


def event_in(row: Row) -> Event:
    """The event in a row that is whole."""
    return Event(step=row[1], kind=row[3], body=json.loads(row[4]), stream=row[2])


# --- blocks of readings -----------------------------------------------------------


def chunk_row(number: int, steps: Steps, values: Floats) -> Row:
    """Row of table `chunk`: `steps` `[n]` little-endian int64, `values` `[n, L]`.

    Evenly spaced steps are not stored: first, last and count say it all.
    """
    count, first, last = len(steps), int(steps[0]), int(steps[-1])
    even = evenly(first, last, count)
    listed = None if np.array_equal(even, steps) else steps.tobytes()
    blob = values.tobytes()
    return (
        number, first, last, count, listed, blob,
        _chunk_crc(number, first, last, count, listed, blob),
    )  # fmt: skip


def evenly(first: int, last: int, count: int) -> Steps:
    """`count` evenly spaced steps from `first`, as near to `last` as they come."""
    stride = (last - first) // (count - 1) if count > 1 else 1
    return first + stride * np.arange(count, dtype=np.int64)


def chunk_whole(row: Row) -> bool:
    """Whether a row of `chunk` is as it was written."""
    number, first, last, count, listed, blob, crc = row
    try:
        return _chunk_crc(number, first, last, count, listed, blob) == crc
    except (TypeError, struct.error):
        return False


def readings_in(row: Row, layers: int) -> tuple[Steps, Floats] | None:
    """Steps `[n]` and values `[n, layers]` of a whole row; None if of other layers."""
    count, blob = row[3], row[5]
    if len(blob) != 4 * count * layers:
        return None
    return _steps_in(row), np.frombuffer(blob, dtype="<f4").reshape(count, layers)


def all_readings_in(rows: Sequence[Row], layers: int) -> tuple[Steps, Floats]:
    """Those of many whole rows, one after the other; rows of other layers left out."""
    fitting = [row for row in rows if len(row[5]) == 4 * row[3] * layers]
    blob = b"".join([row[5] for row in fitting])
    values = np.frombuffer(blob, dtype="<f4").reshape(-1, layers)
    if any(row[4] is not None for row in fitting):
        steps = [_steps_in(row) for row in fitting]
        return np.concatenate(steps), values
    bounds = np.array([row[1:4] for row in fitting], np.int64).reshape(-1, 3)
    first, last, count = bounds.T
    stride = np.where(count > 1, (last - first) // np.maximum(count - 1, 1), 1)
    nth = np.arange(len(values)) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(first, count) + np.repeat(stride, count) * nth, values


def _steps_in(row: Row) -> Steps:
    if row[4] is None:
        return evenly(row[1], row[2], row[3])
    return np.frombuffer(row[4], dtype="<i8")


def chunk_number(channel: int, sequence: int) -> int:
    """The id of the block `sequence` of a channel."""
    return (channel << SEQUENCE_BITS) + sequence


def _chunk_crc(
    number: int, first: int, last: int, count: int, listed: bytes | None, blob: bytes
) -> int:
    even = listed is None
    head = struct.pack("<qqqq?", number, first, last, count, even)
    return zlib.crc32(blob, zlib.crc32(head if even else head + listed))


def no_readings(quantity: str, stream: str, layers: tuple[str, ...]) -> Series:
    """A series of no steps at all."""
    steps, values = np.empty(0, np.int64), np.empty((0, len(layers)), np.float32)
    return Series(quantity, layers, steps, values, stream)


# --- fields -----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class FieldText:
    """What a field is beside its numbers; `axes` and `about` are JSON."""

    step: int
    stream: str
    kind: str
    axes: str
    about: str


def field_row(number: int, text: FieldText, values: Floats) -> Row:
    """Row of table `field`; `values` are little-endian float32, row-major."""
    row = (
        number, text.step, text.stream, text.kind, text.axes, text.about,
        values.tobytes(),
    )  # fmt: skip
    return (*row, _field_crc(row))


def field_whole(row: Row) -> bool:
    """Whether a row of `field` is as it was written."""
    return isinstance(row[6], bytes) and _field_crc(row[:-1]) == row[-1]


def field_in(row: Row) -> Field | None:
    """The field in a row that is whole; None if its axes do not fit its numbers."""
    _, step, stream, kind, axes, about, blob, _ = row
    named = dict(json.loads(axes))
    shape = [len(ticks) for ticks in named.values()]
    if len(blob) != 4 * math.prod(shape):
        return None
    values = np.frombuffer(blob, dtype="<f4").reshape(shape)
    return Field(step, kind, named, values, stream, json.loads(about))


def _field_crc(row: Row) -> int:
    return zlib.crc32(row[6], crc_of("field", *row[:6]))


# --- merging ----------------------------------------------------------------------


def merged_blocks(
    quantity: str, stream: str, parts: Sequence[tuple[tuple[str, ...], Steps, Floats]]
) -> Series:
    """One series from parts `(layers, steps [n], values [n, L])` in written order.

    Layers are those of all parts in order of appearance, NaN where a part lacks
    one. Steps are sorted; of a step that was written twice the later reading
    stays, layer by layer.
    """
    layers = tuple(dict.fromkeys(name for part in parts for name in part[0]))
    if all(part[0] == layers for part in parts):
        steps = np.concatenate([part[1] for part in parts])
        if bool(np.all(steps[1:] > steps[:-1])):
            values = np.concatenate([part[2] for part in parts])
            return Series(quantity, layers, steps, values, stream)
    steps = np.unique(np.concatenate([part[1] for part in parts]))
    values = np.full((len(steps), len(layers)), np.nan, dtype=np.float32)
    place = {name: index for index, name in enumerate(layers)}
    for names, some, block in parts:
        columns = np.array([place[name] for name in names], dtype=np.intp)
        values[np.searchsorted(steps, some)[:, None], columns] = block
    return Series(quantity, layers, steps, values, stream)
