"""`surefoot watch-live`: a record that grows comes in, a view or lines of JSON go out.

Reads the record only: the run may belong to another process, or have ended.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from surefoot.diagnosis.examine import examine
from surefoot.diagnosis.stored import last_word
from surefoot.record.folder import name_of
from surefoot.record.reader import RecordReader
from surefoot.report.deeds import deed_line, deeds
from surefoot.report.live import (
    FOLLOWED,
    Live,
    Outstanding,
    after,
    alarm_text,
    live_json,
    live_lines,
    outstanding,
    plain_line,
)
from surefoot.report.words import clean, counted, headline
from surefoot.signatures.network import weights
from surefoot.terminal.view import View, manner_of
from surefoot.types import Diagnosis

POLL_SECONDS = 0.5
REST = 20.0
"""It rests twenty times as long as it worked: 5 % of one core at most."""

Tell = Callable[[Live, Sequence[Outstanding], str], None]


def watch_live(path: Path, stream: IO[str], *, as_json: bool) -> list[Diagnosis]:
    """Show a run on a stream until it has ended, and then what was found in it.

    Raises:
        RecordError: the record cannot be read.
    """
    view = View(stream, manner_of(stream, os.environ))
    tell = shown_as_json(view.line) if as_json else shown_on(view)
    try:
        live = follow(path, tell, wait=time.sleep)
    finally:
        view.clear()
    with RecordReader(path) as reader:
        told, status = last_word(reader), reader.status()
        found = examine(reader) if told is None else told
    if as_json:
        view.line(json_line(_ended(live, status, found)))
    else:
        view.line(_verdict(live, status, found))
    return found


def _verdict(live: Live, status: str, found: Sequence[Diagnosis]) -> str:
    """How the run ended and what was found, the likeliest cause first."""
    head = f"{status} after {counted(live.step + 1, 'step')}"
    if not found:
        return f"{head}: nothing wrong found"
    told = "".join(f"\n  {clean(headline(one))}" for one in found)
    return f"{head}:{told}\nmore: surefoot diagnose {live.name}"


def _ended(live: Live, status: str, found: Sequence[Diagnosis]) -> dict[str, Any]:
    return {
        "run": live.name,
        "status": status,
        "found": [
            {
                "cause": one.cause,
                "stream": one.stream,
                "layer": one.layer,
                "onset": one.onset,
                "confidence": one.confidence,
            }
            for one in found
        ],
    }


def follow(path: Path, tell: Tell, *, wait: Callable[[float], None]) -> Live:
    """Tell what is new in a record, again and again, until its run has ended.

    `tell` is given what is known, the layers that stand out, and the status of the
    run; `wait` the seconds to rest before the next look.

    Raises:
        RecordError: the record cannot be read.
    """
    live = Live(name_of(path))
    while True:
        start = time.thread_time()
        with RecordReader(path) as reader:
            status = reader.status()
            live = caught_up(live, reader)
            known = {name: weights(one) for name, one in reader.facts().items()}
        tell(live, outstanding(live, known), status)
        if status != "running":
            return live
        wait(max(POLL_SECONDS, REST * (time.thread_time() - start)))


def caught_up(live: Live, reader: RecordReader) -> Live:
    """What is known after all that was recorded since."""
    for stream in reader.streams():
        recorded = reader.quantities(stream)
        for quantity in (one for one in FOLLOWED if one in recorded):
            course = live.courses.get(stream)
            start = 0 if course is None else course.seen.get(quantity, -1) + 1
            if quantity != "loss":  # of the others only the newest is shown
                start = max(start, reader.last_step(stream, quantity) or 0)
            for block in reader.blocks(quantity, stream, start=start):
                live = after(live, block)
    events = reader.events()
    alarms = tuple(alarm_text(one) for one in events if one.kind == "finding")
    return replace(live, alarms=alarms, done=tuple(map(deed_line, deeds(events))))


def shown_on(view: View) -> Tell:
    """Tell by a view; each alarm and each deed gets a line of its own, once."""
    told: list[str] = []
    done: list[str] = []

    def tell(live: Live, standing: Sequence[Outstanding], status: str) -> None:
        manner = view.manner
        for alarm in live.alarms[len(told) :]:
            told.append(alarm)
            view.keep(f"surefoot: {alarm}")
        for line in live.done[len(done) :]:
            done.append(line)
            view.keep(f"surefoot: {line}")
        plain = plain_line(live, width=view.width, ascii_only=manner.ascii_only)
        lines = live_lines(
            live,
            width=view.width,
            standing=standing,
            colour=manner.colour,
            ascii_only=manner.ascii_only,
        )
        if status == "running":
            view.show(lines, plain)
        else:  # the last state stays
            view.clear()
            for line in lines if manner.drawing else [plain]:
                view.keep(line)

    return tell


def shown_as_json(put: Callable[[str], None]) -> Tell:
    """Tell by one JSON object a line, whenever something is new."""
    last: list[str] = [""]

    def tell(live: Live, standing: Sequence[Outstanding], status: str) -> None:
        text = json_line({**live_json(live, standing), "status": status})
        if text != last[0]:
            last[0] = text
            put(text)

    return tell


def json_line(value: Mapping[str, Any]) -> str:
    """Strict JSON in one line: what is not finite becomes null."""
    return json.dumps(strict(value), allow_nan=False)


def strict(value: Any) -> Any:
    """A value as strict JSON has it: what is not finite becomes null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): strict(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [strict(inner) for inner in value]
    return value
