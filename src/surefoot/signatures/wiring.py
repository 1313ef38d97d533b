"""Wiring: what lies between the network and its loss is not what the loss expects.

Read from the autograd graph of the first loss, so it is known before the first update.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

from surefoot.signatures import network
from surefoot.signatures.heads import DISTANCES, heads
from surefoot.signatures.statistics import level
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

SOURCE = (
    "autograd graph of the first loss; cross-entropy applies a log-softmax itself and "
    "its binary form a sigmoid, so both expect plain scores (PyTorch documentation)"
)
SOURCE_LOOSE = (
    "autograd graph of the first loss against the parameters of all optimizers"
)

TWICE = (
    ("LogSoftmax", "Softmax"),
    ("BinaryCrossEntropyWithLogits", "Sigmoid"),
)
"""The loss applies the second operation again; a log of probabilities is no fault,
since the softmax of log-probabilities gives them back."""

SQUASHED = ("Relu", "Tanh", "Sigmoid", "Hardtanh", "Threshold", "Gelu", "Elu", "Silu")
EXPECT_SCORES = ("LogSoftmax", "BinaryCrossEntropyWithLogits")
EXPECT_LOGS = "NllLoss"
READINGS = 5
GOOD = 0.75
"""Accuracy in training from which a squared error of classes is good enough."""
NO_LOGARITHM = (
    "Softmax",
    "Sigmoid",
    "Relu",
    "Tanh",
    "Addmm",
    "Mm",
    "Bmm",
    "Convolution",
)
"""Probabilities, or scores as they leave a layer: their negative has no lower end."""


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """At most one finding about the loss, and one about parameters nobody holds."""
    found: list[Finding] = []
    for event in events:
        if event.kind == "wiring":
            found += _loss(event, series, facts)
            found += _loose(event, facts)
    return list({f.detail["kind"]: f for f in reversed(found)}.values())


def _loss(event: Event, series: Mapping[str, Series], facts: Facts) -> list[Finding]:
    """What the loss gets, if it is not what it expects."""
    told = next((one for head in heads(event) for one in _mistakes(head)), None)
    if told is None:
        return []
    kind, path = told
    chain = " <- ".join(path)
    severity: Severity = "warning"
    if kind == "distance" and not _fails_at_classes(series):
        severity = "info"  # pictures are made with it, for instance
    layer = network.output_module(facts) or "run"
    evidence = Evidence(f"operations before the loss: {chain}", 1.0, 0.0, SOURCE)
    return [
        Finding(
            signature="wiring",
            layer=layer,
            onset=event.step,
            severity=severity,
            evidence=(evidence,),
            layers=(layer,),
            stream=facts.stream,
            detail={"kind": kind, "operations": chain},
        )
    ]


def _fails_at_classes(series: Mapping[str, Series]) -> bool:
    """Whether the targets are classes, and those of few examples are recognised."""
    right = series.get("accuracy")
    if right is None or "target_share" not in series or right.steps.size < READINGS:
        return False
    return level(right.values[-READINGS:]) < GOOD


def _mistakes(head: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Kinds of mistake on one path, with the operations that show it."""
    for pair in pairwise(head):
        loss, before = pair
        if pair in TWICE:
            yield "twice", pair
        elif loss in EXPECT_SCORES and before in SQUASHED:
            yield "squashed", pair
        elif loss.startswith(EXPECT_LOGS) and before in NO_LOGARITHM:
            yield "no log", pair
        elif loss in DISTANCES and before in ("LogSoftmax", "Sigmoid"):
            yield "distance", pair


def _loose(event: Event, facts: Facts) -> list[Finding]:
    """Parameters that the loss depends on and that nobody trains."""
    told: Any = event.body.get("loose", ())
    shapes = cast(list[Any], told) if isinstance(told, list | tuple) else []
    if not shapes:
        return []
    sizes = ", ".join("x".join(str(n) for n in shape) for shape in shapes[:6])
    name = f"parameters of shape {sizes} that the loss reaches"
    behind: Any = event.body.get("after", ())
    before = str(behind[0]) if isinstance(behind, list | tuple) and behind else ""
    layer = network.owner(facts, before) if before else "run"
    return [
        Finding(
            signature="wiring",
            layer=layer,
            onset=event.step,
            severity="warning",
            evidence=(Evidence(name, float(len(shapes)), 0.0, SOURCE_LOOSE),),
            layers=(layer,),
            stream=facts.stream,
            detail={"kind": "loose", "shapes": sizes},
        )
    ]


SIGNATURE = Signature(
    name="wiring",
    about="The loss gets what it does not expect, or parameters belong to nobody.",
    needs=(),
    detect=detect,
    uses=("loss",),
)
