"""Blocks of a growing record come in, the few lines of a live view go out.

A fold: `Live` is what is known of a run so far, `after` what is known after one more
block. The run under watch and whoever reads its record from outside make the same
lines from the same blocks. Nothing is written here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from surefoot.report.text import ASCII_BLOCKS, BLOCKS, Tone, painted, sparkline
from surefoot.report.words import clean, counted, number
from surefoot.signatures.dead_units import BOUND as DEAD
from surefoot.signatures.statistics import level, scale
from surefoot.types import Event, Floats, Series, Steps

LAYERED = ("grad_norm", "weight_norm", "update_norm", "dead_share")
FOLLOWED = ("loss", "lr", "step_seconds", *LAYERED)
"""The quantities that the view is made of."""

POINTS = 128
"""Bins of the loss that are kept: more than a terminal has columns for."""

OUTLIER = 3.5
"""Modified z-score from which a value is an outlier among its kind (Iglewicz and
Hoaglin 1993, How to detect and handle outliers)."""
APART = 1.0
"""Decades from the median layer: nearer ones are not worth a line. A matter of room,
not of health; no alarm hangs on it."""
FEWEST_LAYERS = 4
"""With fewer there is no scale of what is usual among them."""
WIDE_RANGE = 100.0
"""From this ratio of largest to smallest loss on, the sparkline is logarithmic."""
MOST_STREAMS = 3
NARROWEST_SPARK = 12
"""Columns: with fewer left, the range of the loss is not told beside its shape."""


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """A loss over time on bins of `width` steps, a power of two; arrays `[n]`.

    `places` are the numbers of the bins, `high` their largest values (NaN left out),
    `broken` whether any value was not finite.
    """

    width: int
    places: Steps
    high: Floats
    broken: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What is known of one stream: `newest` holds layers and their latest values."""

    step: int
    loss: float | None = None
    seconds: float | None = None
    trail: Trail | None = None
    newest: Mapping[str, tuple[tuple[str, ...], Floats]] = field(
        default_factory=dict[str, tuple[tuple[str, ...], Floats]]
    )
    seen: Mapping[str, int] = field(default_factory=dict[str, int])
    """The last step that was seen of each quantity."""


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """What is known of a run so far; alarms, and what was done, as sentences."""

    name: str = ""
    courses: Mapping[str, Course] = field(default_factory=dict[str, Course])
    alarms: tuple[str, ...] = ()
    done: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """The last step of the stream that made most; -1 before the first."""
        return max((one.step for one in self.courses.values()), default=-1)


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A layer that stands out: how, its value, and that of the median layer."""

    stream: str
    layer: str
    kind: str
    value: float
    typical: float


# --- what is known --------------------------------------------------------------


def after(live: Live, series: Series) -> Live:
    """What is known after one more block; what was seen before is left out.

    >>> block = Series("loss", ("run",), np.arange(2), np.ones((2, 1), np.float32))
    >>> after(Live(), block).step
    1
    """
    course = live.courses.get(series.stream, Course(-1))
    fresh = series.steps > course.seen.get(series.quantity, -1)
    if not fresh.any():
        return live
    steps, values = series.steps[fresh], series.values[fresh]
    last = int(steps[-1])
    course = replace(
        course,
        step=max(course.step, last),
        seen={**course.seen, series.quantity: last},
    )
    if series.quantity in FOLLOWED:
        course = _taken(course, replace(series, steps=steps, values=values))
    return replace(live, courses={**live.courses, series.stream: course})


def _taken(course: Course, block: Series) -> Course:
    """A course with one more block of a quantity that is followed."""
    if block.quantity == "loss":
        losses = block.values[:, 0]
        trail = extended(course.trail, block.steps, losses)
        return replace(course, trail=trail, loss=float(losses[-1]))
    if block.quantity == "step_seconds":
        return replace(course, seconds=level(block.values))
    newest = (block.layers, _last_known(block.values))
    return replace(course, newest={**course.newest, block.quantity: newest})


def extended(trail: Trail | None, steps: Steps, values: Floats) -> Trail:
    """A trail with more values `[n]` at later steps; the width doubles as it must."""
    width = 1 if trail is None else trail.width
    places, high, broken = steps // width, values, ~np.isfinite(values)
    if trail is not None:
        places = np.concatenate([trail.places, places])
        high = np.concatenate([trail.high, high])
        broken = np.concatenate([trail.broken, broken])
    while 1 + np.count_nonzero(np.diff(places)) > POINTS:
        places, width = places // 2, width * 2
    starts = np.flatnonzero(np.diff(places, prepend=places[0] - 1))
    return Trail(
        width,
        places[starts],
        np.fmax.reduceat(high, starts),
        np.logical_or.reduceat(broken, starts),
    )


def _last_known(values: Floats) -> Floats:
    """The last value of each column that is no NaN, `[n, L]` to `[L]`."""
    known = ~np.isnan(values[::-1])
    rows = len(values) - 1 - np.argmax(known, axis=0)
    return values[rows, np.arange(values.shape[1])]


def alarm_text(event: Event) -> str:
    """One finding that was recorded while the run went on, as a sentence."""
    body = event.body
    sure = body.get("confidence")
    share = f" ({sure:.0%} sure)" if isinstance(sure, int | float) else ""
    return _flat(
        f"{body.get('cause', '?')} in {body.get('layer', '?')} since step "
        f"{event.step}{share}"
    )


# --- what stands out ------------------------------------------------------------


def outstanding(live: Live, weights: Mapping[str, Sequence[str]]) -> list[Outstanding]:
    """Layers that stand out from the others in the latest readings of a stream.

    `weights` names the weight matrices of each stream: a bias that begins at zero is
    replaced by its first update, and nothing is wrong with that.
    """
    found: list[Outstanding] = []
    for stream, course in live.courses.items():
        layers = tuple(weights.get(stream, ()))
        size = _values(course, "weight_norm", layers)
        for kind, quantity, side in (
            ("updates", "update_norm", 1),
            ("gradient", "grad_norm", -1),
        ):
            with np.errstate(divide="ignore", invalid="ignore"):
                share = _values(course, quantity, layers) / size
            found += _furthest(stream, layers, share, kind=kind, side=side)
        found += _deadest(stream, course)
    return found


def _values(
    course: Course, quantity: str, layers: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Newest values of some layers, NaN where there are none."""
    names, values = course.newest.get(quantity, ((), np.empty(0, np.float32)))
    known = dict(zip(names, values.tolist(), strict=True))
    return np.asarray([known.get(name, math.nan) for name in layers], np.float64)


