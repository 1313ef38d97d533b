"""A record, diagnoses and verdicts come in, the page's data goes out: JSON values.

The front end's `web/src/data.ts` describes the same values. A report carries all
that it shows; a page that a server hands out carries what is seen first, and asks
for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from surefoot.diagnosis.in_use import seen
from surefoot.record.replays import Replayed, replays_of
from surefoot.record.rescues import Rescued, rescues_of
from surefoot.report.batches import outstanding
from surefoot.report.fields import carried_fields, field_offers
from surefoot.report.packing import (
    Json,
    Names,
    jsonable,
    packed,
    shortened,
)
from surefoot.report.panels import (
    COLUMNS,
    POINTS,
    Query,
    Record,
    accused,
    panel,
)
from surefoot.report.pictures import MAPS, Picture, offered
from surefoot.report.words import technique_text
from surefoot.types import Diagnosis, Event, Facts, Panel, Verdict

FORMAT = 2
"""Raised whenever a page of before could not read what is written now."""

_EVENTS = 2_000
_REPLAYS = 3
"""The latest: each holds the losses of some twenty branches."""
_MODULES = 500


@dataclass(frozen=True, slots=True)
class Judged:
    """How far the diagnosis is: whether it saw the whole run, and a plain sentence.

    `steps` is how many were looked at; None while none were.
    """

    state: Literal["final", "so_far", "pending", "failed"]
    steps: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Carried:
    """How much a page carries: columns of a map, how many maps, and the rest.

    With `all` false the details of accused layers and fields are left to be asked
    for.
    """

    columns: int = COLUMNS
    maps: int = len(MAPS)
    all: bool = True


WHOLE = Carried()
FIRST = Carried(maps=1, all=False)
"""What is seen first, for a page whose server has the rest."""


def contents(
    record: Record,
    diagnoses: Sequence[Diagnosis],
    verdicts: Sequence[Verdict] = (),
    *,
    judged: Judged | None = None,
    carried: Carried = WHOLE,
) -> dict[str, Json]:
    """Everything that the page shows of one run, as JSON values.

    Args:
        record: The run.
        diagnoses: Ranked, the likeliest cause first.
        verdicts: Of the remedies that were tried.
        judged: How far the diagnosis is; None where it has just been made.
        carried: How much of the record the page carries along.
    """
    names = Names()
    facts = record.facts()
    streams = [
        _stream(
            record, diagnoses, facts.get(name, Facts(stream=name)), carried, names=names
        )
        for name in record.streams()
    ]
    said = told(record, diagnoses, verdicts, judged=judged)
    events = said.pop("events")
    return {
        "format": FORMAT,
        **said,
        "looked_at": _looked_at(record),
        "names": names.listed(),
        "streams": [stream for stream, _ in streams],
        "events": events[:_EVENTS],
        "left_out": _left_out(
            len(events), [record.damage, *(text for _, text in streams)]
        ),
    }


def told(
    record: Record,
    diagnoses: Sequence[Diagnosis],
    verdicts: Sequence[Verdict] = (),
    *,
    judged: Judged | None = None,
    events_from: int = 0,
) -> dict[str, Json]:
    """All that is told in words: run, judged, diagnoses, what was tried, events.

    Events from number `events_from` on; VerdictAnswer of the page but for that
    number itself. Replays and rescues are those that lie beside the record.
    """
    events = record.events()
    run = run_facts(record, events)
    at_hand = judged or just_judged(record)
    return {
        "run": run,
        "judged": jsonable(asdict(at_hand)),
        "diagnoses": [jsonable(asdict(one)) for one in diagnoses],
        "verdicts": [jsonable(asdict(one)) for one in verdicts],
        "replays": [_replayed(one) for one in replays_of(record.path)[-_REPLAYS:]],
        "rescues": [_rescued(one) for one in rescues_of(record.path)[-1:]],
        "events": [_event(one) for one in events[events_from:]],
    }


def _replayed(told: Replayed) -> dict[str, Json]:
    """Without the digits of losses that no picture shows: a report is small."""
    body = asdict(told)
    body["recorded"] = _short(told.recorded)
    for row, branch in zip(body["branches"], told.branches, strict=True):
        row["losses"] = _short(branch.losses)
    return {key: jsonable(value) for key, value in body.items()}


def _rescued(told: Rescued) -> dict[str, Json]:
    """Likewise of a rescue."""
    body = asdict(told)
    for row, attempt in zip(body["attempts"], told.attempts, strict=True):
        row["losses"] = _short(attempt.losses)
    return {key: jsonable(value) for key, value in body.items()}


def _short(losses: Sequence[float]) -> list[float]:
    return [float(f"{loss:.4g}") for loss in losses]


def _event(event: Event) -> dict[str, Json]:
    """Without the deep copy that `asdict` makes: a long run has thousands."""
    return {
        "step": event.step,
        "kind": shortened(event.kind),
        "body": jsonable(event.body),
        "stream": shortened(event.stream),
    }


def just_judged(record: Record, note: str = "") -> Judged:
    """How far a diagnosis is that has just been made; `note` says what it left out."""
    last = [record.last_step(stream) for stream in record.streams()]
    steps = max((step + 1 for step in last if step is not None), default=0)
    return Judged("so_far" if record.status() == "running" else "final", steps, note)


def panel_answer(
    record: Record, query: Query, diagnoses: Sequence[Diagnosis] = ()
) -> dict[str, Json]:
    """One panel with the names that it uses: PanelAnswer of the page.

    Raises:
        KeyError: there is no such panel, or no such layer in it.
    """
    names = Names()
    made = panel(record, query, diagnoses)
    body = None if made is None else packed(made, names)
    return {"names": names.listed(), "panel": body}


def run_facts(record: Record, events: Sequence[Event]) -> dict[str, Json]:
    """What the page says of the run itself: Run of the page."""
    meta = record.meta
    last = [record.last_step(stream) for stream in record.streams()]
    errors = [one.body.get("error", "") for one in events if one.kind == "end"]
    versions = meta.get("versions")
    argv = meta.get("argv")
    return {
        "name": record.path.stem,
        "created": shortened(str(meta.get("created", ""))),
        "script": shortened(str(meta.get("script", ""))),
        "argv": jsonable(argv if isinstance(argv, list) else []),
        "status": record.status(),
        "error": shortened(str(errors[-1] or "")) if errors else "",
        "steps": max((step + 1 for step in last if step is not None), default=0),
        "versions": jsonable(versions if isinstance(versions, Mapping) else {}),
    }


def _looked_at(record: Record) -> list[str]:
    found = [name for stream in record.streams() for name in record.quantities(stream)]
    return list(dict.fromkeys(found))


def _stream(
    record: Record,
    diagnoses: Sequence[Diagnosis],
    facts: Facts,
    carried: Carried,
    *,
    names: Names,
) -> tuple[dict[str, Json], str]:
    """One stream's data, and a sentence about what was left out ("" if nothing)."""
    stream = facts.stream
    own = [one for one in diagnoses if one.stream == stream]
    offers = offered(record.quantities(stream))
    found, dropped = _panels(record, own, stream, carried)
    body = {
        "name": stream,
        "facts": _facts(facts)
        | {"techniques": [technique_text(one) for one in seen(record, stream)]},
        "offers": [
            {"name": one.name, "title": one.title, "kind": one.kind} for one in offers
        ],
        "panels": {name: packed(one, names) for name, one in found.items()},
        "details": _details(record, own, found, names) if carried.all else [],
        "field_offers": field_offers(record, stream, whole=carried.all),
        "fields": carried_fields(record, own, stream) if carried.all else [],
        "batches": [jsonable(asdict(one)) for one in outstanding(record, stream)],
    }
    if not dropped or not carried.all:
        return body, ""
    return body, (
        f"To keep this page small it leaves out the maps of {', '.join(dropped)} "
        f"(stream {stream}); the record holds them."
    )


