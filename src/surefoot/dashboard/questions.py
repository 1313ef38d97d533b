"""The text of a request's query comes in, frozen questions go out, or a plain refusal.

Numbers are whole and bounded, each parameter comes once at most, and one that is not
known is refused: a typing error in an address is told, not passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from surefoot.report.panels import POINTS, Query

MOST_STEPS = 2**62
POINTS_COMPARED = 500
MOST_WIDTH = 2**40
MOST_RUNS = 500
"""Of one comparison: more lines than these say nothing."""

Pairs = Sequence[tuple[str, str]]


class QuestionError(ValueError):
    """A query that is not understood; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class FieldQuestion:
    """A field of one kind, of all layers or one; the nearest at or before `step`.

    `title` is the one that the page was told: it tells several at one step apart.
    """

    kind: str
    stream: str = "main"
    step: int | None = None
    layer: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Comparing:
    """One quantity of several runs, on so many points a line."""

    runs: tuple[str, ...]
    quantity: str
    points: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A person's answer to a question of a run."""

    question: int
    answer: str


def answered(body: bytes) -> Answered:
    """What a page sends to `/api/run/NAME/answer`.

    Raises:
        QuestionError: it is not understood.

    >>> answered(b'{"question": 2, "answer": "yes"}').question
    2
    """
    try:
        told: Any = json.loads(body)
    except ValueError as error:
        raise QuestionError(f"an answer came that is no JSON ({error})") from error
    match told:
        case {"question": int(question), "answer": "yes" | "no" as answer, **more} if (
            not more and not isinstance(question, bool) and 0 < question < MOST_STEPS
        ):
            return Answered(question, answer)
        case _:
            raise QuestionError(
                f"an answer came as {str(told)[:100]!r}; expected such as "
                '{"question": 1, "answer": "yes"}'
            )


def panel_query(pairs: Pairs) -> Query:
    """The question of `/api/run/NAME/panel`; `start` is moved down to a bin's own.

    Raises:
        QuestionError: something in it is not understood.

    >>> panel_query([("name", "loss"), ("start", "8"), ("width", "4")]).width
    4
    """
    told = _once(pairs, _names(Query))
    width = _power_of_two(told, "width")
    start, stop = _steps(told, "start"), _steps(told, "stop")
    if start is not None and stop is not None and stop <= start:
        raise QuestionError(
            f"stop is {stop} and start is {start}; expected a stop above the start"
        )
    return Query(
        name=_needed(told, "name", "a panel, such as loss or grad_norm"),
        stream=told.get("stream", "main"),
        start=start if start is None or width is None else start // width * width,
        stop=stop,
        points=_whole(told, "points", 2, POINTS),
        width=width,
        layer=told.get("layer"),
    )


def field_question(pairs: Pairs) -> FieldQuestion:
    """The question of `/api/run/NAME/field`.

    Raises:
        QuestionError: something in it is not understood.
    """
    told = _once(pairs, _names(FieldQuestion))
    return FieldQuestion(
        kind=_needed(told, "kind", "a kind of field, such as grad_histogram"),
        stream=told.get("stream", "main"),
        step=_steps(told, "step"),
        layer=told.get("layer"),
        title=told.get("title"),
    )


def comparing(pairs: Pairs) -> Comparing:
    """The question of `/api/compare`, where `run` may come many times.

    Raises:
        QuestionError: something in it is not understood.
    """
    runs = tuple(dict.fromkeys(value for key, value in pairs if key == "run"))
    told = _once([one for one in pairs if one[0] != "run"], ("quantity", "points"))
    if not 1 <= len(runs) <= MOST_RUNS:
        raise QuestionError(
            f"{len(runs)} runs came; expected 1 to {MOST_RUNS}; name them as in "
            "?run=A&run=B"
        )
    points = _whole(told, "points", 2, POINTS)
    return Comparing(runs, told.get("quantity") or "loss", points or POINTS_COMPARED)


def events_from(pairs: Pairs) -> int:
    """The question of `/api/run/NAME/verdict`: the number of the first event wanted.

    Raises:
        QuestionError: something in it is not understood.
    """
    return _steps(_once(pairs, ("events_from",)), "events_from") or 0


def followed(pairs: Pairs) -> str | None:
    """The question of `/api/news`: the run to follow, None for the list of runs.

    Raises:
        QuestionError: something in it is not understood.
    """
    return _once(pairs, ("run",)).get("run")


def nothing(pairs: Pairs) -> None:
    """The question where there is none to ask.

    Raises:
        QuestionError: something was asked.
    """
    _once(pairs, ())


def _names(kind: type[Query] | type[FieldQuestion]) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind))


def _once(pairs: Pairs, known: Sequence[str]) -> Mapping[str, str]:
    """The parameters by name."""
    told = dict(pairs)
    for name in told:
        if name not in known:
            raise QuestionError(
                f"the parameter {name[:100]!r} came; expected "
                f"{', '.join(known) or 'none'}; check the address"
            )
    if len(told) < len(pairs):
        raise QuestionError(
            "a parameter came twice; expected each of "
            f"{', '.join(known) or 'none'} once at most; check the address"
        )
    return told


def _needed(told: Mapping[str, str], name: str, what: str) -> str:
    if not told.get(name):
        raise QuestionError(f"no {name} came; expected {name}= with {what}")
    return told[name]


def _steps(told: Mapping[str, str], name: str) -> int | None:
    return _whole(told, name, 0, MOST_STEPS)


def _power_of_two(told: Mapping[str, str], name: str) -> int | None:
    value = _whole(told, name, 1, MOST_WIDTH)
    if value is not None and value & (value - 1):
        raise QuestionError(
            f"{name} is {value}; expected a power of two, since bins lie at its "
            "multiples"
        )
    return value


def _whole(told: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    """A whole number; None where none came."""
    text = told.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 19:
        value = int(text)
        if least <= value <= most:
            return value
    raise QuestionError(
        f"{name} came as {text[:40]!r}; expected a whole number from {least} to {most}"
    )
