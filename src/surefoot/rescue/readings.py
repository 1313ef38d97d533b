"""What a rescue reads of an attempt: its record comes in, updates and losses go out."""

from __future__ import annotations

from surefoot.record.reader import RecordReader


def updates_of(reader: RecordReader) -> int:
    """How many updates the stream with the most of them made."""
    last = [reader.last_step(one) for one in reader.streams()]
    return max((one for one in last if one is not None), default=-1) + 1


def losses_of(reader: RecordReader) -> tuple[float, ...]:
    """The training losses of the first stream that has some, as far as they were told.

    The last update's is missing where the training ended inside of it.
    """
    stream = next((s for s in reader.streams() if reader.has("loss", s)), None)
    if stream is None:
        return ()
    return tuple(float(one) for one in reader.series("loss", stream).values[:, 0])
