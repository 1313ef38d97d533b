"""Schedules come in, plain JSON values go out; and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from surefoot.schedules import combined, shapes
from surefoot.schedules.errors import ScheduleError
from surefoot.schedules.inverse_power import InversePower
from surefoot.schedules.scheduled import Constant, Product, Scheduled, Sum

KINDS: tuple[type[Scheduled], ...] = (
    combined.Clamp,
    Constant,
    shapes.Cosine,
    shapes.Exponential,
    shapes.Geometric,
    InversePower,
    shapes.InverseSigmoid,
    shapes.Linear,
    combined.Maximum,
    combined.Minimum,
    shapes.PiecewiseConstant,
    Product,
    combined.Repeated,
    shapes.Root,
    combined.Shifted,
    combined.Smoothed,
    Sum,
    shapes.Tabulated,
    combined.Then,
)
"""All that can be stored and read back: nothing else is ever made from a file."""


def to_dict(schedule: Scheduled) -> dict[str, Any]:
    """A schedule as JSON values: its kind, and its fields.

    >>> to_dict(Constant(0.1))
    {'kind': 'Constant', 'level': 0.1}

    Raises:
        ScheduleError: it is of a kind that `KINDS` does not list.
    """
    if type(schedule) not in KINDS:
        raise ScheduleError(
            f"{type(schedule).__name__} came; expected one of {_names()}; list it in "
            "surefoot.schedules.stored.KINDS to have it stored"
        )
    told = {one.name: _plain(getattr(schedule, one.name)) for one in fields(schedule)}
    return {"kind": type(schedule).__name__, **told}


def from_dict(told: Mapping[str, Any]) -> Scheduled:
    """The schedule that `to_dict` wrote.

    >>> from_dict({"kind": "Constant", "level": 0.1})
    Constant(level=0.1)

    Raises:
        ScheduleError: the kind is unknown, its fields are other ones, or hold what it
            refuses.
    """
    kinds = {kind.__name__: kind for kind in KINDS}
    named = told.get("kind") if isinstance(told, Mapping) else told  # pyright: ignore[reportUnnecessaryIsInstance]
    kind = kinds.get(named) if isinstance(named, str) else None
    if kind is None:
        raise ScheduleError(
            f"a schedule of kind {named!r} came; expected one of {_names()}"
        )
    expected = {one.name for one in fields(kind)}
    if set(told) != {"kind", *expected}:
        raise ScheduleError(
            f"a {kind.__name__} with {sorted(set(told) - {'kind'}, key=str)} came; "
            f"expected {sorted(expected)}"
        )
    return kind(**{name: _read(told[name]) for name in expected})


def _plain(value: Any) -> Any:
    if isinstance(value, Scheduled):
        return to_dict(value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, int) else float(value)  # numpy's are not JSON


def _read(value: Any) -> Any:
    if isinstance(value, Mapping):
        return from_dict(value)
    return tuple(_read(one) for one in value) if isinstance(value, list) else value


def _names() -> str:
    return ", ".join(kind.__name__ for kind in KINDS)
