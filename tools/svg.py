"""Two pictures side by side: plots, bars, bands or chains come in, SVG goes out.

Colours are of middle lightness, so that they stand out on white and on black, and of
the palette of Okabe and Ito, so that every eye tells them apart; nothing is said by
colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
import numpy.typing as npt
from tools.scenes import Array, Bands, Bars, Chain, Line, Plot, Scene, Tone

INK = "#7a828e"
TONES = {"bad": "#d55e00", "good": "#2f86c5", "other": "#9aa1ab"}

WIDE, HIGH = 372, 268
LEFT, TOP, RIGHT, BOTTOM = 58, 62, 12, 42
BINS, FEW_BINS = 150, 60
"""Most places of a line: about two pixels each; fewer where there are many lines."""
MANY_LINES = 3


@dataclass(frozen=True)
class Scale:
    """From values to pixels: `low` lies at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    ticks: tuple[float, ...] = field(default=())

    def at(self, values: float | Array) -> Array:
        """Pixels of some values; below a logarithm's end they lie on its end."""
        shown = np.asarray(values, dtype=np.float64)
        low, high = self.low, self.high
        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                shown = np.log10(np.maximum(shown, low))
            low, high = math.log10(low), math.log10(high)
        share = (shown - low) / (high - low)
        return self.start + share * (self.end - self.start)


def side_by_side(left: Scene, right: Scene, *, told: str) -> str:
    """Both scenes on one scale; `told` says in words what is seen."""
    scale = _heights(left, right)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDE} {HIGH}" '
        f'width="{2 * WIDE}" height="{HIGH}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">',
        f"<title>{escape(told)}</title>",
    ]
    for place, scene in enumerate((left, right)):
        parts.append(f'<g transform="translate({place * WIDE} 0)">')
        parts.append(_text(LEFT, 18, scene.title, size=13))
        parts += _drawn(scene, scale)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _drawn(scene: Scene, scale: Scale) -> Iterator[str]:
    if isinstance(scene, Plot):
        yield from _plot(scene, scale)
    elif isinstance(scene, Bars):
        yield from _bars(scene, scale)
    elif isinstance(scene, Bands):
        yield from _bands(scene)
    else:
        yield from _chain(scene)


# --- scales ---------------------------------------------------------------------


def _heights(left: Scene, right: Scene) -> Scale:
    """One scale for both, so that heights can be compared."""
    low, high, log = math.inf, -math.inf, False
    for scene in (left, right):
        values = _values(scene)
        log = log or (isinstance(scene, Plot) and scene.log)
        known = values[np.isfinite(values) & ((values > 0) | (not log))]
        if known.size:
            low, high = min(low, float(known.min())), max(high, float(known.max()))
    if not math.isfinite(low):
        low, high = 0.0, 1.0
    return _log_scale(low, high) if log else _linear_scale(low, high)


def _values(scene: Scene) -> Array:
    if isinstance(scene, Plot):
        bound = [] if scene.bound is None else [scene.bound]
        return np.concatenate([*(one.y for one in scene.lines), np.asarray(bound)])
    if isinstance(scene, Bars):
        return np.asarray([value for row in scene.rows for value in row[2]])
    return np.empty(0)


def _linear_scale(low: float, high: float) -> Scale:
    low = min(low, 0.0) if low > -0.2 * abs(high) else low
    room = 0.08 * (high - low or 1.0)
    low, high = (low if low == 0 else low - room), high + room
    step = _round_step((high - low) / 4)
    ticks = np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step
    return Scale(low, high, HIGH - BOTTOM, TOP, ticks=tuple(ticks.tolist()))


