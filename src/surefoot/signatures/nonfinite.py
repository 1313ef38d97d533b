"""Non-finite values: the loss or a gradient is NaN or infinite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.statistics import Array, level, ratio, root_sum_square
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

SOURCE = "IEEE 754: no operation makes a NaN finite again"
LASTING = 3
"""Non-finite steps in a row that count as damage: a loss scaler or a guard that
skips an update recovers at the next step."""


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding at the first step with a non-finite loss or gradient."""
    steps = _broken_steps(series)
    located = [event for event in events if event.kind == "nonfinite"]
    steps = np.union1d(steps, [event.step for event in located]).astype(np.int64)
    if steps.size == 0:
        return []
    onset = int(steps[0])
    event = next((e for e in located if e.step == onset), None)
    layers = _layers_at(series, onset)
    detail: dict[str, Any] = dict(event.body) if event is not None else {}
    detail |= {"steps": int(steps.size), "growth": _growth_before(series, onset)}
    return [
        Finding(
            signature="nonfinite",
            layer=str(detail.get("module") or _origin(layers, facts)),
            onset=onset,
            severity="critical" if _lasts(series, steps) else "warning",
            evidence=_evidence(series, onset, event),
            layers=layers,
            stream=facts.stream,
            detail=detail,
        )
    ]


def _broken_steps(series: Mapping[str, Series]) -> np.ndarray[Any, Any]:
    """Steps with a loss that is not finite, or an infinite gradient."""
    found: list[np.ndarray[Any, Any]] = []
    loss, grads = series.get("loss"), series.get("grad_norm")
    if loss is not None:
        found.append(loss.steps[~np.isfinite(loss.values).all(1)])
    if grads is not None:
        # NaN means that a parameter had no gradient, which is no fault
        found.append(grads.steps[np.isinf(grads.values).any(1)])
    return np.unique(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)


def _layers_at(series: Mapping[str, Series], onset: int) -> tuple[str, ...]:
    """Parameters whose gradient is infinite at the onset."""
    grads = series.get("grad_norm")
    if grads is None or onset not in grads.steps:
        return ()
    row = grads.values[int(np.searchsorted(grads.steps, onset))]
    return tuple(grads.layers[i] for i in np.flatnonzero(np.isinf(row)))


def _origin(layers: Sequence[str], facts: Facts) -> str:
    """The infected parameter next to the output: backward runs from there.

    "run" where all of them are infected, which says nothing about the place.
    """
    trained = [p.name for p in facts.parameters if p.held and p.trainable]
    if not layers or len(layers) >= len(trained):
        return "run"
    depth = network.depths(facts)
    return max(layers, key=lambda name: depth.get(name, 0.0))


def _growth_before(series: Mapping[str, Series], onset: int) -> float:
    """Largest gradient of the ten steps before, over the level of the run."""
    grads = series.get("grad_norm")
    if grads is None:
        return 1.0
    before: Array = root_sum_square(grads.values[grads.steps < onset])
    before = before[np.isfinite(before)]
    if before.size < 2:
        return 1.0
    return ratio(float(before[-10:].max()), level(before))


def _lasts(series: Mapping[str, Series], steps: np.ndarray[Any, Any]) -> bool:
    """Whether the run stays broken: several steps in a row, or its last one."""
    ends = [s.steps[-1] for s in series.values() if s.steps.size]
    last = max((int(step) for step in ends), default=0)
    in_a_row = steps.size >= LASTING and bool(
        (steps[LASTING - 1 :] - steps[: -LASTING + 1] == LASTING - 1).any()
    )
    return in_a_row or bool(steps[-1] >= last)


def _evidence(
    series: Mapping[str, Series], onset: int, event: Event | None
) -> tuple[Evidence, ...]:
    found: list[Evidence] = []
    for quantity in ("loss", "grad_norm"):
        one = series.get(quantity)
        if one is None or onset not in one.steps:
            continue
        row = one.values[int(np.searchsorted(one.steps, onset))]
        broken = np.flatnonzero(~np.isfinite(row))
        if broken.size and (quantity == "loss" or np.isinf(row).any()):
            worst = broken[np.argmax(np.isinf(row[broken]))]
            name = f"{quantity} of {one.layers[worst]}, step {onset}"
            bound = float(np.finfo(np.float32).max)
            found.append(Evidence(name, float(row[worst]), bound, SOURCE))
    if event is not None:
        place = " ".join(str(event.body.get(k, "")) for k in ("module", "operation"))
        line = event.body.get("line", "")
        name = f"first non-finite output, step {onset}: {place} {line}".rstrip()
        found.append(Evidence(name, float("nan"), 0.0, "replay of the failing step"))
    return tuple(found)


SIGNATURE = Signature(
    name="nonfinite",
    about="The loss or a gradient is NaN or infinite.",
    needs=(),
    detect=detect,
    uses=("loss", "grad_norm"),
)
