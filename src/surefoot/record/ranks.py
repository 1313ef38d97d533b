"""The records of all ranks of one distributed run come in, one series goes out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from surefoot.record.reader import RecordReader, UnknownQuantityError
from surefoot.record.rows import merged_blocks
from surefoot.record.schema import SUFFIX, RecordError
from surefoot.types import Series

_RANK = re.compile(r"\.rank(\d+)\.surefoot$")


def rank_files(path: str | Path) -> dict[int, Path]:
    """The records of one run by rank, in order, from the path of any of them."""
    path = Path(path)
    stem = _RANK.sub("", path.name).removesuffix(SUFFIX)
    first = path.with_name(stem + SUFFIX)
    found = {0: first} if first.is_file() else {}
    for other in path.parent.glob("*" + SUFFIX):
        match = _RANK.search(other.name)
        if match and other.name == f"{stem}.rank{match[1]}{SUFFIX}":
            found[int(match[1])] = other
    return dict(sorted(found.items()))


def merged(path: str | Path, quantity: str, stream: str = "main") -> Series:
    """A quantity over all ranks of the run at `path`.

    Layers of rank k are named `<layer>@rank<k>`; steps are those of all ranks, NaN
    where a rank has no reading. Ranks that did not record the quantity are left
    out; a run of one rank keeps its plain names.

    Raises:
        RecordError: a file cannot be read, or no rank recorded the quantity.
    """
    files = rank_files(path) or {0: Path(path)}
    found, missing = _by_rank(files, quantity, stream)
    if not found:
        raise missing or RecordError(f"there is no record at {path}")
    if len(files) == 1:
        return next(iter(found.values()))
    return merged_blocks(
        quantity,
        stream,
        [
            (
                tuple(f"{layer}@rank{rank}" for layer in series.layers),
                series.steps,
                series.values,
            )
            for rank, series in found.items()
        ],
    )


def _by_rank(
    files: Mapping[int, Path], quantity: str, stream: str
) -> tuple[dict[int, Series], UnknownQuantityError | None]:
    found: dict[int, Series] = {}
    missing: UnknownQuantityError | None = None
    for rank, file in files.items():
        with RecordReader(file) as reader:
            try:
                found[rank] = reader.series(quantity, stream)
            except UnknownQuantityError as error:
                missing = missing or error
    return found, missing
