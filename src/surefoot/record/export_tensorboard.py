"""Blocks come in, TensorBoard event files go out; needs tensorboard, no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import tensorboard.compat.proto.event_pb2 as event_proto
import tensorboard.compat.proto.summary_pb2 as summary_proto
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from surefoot.types import Series

# tensorboard comes without types.
_Event = cast(Any, event_proto).Event
_Summary = cast(Any, summary_proto).Summary
_Writer = cast(Any, EventFileWriter)


def write(blocks: Iterator[Series], out: Path) -> None:
    """Write every reading as a scalar; one run a stream, tags `quantity/layer`.

    TensorBoard shows layers of one quantity in one group. The wall time of an event
    is its step, in seconds: the record keeps no clock of each reading.

    Raises:
        OSError: `out` cannot be written.
    """
    writers: dict[str, Any] = {}
    try:
        for block in blocks:
            if block.stream not in writers:
                writers[block.stream] = _Writer(str(out / _folder_name(block.stream)))
            for event in _events(block):
                writers[block.stream].add_event(event)
    finally:
        for writer in writers.values():
            writer.close()


def _events(block: Series) -> Iterator[Any]:
    tags = [f"{block.quantity}/{layer}" for layer in block.layers]
    for step, readings in zip(block.steps.tolist(), block.values.tolist(), strict=True):
        scalars = [
            _Summary.Value(tag=tag, simple_value=value)
            for tag, value in zip(tags, readings, strict=True)
        ]
        yield _Event(step=step, wall_time=float(step), summary=_Summary(value=scalars))


def _folder_name(stream: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in stream) or "main"
