"""Runs and lists of diagnoses come in, snippets of HTML for a notebook go out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from surefoot.report.live import Live, Trail
from surefoot.types import Diagnosis
from surefoot.wording import (
    counted,
    diagnosis_html,
    escaped,
    framed,
    headline_told,
    number,
    titled_list,
)

WIDTH, HEIGHT = 320, 48


class Diagnoses(list[Diagnosis]):
    """A list of diagnoses that shows well in a notebook; else a list like any other.

    `name` and `steps` say what was looked at, for when nothing is wrong.
    """

    def __init__(
        self, found: Iterable[Diagnosis] = (), *, name: str = "", steps: int = 0
    ) -> None:
        super().__init__(found)
        self.name, self.steps = name, steps

    def _repr_html_(self) -> str:
        return diagnoses_html(self, self.name, self.steps)


def diagnoses_html(found: Sequence[Diagnosis], name: str, steps: int) -> str:
    """All diagnoses of a run, the likeliest in full; that it is healthy if none."""
    if not found:
        told = f"✓ Nothing wrong found in {counted(steps, 'step')} of {escaped(name)}."
        return framed(f"<p><strong>{told}</strong></p>", "good")
    others = [
        f"{escaped(headline_told(one))} ({one.confidence:.0%})" for one in found[1:]
    ]
    more = framed(titled_list("Also possible", "ul", others), "info") if others else ""
    return diagnosis_html(found[0]) + more


def run_html(live: Live, found: Sequence[Diagnosis]) -> str:
    """A run so far: its steps and losses, and what is wrong in it."""
    lines = "".join(
        f"<p>{escaped(stream)}: loss {number(course.loss)}</p>{loss_svg(course.trail)}"
        for stream, course in live.courses.items()
        if course.loss is not None and course.trail is not None
    )
    steps = counted(live.step + 1, "step")
    head = f"<p><strong>{escaped(live.name)}</strong>, {steps}</p>"
    verdict = diagnoses_html(found, live.name, live.step + 1)
    return framed(head + lines, "good" if not found else "info") + verdict


def loss_svg(trail: Trail) -> str:
    """A loss as a small picture; vertical lines where it is not finite."""
    x = np.interp(trail.places, _span(trail.places), (1, WIDTH - 1))
    shown = np.isfinite(trail.high)
    values = trail.high[shown].astype(np.float64)
    y = np.interp(values, _span(values), (HEIGHT - 2, 2)) if values.size else values
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[shown], y, strict=True))
    broken = "".join(
        f'<line x1="{a:.1f}" y1="0" x2="{a:.1f}" y2="{HEIGHT}"/>'
        for a in x[trail.broken]
    )
    low, high = _span(values) if values.size else (math.nan, math.nan)
    label = f"loss from {number(low)} to {number(high)}" + (
        ", not finite at the vertical lines" if broken else ""
    )
    return (
        f'<svg role="img" aria-label="{escaped(label)}" width="{WIDTH}" '
        f'height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<polyline points="{points}"/>{broken}</svg>'
        f'<p class="soft">{escaped(label)}</p>'
    )


def _span(values: npt.NDArray[np.generic]) -> tuple[float, float]:
    """Least and largest, apart by at least a little."""
    low, high = float(np.min(values)), float(np.max(values))
    return (low, high) if high > low else (low, low + 1.0)
