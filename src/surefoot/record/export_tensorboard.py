"""Blocks come in, TensorBoard event files go out; needs tensorboard, no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from surefoot.record.event_files import EventFile, folder_name
from surefoot.types import Series


def write(blocks: Iterator[Series], out: Path) -> None:
    """Write every reading as a scalar; one run a stream, tags `quantity/layer`.

    TensorBoard shows layers of one quantity in one group. The wall time of an event
    is its step, in seconds: the record keeps no clock of each reading.

    Raises:
        OSError: `out` cannot be written.
    """
    files: dict[str, EventFile] = {}
    try:
        for block in blocks:
            if block.stream not in files:
                files[block.stream] = EventFile(out / folder_name(block.stream))
            _write_block(files[block.stream], block)
    finally:
        for file in files.values():
            file.close()


def _write_block(file: EventFile, block: Series) -> None:
    tags = [f"{block.quantity}/{layer}" for layer in block.layers]
    for step, readings in zip(block.steps.tolist(), block.values.tolist(), strict=True):
        values = dict(zip(tags, readings, strict=True))
        file.scalars(step, values, seconds=float(step))