def _furthest(
    stream: str,
    layers: tuple[str, ...],
    share: npt.NDArray[np.float64],
    *,
    kind: str,
    side: int,
) -> list[Outstanding]:
    """The layer that lies furthest on one side of the others, if it stands out."""
    size = np.where(np.isfinite(share) & (share >= 0), share, np.nan)
    decades = np.log10(np.maximum(size, np.finfo(np.float32).tiny))
    if np.count_nonzero(~np.isnan(decades)) < FEWEST_LAYERS:
        return []
    far = side * (decades - level(decades))
    at = int(np.nanargmax(far))
    if far[at] <= max(APART, OUTLIER * scale(decades)):
        return []
    return [Outstanding(stream, layers[at], kind, float(share[at]), level(size))]


def _deadest(stream: str, course: Course) -> list[Outstanding]:
    names, values = course.newest.get("dead_share", ((), np.empty(0, np.float32)))
    if not names or np.isnan(values).all():
        return []
    at = int(np.nanargmax(values))
    if values[at] < DEAD:
        return []
    return [Outstanding(stream, names[at], "dead", float(values[at]), level(values))]


# --- lines ----------------------------------------------------------------------


def live_lines(
    live: Live,
    *,
    width: int,
    standing: Sequence[Outstanding] = (),
    colour: bool = False,
    ascii_only: bool = False,
) -> list[str]:
    """The view: a head, a sparkline of the loss a stream, and layers that stand out.

    No line is wider than `width` columns. `ascii_only` is for terminals whose
    encoding has no blocks.
    """
    several = len(live.courses) > 1
    told: list[tuple[str, Tone | None]] = []
    told.append((_head(live), "strong"))
    for stream, course in list(live.courses.items())[:MOST_STREAMS]:
        name = stream if several else "loss"
        text = _loss_line(name, course, width, ascii_only=ascii_only)
        if text:
            told.append((text, None))
    for one in standing:
        told.append((_standing_line(one, several=several), "warning"))
    lines: list[str] = []
    for line, tone in told:
        text = _fitted(line, width, ascii_only=ascii_only)
        lines.append(painted(text, tone) if colour else text)
    return lines


def plain_line(live: Live, *, width: int = 80, ascii_only: bool = False) -> str:
    """One line for a log: step, loss, rate, speed, and the shape of the loss.

    >>> block = Series("loss", ("run",), np.arange(2), np.ones((2, 1), np.float32))
    >>> plain_line(after(Live(), block))
    'step 2  loss 1  ▁▁'
    """
    head = _head(replace(live, name=""))
    course = next(iter(live.courses.values()), Course(-1))
    room = min(width - len(head) - 2, 40)
    line = _spark(course.trail, room, ascii_only=ascii_only)
    text = head + (f"  {line}" if line else "")
    return _fitted(text, width, ascii_only=ascii_only)