def _log_scale(low: float, high: float) -> Scale:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last = max(last, first + 1)
    every = max(1, -(-(last - first) // 5))
    ticks = tuple(10.0**power for power in range(first, last + 1, every))
    return Scale(10.0**first, 10.0**last, HIGH - BOTTOM, TOP, log=True, ticks=ticks)


def _round_step(about: float) -> float:
    power = 10.0 ** math.floor(math.log10(about))
    return next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= 0.99 * about)


def _across(low: float, high: float) -> Scale:
    return Scale(low, high, LEFT, WIDE - RIGHT)


# --- kinds of picture -----------------------------------------------------------


def _plot(plot: Plot, scale: Scale) -> Iterator[str]:
    across = _of_places(plot) if plot.places else _of_steps(plot)
    yield from _axes(plot.x_name, plot.y_name, scale)
    if plot.places:
        yield from _place_names(plot.places, across)
    else:
        yield from _step_numbers(across)
        yield from _gaps(plot, across)
    for one in sorted(plot.lines, key=lambda line: line.tone != "other"):
        if plot.places:
            yield from _points(one, across, scale)
        else:
            bins = FEW_BINS if len(plot.lines) > MANY_LINES else BINS
            yield from _polyline(_binned(one, bins), across, scale)
    bound = ""
    if plot.bound is not None:
        yield _bound(plot.bound, scale)
        bound = f"{plot.bound_name} {_number(plot.bound)}"
    if plot.onset is not None and not plot.places:
        yield from _onset(plot.onset, across)
    yield from _legend([(one.name, one.tone) for one in plot.lines], bound)


def _of_steps(plot: Plot) -> Scale:
    first = [float(one.x[0]) for one in plot.lines if one.x.size]
    last = [float(one.x[-1]) for one in plot.lines if one.x.size]
    return _across(min(first, default=0.0), max(last, default=1.0))


def _of_places(plot: Plot) -> Scale:
    return _across(-0.5, len(plot.places) - 0.5)


def _polyline(line: Line, across: Scale, scale: Scale) -> Iterator[str]:
    px, py = _pixels(line, across, scale)
    for first, last in _stretches(np.isfinite(line.y)):
        points = " ".join(
            f"{a:.1f},{b:.1f}"
            for a, b in zip(px[first:last], py[first:last], strict=True)
        )
        yield (
            f'<polyline points="{points}" fill="none" stroke="{TONES[line.tone]}" '
            f'stroke-width="{_weight(line.tone)}"{_faint(line.tone)}/>'
        )


def _points(line: Line, across: Scale, scale: Scale) -> Iterator[str]:
    yield from _polyline(line, across, scale)
    px, py = _pixels(line, across, scale)
    known = np.isfinite(line.y)
    for a, b in zip(px[known], py[known], strict=True):
        yield (
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{6.5 if line.large else 3.5}" '
            f'fill="{TONES[line.tone]}"{_faint(line.tone)}/>'
        )


def _pixels(line: Line, across: Scale, scale: Scale) -> tuple[Array, Array]:
    known = np.where(np.isfinite(line.y), line.y, scale.low)
    return across.at(line.x), np.clip(scale.at(known), TOP, HIGH - BOTTOM)


def _faint(tone: Tone) -> str:
    return ' opacity="0.55"' if tone == "other" else ""


def _weight(tone: Tone) -> str:
    return "1" if tone == "other" else "1.8"


def _binned(line: Line, bins: int) -> Line:
    """Lowest and highest of each bin, in the order in which they come."""
    if line.x.size <= 2 * bins:
        return line
    keep: list[int] = []
    for rows in np.array_split(np.arange(line.x.size), bins):
        part = line.y[rows]
        if np.isnan(part).all():
            keep.append(int(rows[0]))
            continue
        ends = {int(rows[np.nanargmin(part)]), int(rows[np.nanargmax(part)])}
        keep += sorted(ends)
    return Line(line.name, line.x[keep], line.y[keep], line.tone)


def _stretches(known: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]])))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _gaps(plot: Plot, across: Scale) -> Iterator[str]:
    """A tinted stretch where nothing that is pointed at is finite."""
    shown = [one for one in plot.lines if one.tone != "other"] or list(plot.lines)
    if not plot.gap or not shown:
        return
    known = np.isfinite(np.stack([one.y for one in shown]))
    broken = np.asarray(~known.any(axis=0))
    for first, last in _stretches(broken):
        a, b = across.at(shown[0].x[[first, last - 1]])
        yield (
            f'<rect x="{a:.1f}" y="{TOP}" width="{b - a:.1f}" '
            f'height="{HIGH - TOP - BOTTOM}" fill="{TONES["bad"]}" opacity="0.16"/>'
        )
        yield _text((a + b) / 2, TOP + 70, plot.gap, anchor="middle")


