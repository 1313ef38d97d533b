"""Judged in training mode: held-out metrics come from a network that still trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from surefoot.signatures.metrics import measures
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

SOURCE = (
    "nn.Module.training in the last pass without gradients before the metrics were "
    "logged; batch normalisation then takes the statistics of the examples that are "
    "judged, and learns from them (documentation of torch.nn.BatchNorm1d)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if held-out data were judged in training mode, to the end.

    With dropout alone that may be meant: it is one way to measure uncertainty.
    """
    told = [event for event in events if event.kind == "evaluated"]
    if not told or not bool(told[-1].body.get("training", False)):
        return []
    names = _names(told[-1])
    norms = [m.name for m in facts.modules if "BatchNorm" in m.kind]
    drops = [m.name for m in facts.modules if "Dropout" in m.kind]
    if not (norms or drops) or not names:
        return []
    severity: Severity = "warning" if norms else "info"
    where = f"model.training when {names[0]} was measured, step {told[-1].step}"
    return [
        Finding(
            signature="evaluated",
            layer=(norms or drops)[0],
            onset=told[-1].step,
            severity=severity,
            evidence=(Evidence(where, 1.0, 0.0, SOURCE),),
            layers=tuple(norms or drops),
            stream=facts.stream,
        )
    ]


def _names(event: Event) -> list[str]:
    """The held-out metrics among those that were logged."""
    told: Any = event.body.get("metrics", ())
    names = cast(list[Any], told) if isinstance(told, list | tuple) else []
    known = [str(name) for name in names]
    return [n for n in known if measures(n, "loss") or measures(n, "accuracy")]


SIGNATURE = Signature(
    name="evaluated",
    about="Held-out data are judged by a network in training mode.",
    needs=(),
    detect=detect,
)
