"""Not learning: the loss stays where the untrained network started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.signatures.learning import Learning, learning
from surefoot.signatures.profile import path
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

PATIENCE = 100
LONG_PATIENCE = 400
MOVED = 0.5
"""Steps to wait, and to wait if the weights cannot yet have moved by half their size:
small steps need more of them (benchmarks/zoo)."""
SOURCE_CHANCE = (
    "ln C, the cross-entropy of a guess among the C outputs; healthy runs leave it "
    "within 100 steps (benchmarks/zoo)"
)
SOURCE_START = "level of the first steps, less 4 standard errors of the batch noise"


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if the loss is no lower than at the start and no longer falls."""
    course = learning(series, facts)
    if course.state not in ("stuck", "settled"):
        return []
    return [
        Finding(
            signature="not_learning",
            layer="run",
            onset=course.onset,
            severity=_severity(course, series, facts),
            evidence=_evidence(course),
            layers=("run",),
            stream=facts.stream,
            detail={"kind": course.state, "loss": course.last},
        )
    ]


def _severity(course: Learning, series: Mapping[str, Series], facts: Facts) -> Severity:
    """Certain only where the loss is that of a guess, and had its chance.

    A loss that stays at any other level may be one that is low already, or one
    that is no score at all, as in adversarial and policy-gradient training.
    """
    guesses = course.state == "stuck" and facts.stream == "main"
    moved = path(series, facts)
    waited = course.steps >= (PATIENCE if moved > MOVED else LONG_PATIENCE)
    return "critical" if guesses and waited else "info"


def _evidence(course: Learning) -> tuple[Evidence, ...]:
    name = f"loss, final level (start {course.start:.4g})"
    if course.state == "stuck":
        return (Evidence(name, course.last, course.chance, SOURCE_CHANCE),)
    bound = course.start - 4 * course.error
    return (Evidence(name, course.last, bound, SOURCE_START),)


SIGNATURE = Signature(
    name="not_learning",
    about="The loss stays at the level of the untrained network.",
    needs=("loss",),
    detect=detect,
)