def _bound(bound: float, scale: Scale) -> str:
    height = float(scale.at(bound))
    return (
        f'<path d="M{LEFT} {height:.1f}H{WIDE - RIGHT}" stroke="{INK}" '
        f'stroke-dasharray="2 3" stroke-width="1.4"/>'
    )


def _onset(step: int, across: Scale, foot: float = HIGH - BOTTOM) -> Iterator[str]:
    place = float(across.at(float(step)))
    yield (
        f'<line x1="{place:.1f}" x2="{place:.1f}" y1="{TOP - 4}" y2="{foot}" '
        f'stroke="{TONES["bad"]}" stroke-dasharray="5 3" stroke-width="1.4"/>'
    )
    late = place > WIDE - 100
    yield _text(
        place + (3 if late else -3),
        TOP - 8,
        f"since step {step}",
        anchor="end" if late else "start",
        tone="bad",
    )


def _bars(bars: Bars, scale: Scale) -> Iterator[str]:
    across = _across(-0.5, len(bars.groups) - 0.5)
    yield from _axes(bars.x_name, bars.y_name, scale)
    yield from _place_names(bars.groups, across)
    width = 0.7 * (WIDE - LEFT - RIGHT) / (len(bars.groups) * len(bars.rows))
    for row, (_, tone, values) in enumerate(bars.rows):
        for group, value in enumerate(values):
            centre = float(across.at(float(group)))
            x = centre + (row - len(bars.rows) / 2) * width
            top, foot = float(scale.at(value)), float(scale.at(0.0))
            yield (
                f'<rect x="{x:.1f}" y="{top:.1f}" width="{width - 2:.1f}" '
                f'height="{foot - top:.1f}" fill="{TONES[tone]}"/>'
            )
            yield _text(x + width / 2 - 1, top - 4, _number(value), anchor="middle")
    yield from _legend([(name, tone) for name, tone, _ in bars.rows])


def _bands(bands: Bands) -> Iterator[str]:
    across = _across(0.0, float(bands.steps))
    yield from _axes("step", "", None)
    yield from _step_numbers(across)
    tall = (HIGH - TOP - BOTTOM) / len(bands.rows)
    for row, (name, spans) in enumerate(bands.rows):
        y = TOP + row * tall
        yield _text(LEFT + 6, y + 48, name)
        for span in spans:
            a, b = (
                float(one) for one in across.at(np.asarray([span.first, span.last]))
            )
            yield (
                f'<rect x="{a:.1f}" y="{y + 6:.1f}" width="{b - a:.1f}" height="26" '
                f'rx="3" fill="{TONES[span.tone]}" fill-opacity="0.25" '
                f'stroke="{TONES[span.tone]}"/>'
            )
            yield _text((a + b) / 2, y + 23, span.text, anchor="middle")
    if bands.onset is not None:
        foot = TOP + (len(bands.rows) - 1) * tall + 36
        yield from _onset(bands.onset, across, foot)


