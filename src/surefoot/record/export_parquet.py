"""Blocks come in, one Parquet file in long form goes out; needs pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow
import pyarrow.parquet

from surefoot.types import Series

# pyarrow comes without types.
_arrow = cast(Any, pyarrow)
_parquet = cast(Any, pyarrow.parquet)


def write(blocks: Iterator[Series], out: Path) -> None:
    """Write every reading as one row; names are dictionary-encoded, zstd outside.

    Raises:
        OSError: `out` cannot be written.
    """
    name = _arrow.dictionary(_arrow.int32(), _arrow.string())
    schema = _arrow.schema(
        [
            ("stream", name),
            ("quantity", name),
            ("layer", name),
            ("step", _arrow.int64()),
            ("value", _arrow.float32()),
        ]
    )
    with _parquet.ParquetWriter(out, schema, compression="zstd") as file:
        for block in blocks:
            file.write_table(_table(block, schema))


def _table(block: Series, schema: Any) -> Any:
    count, layers = block.values.shape
    columns = [
        _repeated((block.stream,), np.zeros(count * layers, np.int32)),
        _repeated((block.quantity,), np.zeros(count * layers, np.int32)),
        _repeated(block.layers, np.repeat(np.arange(layers, dtype=np.int32), count)),
        _arrow.array(np.tile(block.steps, layers)),
        _arrow.array(block.values.T.reshape(-1)),
    ]
    return _arrow.Table.from_arrays(columns, schema=schema)


def _repeated(names: tuple[str, ...], which: Any) -> Any:
    return _arrow.DictionaryArray.from_arrays(
        _arrow.array(which), _arrow.array(list(names), _arrow.string())
    )
