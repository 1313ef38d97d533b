"""The record of a run comes in, what its autopilot did goes out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from surefoot.record.reader import RecordReader
from surefoot.types import Event


def actions(record: Path | None) -> list[str]:
    """One line for every change and word of the autopilot, in order."""
    if record is None:
        return []
    with RecordReader(record) as reader:
        events = reader.events()
    return [line for event in events if (line := _line(event))]


def counted(record: Path | None) -> Counter[str]:
    """How often it did what."""
    return Counter(line.partition(":")[0] for line in actions(record))


def _line(event: Event) -> str:
    body = event.body
    if event.kind == "change":
        what = f"{body['knob']} {body['op']}"
        return f"{what}: step {event.step}, {body['after']}, {body['why']}"
    if event.kind == "autopilot":
        return f"{body.get('what')}: step {event.step}, {body.get('why')}"
    return ""
