"""Numbers and texts come in, TensorBoard event files go out; needs tensorboard.

No TensorFlow, and no summary writer of torch's: the files are written directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import tensorboard.compat.proto.event_pb2 as event_proto
import tensorboard.compat.proto.summary_pb2 as summary_proto
import tensorboard.compat.proto.tensor_pb2 as tensor_proto
import tensorboard.compat.proto.tensor_shape_pb2 as shape_proto
import tensorboard.compat.proto.types_pb2 as types_proto
from tensorboard.summary.writer.event_file_writer import EventFileWriter

# tensorboard comes without types.
_Event = cast(Any, event_proto).Event
_Summary = cast(Any, summary_proto).Summary
_Metadata = cast(Any, summary_proto).SummaryMetadata
_Tensor = cast(Any, tensor_proto).TensorProto
_Shape = cast(Any, shape_proto).TensorShapeProto
_STRING: int = cast(Any, types_proto).DT_STRING
_Writer = cast(Any, EventFileWriter)


class EventFile:
    """One run as TensorBoard counts them: a folder with one file.

    Raises:
        OSError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._writer = _Writer(str(folder))

    def scalars(
        self, step: int, values: Mapping[str, float], *, seconds: float
    ) -> None:
        """Write values by their tags; `seconds` is the wall time, since 1970."""
        summary = _Summary(
            value=[
                _Summary.Value(tag=tag, simple_value=value)
                for tag, value in values.items()
            ]
        )
        self._add(step, summary, seconds)

    def text(self, step: int, tag: str, text: str, *, seconds: float) -> None:
        """Write a text, which TensorBoard shows as Markdown."""
        value = _Summary.Value(
            tag=tag,
            metadata=_Metadata(plugin_data=_Metadata.PluginData(plugin_name="text")),
            tensor=_Tensor(
                dtype=_STRING,
                string_val=[text.encode()],
                tensor_shape=_Shape(dim=[_Shape.Dim(size=1)]),
            ),
        )
        self._add(step, _Summary(value=[value]), seconds)

    def flush(self) -> None:
        """Bring what was written to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

    def _add(self, step: int, summary: Any, seconds: float) -> None:
        self._writer.add_event(_Event(step=step, wall_time=seconds, summary=summary))


def folder_name(stream: str) -> str:
    """A stream's name as that of a folder.

    >>> folder_name("critic/1")
    'critic_1'
    """
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in stream) or "main"