def _panels(
    record: Record, own: Sequence[Diagnosis], stream: str, carried: Carried
) -> tuple[dict[str, Panel], list[str]]:
    """The panels that a page carries by name, and titles of maps left out."""
    first = [one for one in offered(record.quantities(stream)) if one.first]
    lines = [one for one in first if one.kind == "line"]
    maps = [one for one in first if one.kind == "heatmap"]
    if carried.maps < len(maps):
        maps = sorted(maps, key=lambda one: not _telling(one, own))
    found: dict[str, Panel] = {}
    for picture in (*lines, *maps[: carried.maps]):
        points = POINTS if picture.kind == "line" else carried.columns
        made = panel(record, Query(picture.name, stream, points=points), own)
        if made is not None:
            found[picture.name] = made
    return found, [one.title.lower() for one in maps[carried.maps :]]


def _telling(picture: Picture, own: Sequence[Diagnosis]) -> bool:
    """Whether the evidence of the first diagnosis names it."""
    evidence = (
        [one for finding in own[0].findings for one in finding.evidence] if own else []
    )
    return any(picture.name in one.series for one in evidence)


def _left_out(events: int, texts: Sequence[str | None]) -> list[str]:
    """What the page cannot show and why, in sentences."""
    told = [shortened(text) for text in texts if text]
    if events > _EVENTS:
        told.append(f"The first {_EVENTS} of {events} events are listed.")
    return told


def _facts(facts: Facts) -> dict[str, Json]:
    return {
        "model": shortened(facts.model),
        "optimizer": shortened(facts.optimizer),
        "options": jsonable(facts.options),
        "parameters": sum(one.size for one in facts.parameters),
        "trainable": sum(one.size for one in facts.parameters if one.trainable),
        "tensors": len(facts.parameters),
        "modules": [
            {
                "name": shortened(one.name),
                "kind": shortened(one.kind),
                "settings": jsonable(one.settings),
            }
            for one in facts.modules[:_MODULES]
        ],
        "unseen": jsonable(facts.unseen),
    }


def _details(
    record: Record,
    diagnoses: Sequence[Diagnosis],
    found: Mapping[str, Panel],
    names: Names,
) -> list[dict[str, Json]]:
    """The accused layers' own lines, where the map's bins hold several readings."""
    out: list[dict[str, Json]] = []
    for name, drawn in found.items():
        if drawn.kind != "heatmap":
            continue
        for layer in accused(diagnoses, drawn.y)[:3]:
            query = Query(name, diagnoses[0].stream, layer=layer)
            own = panel(record, query)
            if own is not None and len(own.x) > len(drawn.x):
                shown = packed(own, names)
                out.append(
                    {"quantity": name, "layer": names.index(layer), "panel": shown}
                )
    return out
