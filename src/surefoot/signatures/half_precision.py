"""Half precision: numbers near the end of float16's range before they broke."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

LARGEST = 65504.0
NEAR = 0.1
MANY_SKIPS = 0.2
FEWEST_SKIPS = 8
SOURCE = "65,504 is the largest number of float16 (IEEE 754 binary16)"
SOURCE_SKIPS = (
    "share of steps that the loss scaler skipped; a scale that has settled overflows "
    "once in 2,000 steps (torch.amp.GradScaler, growth_interval)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding for a layer that overflowed, or for a scaler that only skips."""
    broken = [e for e in events if e.kind == "nonfinite"]
    half = [e for e in broken if str(e.body.get("dtype", "")).endswith("float16")]
    half = [e for e in half if "bfloat" not in str(e.body.get("dtype"))]
    if half:
        return [_overflow(half[0], series, facts)]
    return _skips(series, facts, events)


def _overflow(event: Event, series: Mapping[str, Series], facts: Facts) -> Finding:
    layer = str(event.body.get("module") or "run")
    size = series.get("activation_absmax")
    seen = LARGEST
    if size is not None and layer in size.layers:
        column = size.of(layer)[size.steps <= event.step]
        finite = column[np.isfinite(column)]
        seen = float(finite.max()) if finite.size else LARGEST
    name = f"float16 output of {layer}, last finite magnitude before step {event.step}"
    return Finding(
        signature="half_precision",
        layer=layer,
        onset=event.step,
        severity="warning",
        evidence=(Evidence(name, seen, LARGEST, SOURCE),),
        layers=(layer,),
        stream=facts.stream,
        detail={"kind": "overflow"},
    )


def _skips(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """The scaler's skipped steps, where they do not end."""
    steps = sorted({e.step for e in events if e.kind == "skipped_step"})
    last = max((int(s.steps[-1]) for s in series.values() if s.steps.size), default=0)
    late = [step for step in steps if step >= last // 2]
    share = len(late) / max(1, last - last // 2)
    if len(late) < FEWEST_SKIPS or share < MANY_SKIPS:
        return []
    name = "share of the last half of the steps that were skipped"
    return [
        Finding(
            signature="half_precision",
            layer="run",
            onset=steps[0],
            severity="warning",
            evidence=(Evidence(name, share, MANY_SKIPS, SOURCE_SKIPS),),
            layers=("run",),
            stream=facts.stream,
            detail={"kind": "skips"},
        )
    ]


SIGNATURE = Signature(
    name="half_precision",
    about="Numbers left the range of float16.",
    needs=(),
    detect=detect,
    uses=("activation_absmax",),
)