def live_json(live: Live, standing: Sequence[Outstanding] = ()) -> dict[str, Any]:
    """The same as JSON values; `steps` counts from the first, updates a second."""
    return {
        "run": live.name,
        "steps": live.step + 1,
        "streams": {
            stream: {
                "step": course.step,
                "loss": course.loss,
                "lr": _rates(course),
                "steps_per_second": _speed(course),
            }
            for stream, course in live.courses.items()
        },
        "outstanding": [
            {
                "stream": one.stream,
                "layer": one.layer,
                "kind": one.kind,
                "value": one.value,
                "typical": one.typical,
            }
            for one in standing
        ],
        "alarms": list(live.alarms),
        "done": list(live.done),
    }


def _head(live: Live) -> str:
    """Step, loss, learning rate, speed and alarms in one line."""
    parts = [f"step {live.step + 1:,}"]
    if len(live.courses) == 1:
        [course] = live.courses.values()
        parts.append("" if course.loss is None else f"loss {number(course.loss)}")
        rates = sorted(set(_rates(course).values()))
        parts.append("lr " + " to ".join(map(number, _ends(rates))) if rates else "")
    speed = max((_speed(one) or 0.0 for one in live.courses.values()), default=0.0)
    parts.append(f"{number(speed)} steps/s" if speed else "")
    parts.append(counted(len(live.alarms), "alarm") if live.alarms else "")
    parts.append(f"{len(live.done):,} done" if live.done else "")
    parts.append(live.name)  # last: where there is little room, it may go
    return "  ".join(filter(None, parts))


def _loss_line(name: str, course: Course, width: int, *, ascii_only: bool) -> str:
    """A sparkline with the range it spans; "" before the first loss."""
    trail = course.trail
    if trail is None:
        return ""
    finite = trail.high[np.isfinite(trail.high)]
    ends = _ends(sorted(finite.tolist()))
    span = " to ".join(map(number, ends)) + (", log" if _is_wide(ends) else "")
    if trail.broken.any():
        span = ", ".join(filter(None, (span, "not finite at x" if ascii_only else
                                       "not finite at ×")))  # fmt: skip
    room = width - len(name) - 2
    if room - len(span) - 2 >= NARROWEST_SPARK:
        line = _spark(trail, room - len(span) - 2, ascii_only=ascii_only)
        return f"{name}  {line}  {span}"
    return f"{name}  {_spark(trail, room, ascii_only=ascii_only)}"


def _spark(trail: Trail | None, room: int, *, ascii_only: bool) -> str:
    if trail is None or room < 1:
        return ""
    high = np.where(trail.broken, np.nan, trail.high).astype(np.float64)
    if _is_wide(_ends(sorted(high[np.isfinite(high)].tolist()))):
        high = np.log10(high)
    blocks, broken = (ASCII_BLOCKS, "x") if ascii_only else (BLOCKS, "×")
    return sparkline(high.tolist(), room, blocks=blocks, broken=broken)


def _is_wide(ends: Sequence[float]) -> bool:
    return len(ends) == 2 and ends[0] > 0 and ends[1] / ends[0] >= WIDE_RANGE


def _standing_line(one: Outstanding, *, several: bool) -> str:
    layer = f"{one.stream} {one.layer}" if several else one.layer
    if one.kind == "dead":
        return f"! {layer}: {one.value:.0%} of its units are dead"
    return (
        f"! {layer}: {one.kind} {number(one.value)} of its weights, "
        f"the median layer {number(one.typical)}"
    )


def _rates(course: Course) -> dict[str, float]:
    groups, values = course.newest.get("lr", ((), np.empty(0, np.float32)))
    # float32 shows 0.1 as 0.10000000149: six digits are what was recorded.
    return dict(zip(groups, (float(f"{v:.6g}") for v in values), strict=True))


def _speed(course: Course) -> float | None:
    return 1.0 / course.seconds if course.seconds else None


def _ends(ordered: Sequence[float]) -> Sequence[float]:
    """First and last of a sequence in order, once if they are the same."""
    return (ordered[0], ordered[-1]) if len(set(ordered)) > 1 else ordered[:1]


def _fitted(text: str, width: int, *, ascii_only: bool) -> str:
    """One line of at most `width` columns, whatever the names in it hold."""
    line, dots = _flat(text), "…"
    if ascii_only:
        line, dots = line.encode("ascii", "replace").decode("ascii"), "~"
    return line if len(line) <= width else line[: max(width - 1, 0)] + dots


def _flat(text: str) -> str:
    return clean(text).replace("\n", " ").replace("\t", " ")