def _chain(chain: Chain) -> Iterator[str]:
    tall, step = 28, 40
    foot = HIGH - 36
    x, wide = LEFT, 190
    for place, name in enumerate(reversed(chain.boxes)):
        y = foot - place * step - tall + 8
        tone: Tone = "bad" if len(chain.boxes) - 1 - place in chain.wrong else "good"
        yield from _box(x, y, wide, name, tone)
        if place:
            yield (
                f'<path d="M{x + wide / 2} {y + step}V{y + tall + 2}m-4 6l4 -6l4 6" '
                f'fill="none" stroke="{INK}"/>'
            )
    yield _text(x + wide + 10, foot - tall + 26, "last weights")
    top = foot - (len(chain.boxes) - 1) * step - tall + 26
    yield _text(x + wide + 10, top, "loss")
    for place, name in enumerate(chain.aside):
        yield from _box(x + wide + 44, foot - 62 - place * 34, 72, name, "bad")
    if chain.aside:
        y = foot - 62 - len(chain.aside) * 34 + 22
        yield _text(WIDE - RIGHT, y, "no optimizer", anchor="end", tone="bad")


def _box(x: float, y: float, wide: float, name: str, tone: Tone) -> Iterator[str]:
    dash = ' stroke-dasharray="5 3"' if tone == "bad" else ""
    yield (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="28" rx="4" '
        f'fill="{TONES[tone]}" fill-opacity="0.14" stroke="{TONES[tone]}" '
        f'stroke-width="1.5"{dash}/>'
    )
    yield _text(x + wide / 2, y + 18, name, anchor="middle")


# --- parts ----------------------------------------------------------------------


def _axes(x_name: str, y_name: str, scale: Scale | None) -> Iterator[str]:
    foot = HIGH - BOTTOM
    yield f'<path d="M{LEFT} {TOP}V{foot}H{WIDE - RIGHT}" fill="none" stroke="{INK}"/>'
    yield _text((LEFT + WIDE - RIGHT) / 2, HIGH - 8, x_name, anchor="middle")
    middle = (TOP + foot) / 2
    yield (
        f'<text x="12" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 12 {middle:.1f})">{escape(y_name)}</text>'
    )
    for tick in scale.ticks if scale else ():
        y = float(scale.at(tick)) if scale else 0.0
        yield f'<path d="M{LEFT - 4} {y:.1f}h4" stroke="{INK}"/>'
        yield _text(LEFT - 7, y + 4, _number(tick), anchor="end", size=11)


def _step_numbers(across: Scale) -> Iterator[str]:
    step = _round_step(max(across.high - across.low, 1.0) / 3)
    first = math.ceil(across.low / step) * step
    for tick in np.arange(first, across.high + 1e-9, step):
        x = float(across.at(float(tick)))
        yield f'<path d="M{x:.1f} {HIGH - BOTTOM}v4" stroke="{INK}"/>'
        yield _text(x, HIGH - BOTTOM + 17, f"{tick:.0f}", anchor="middle", size=11)


def _place_names(names: Sequence[str], across: Scale) -> Iterator[str]:
    every = 1 if len(names) <= 7 else 2
    for place, name in enumerate(names):
        if place % every == 0:
            x = float(across.at(float(place)))
            yield _text(x, HIGH - BOTTOM + 17, name, anchor="middle", size=11)


def _legend(rows: Sequence[tuple[str, Tone]], bound: str = "") -> Iterator[str]:
    """A sample and a name for each kind of line, once."""
    x = float(LEFT)
    for name, tone in dict.fromkeys(rows):
        wide = 3 if tone != "other" else 1.5
        yield _sample(x, f'stroke="{TONES[tone]}" stroke-width="{wide}"')
        yield _text(x + 21, 38, name)
        x += 36 + 6.4 * len(name)
    if bound:
        yield _sample(x, f'stroke="{INK}" stroke-dasharray="2 3" stroke-width="1.4"')
        yield _text(x + 21, 38, bound)


def _sample(x: float, style: str) -> str:
    return f'<path d="M{x:.0f} 34h16" {style}/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 12,
    tone: Tone | None = None,
) -> str:
    heavy = ' font-weight="600"' if size > 12 else ""
    colour = f' fill="{TONES[tone]}"' if tone else ""
    small = f' font-size="{size}"' if size != 12 else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        f"{heavy}{colour}{small}>{escape(text)}</text>"
    )


def _number(value: float) -> str:
    """A short number: 0.05, 300, 65,504, 1e-6."""
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e5:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
