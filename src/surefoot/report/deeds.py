"""What was done to a run: its events come in, rows and plain text go out.

Changes that were carried out and taken back, advice and questions, incidents that were
kept. Several of one kind in a row that differ in their numbers alone are one row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from surefoot.report.text import Tone, paragraph
from surefoot.report.words import clean, counted, number, sentence, spaced
from surefoot.types import Event

Kind = Literal["done", "said", "undone", "advised", "kept"]

KINDS: Mapping[str, Kind] = {
    "change": "done",
    "undo": "undone",
    "autopilot": "said",
    "advice": "advised",
    "question": "advised",
    "answer": "said",
    "incident": "kept",
}
"""Events that tell what was done, and what kind of deed they are."""

FIRST, LAST = 6, 6
"""Rows of a text that are told; those between are counted."""

_UPDATES: Mapping[str, str] = {
    "step scale": "step size",
    "step cap": "longest update",
    "step skip": "update skipped",
    "gradient scale": "gradient clipped",
    "state restore": "earlier state put back",
}
"""What the autopilot does to single updates, in words."""


SINGLE = (_UPDATES["step skip"], _UPDATES["gradient scale"])
NEAR = 3
"""Updates are skipped and clipped in turn: such a row may lie a few rows back."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was done, said or advised, at a step or over several."""

    step: int
    last: int
    kind: Kind
    what: str
    before: str = ""
    after: str = ""
    why: str = ""
    count: int = 1
    undone: int | None = None
    """The step at which it was taken back."""


def deeds(events: Iterable[Event]) -> list[Deed]:
    """What was done, in the order of the record.

    >>> body = {"knob": "lr", "op": "scale", "before": "lr × 1", "after": "lr × 0.5"}
    >>> [one] = deeds([Event(7, "change", body)])
    >>> one.what, one.before, one.after
    ('learning rate', 'lr × 1', 'lr × 0.5')
    """
    found: list[Deed] = []
    for event in events:
        deed = deed_of(event)
        if deed is None:
            continue
        if deed.kind == "undone":
            found = _marked(found, event)
        at = _place(found, deed)
        if at is None:
            found.append(deed)
        else:
            more = found[at].count + 1
            found[at] = replace(found[at], last=deed.step, count=more, after=deed.after)
    return found


def deed_of(event: Event) -> Deed | None:
    """One event as a deed; None where nothing was done."""
    kind = KINDS.get(event.kind)
    if kind is None:
        return None
    body = event.body
    made = Deed(event.step, event.step, kind, "", why=_text(body, "why"))
    match event.kind:
        case "change":
            before, after = _text(body, "before"), _text(body, "after")
            return replace(made, what=_changed(body), before=before, after=after)
        case "undo":
            name = spaced(_text(body, "remedy") or _text(body, "knob"))
            before, after = _level(body, "before"), _level(body, "after")
            return replace(made, what=f"taken back: {name}", before=before, after=after)
        case "autopilot":
            return replace(made, what=f"autopilot: {_text(body, 'what')}")
        case "answer":
            by = _text(body, "by")
            what = f"answer to a question: {_text(body, 'answer')}"
            return replace(made, what=what, why=by and f"by {by}")
        case "incident":
            name = re.split(r"[\\/]", _text(body, "path"))[-1]
            why = _text(body, "reason")
            return replace(made, what="incident kept", after=name, why=why)
        case _:
            asked = "asked" if event.kind == "question" else "advised"
            layer = _text(body, "layer")
            place = "the whole run" if layer in ("run", "") else layer
            why = f"{spaced(_text(body, 'cause'))} in {place}"
            return replace(made, what=f"{asked}: {_remedy(body)}", why=why)


def deed_line(deed: Deed) -> str:
    """One deed as a sentence.

    >>> deed_line(Deed(7, 7, "done", "learning rate", "lr × 1", "lr × 0.5", "a spike"))
    'step 7: learning rate: lr × 1 → lr × 0.5 (a spike)'
    """
    steps = (
        f"{deed.step:,}" if deed.last == deed.step else f"{deed.step:,}–{deed.last:,}"
    )
    times = f" × {deed.count:,}" if deed.count > 1 else ""
    values = " → ".join(filter(None, (deed.before, deed.after)))
    why = f" ({deed.why})" if deed.why else ""
    undone = "" if deed.undone is None else f"; undone at step {deed.undone:,}"
    told = f"step {steps}: {deed.what}{times}" + (f": {values}" if values else "")
    return clean(f"{told}{why}{undone}").replace("\n", " ")


def deeds_text(
    events: Iterable[Event], *, width: int = 80, colour: bool = False
) -> str:
    """What was done to a run, as a section of text; "" where nothing was."""
    rows = deeds(events)
    if not rows:
        return ""
    head = paragraph("What was done", "  ", width, tone=_tone(colour, "strong"))
    told = ["", head]
    cut = len(rows) - FIRST - LAST
    shown = rows if cut <= 1 else [*rows[:FIRST], *rows[-LAST:]]
    for at, row in enumerate(shown):
        if cut > 1 and at == FIRST:
            told.append(f"    … and {counted(cut, 'row')} more; the report lists all")
        tone = _tone(colour, _TONES[row.kind])
        line = deed_line(row)
        told.append(paragraph(line, "      ", width, tone=tone, first="    · "))
    return "\n".join(told)


_TONES: Mapping[Kind, Tone | None] = {
    "done": "act",
    "undone": "warning",
    "kept": "info",
    "said": "soft",
    "advised": None,
}


def _tone(colour: bool, tone: Tone | None) -> Tone | None:
    return tone if colour else None


def _changed(body: Mapping[str, Any]) -> str:
    """The knob in words, and where it was turned."""
    knob, op = _text(body, "knob"), _text(body, "op")
    known = _UPDATES.get(f"{knob} {op}")
    if known is not None:
        return known
    layers = body.get("layers")
    where = "" if knob == "penalty" or not isinstance(layers, list) else _named(layers)
    return ("learning rate" if knob == "lr" else spaced(knob)) + where


def _named(layers: Sequence[Any]) -> str:
    return f" in {', '.join(map(str, layers[:3]))}" if layers else ""


def _remedy(body: Mapping[str, Any]) -> str:
    return sentence(_text(body, "remedy")).lower()


def _level(body: Mapping[str, Any], key: str) -> str:
    """A loss as it was before or after; a text as it is."""
    value = body.get(key)
    if isinstance(value, int | float):
        return f"loss {number(value)}"
    return _text(body, key)


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if isinstance(value, float):
        return number(value)
    return "" if value is None else str(value)


def _marked(found: Sequence[Deed], undo: Event) -> list[Deed]:
    """The deeds that an undo speaks of, marked with its step."""
    began = undo.body.get("began", undo.body.get("of"))
    return [
        replace(one, undone=undo.step)
        if one.kind == "done" and one.undone is None and one.step == began
        else one
        for one in found
    ]


_NUMBERS = re.compile(r"[\d.,e+-]+")


def _place(found: Sequence[Deed], deed: Deed) -> int | None:
    """The row that a deed belongs to: the last one, or for updates a near one."""
    first = max(0, len(found) - (NEAR if deed.what in SINGLE else 1))
    rows = range(len(found) - 1, first - 1, -1)
    return next((at for at in rows if alike(found[at], deed)), None)


def alike(one: Deed, other: Deed) -> bool:
    """Whether two deeds in a row differ in their numbers alone."""
    same = one.kind == other.kind == "done" and one.what == other.what
    bare = (_NUMBERS.sub("#", one.why), _NUMBERS.sub("#", other.why))
    return same and one.undone is None and bare[0] == bare[1]
