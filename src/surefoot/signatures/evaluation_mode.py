"""Evaluation mode: the network is trained while it is switched to evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

SOURCE = (
    "nn.Module.training of the watched model in passes with gradients; who means to "
    "rest its normalisation switches those layers alone"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if the run ends in evaluation mode and that changes what it does."""
    modes = [event for event in events if event.kind == "mode"]
    if not modes or bool(modes[-1].body.get("training", True)):
        return []
    concerned = [module.name for module in facts.modules if _differs(module.kind)]
    if not concerned:
        return []
    last = modes[-1]
    share = series.get("training_share")
    if share is not None and share.steps.size and share.values[-1, 0] > 0:
        return []  # part of it was switched back by hand
    left = len(modes) > 1
    return [
        Finding(
            signature="evaluation_mode",
            layer=concerned[0],
            onset=last.step,
            severity=_severity(facts, left=left),
            evidence=(Evidence(f"model.training, step {last.step}", 0.0, 1.0, SOURCE),),
            layers=tuple(concerned),
            stream=facts.stream,
            detail={"kind": "left" if left else "never"},
        )
    ]


def _differs(kind: str) -> bool:
    """Whether a kind of module does another thing in evaluation mode."""
    return "Dropout" in kind or "BatchNorm" in kind


def _severity(facts: Facts, *, left: bool) -> Severity:
    """Sure where training mode was left on the way, or statistics never move.

    A network without batch normalisation that was in evaluation mode from the start
    trains without dropout, which may be meant.
    """
    trained = {p.module for p in facts.parameters if p.trainable and p.held}
    norms = [
        m.name for m in facts.modules if "BatchNorm" in m.kind and m.name in trained
    ]
    return "warning" if left or norms else "info"


SIGNATURE = Signature(
    name="evaluation_mode",
    about="The model trains in evaluation mode: no dropout, statistics stand still.",
    needs=(),
    detect=detect,
    uses=("training_share",),
)
