"""How causes are told apart: the code comes in, parts of docs/diagnosis.md go out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tools import rules
from tools.planted import findings
from tools.signature_pages import ANY, FOLDER
from tools.tables import one_line, table

import cases
from surefoot.diagnosis import causes, origin, phase
from surefoot.diagnosis.case import Cause
from surefoot.diagnosis.examine import judge
from surefoot.remedies import prescribe
from surefoot.signatures.context import around
from surefoot.signatures.streams import Stream
from surefoot.testing.signatures import FACTS

GROUPS: Mapping[str, tuple[str, ...]] = {
    "The loss jumped": (
        "learning rate too high",
        "bad batch",
        "stale second moment",
        "half precision overflow",
        "inputs shifted",
        "labels changed",
        "data changed",
    ),
    "The loss is not finite": (
        "numeric fault",
        "non-finite data",
        "half precision overflow",
        "learning rate too high",
    ),
    "The loss does not move": (
        "learning rate too low",
        "epsilon dominates",
        "saturating activations in a deep network",
        "weights start too small",
        "weights start at zero",
        "units start alike",
        "gradient noise dominates",
        "over-regularised",
        "dead ReLU",
    ),
    "The loss falls, and less than it should": (
        "softmax applied twice",
        "activation before the loss",
        "frozen layer",
        "unregistered parameters",
        "gradients never zeroed",
    ),
    "Training goes well, and the held-out numbers do not": (
        "overfitting",
        "label noise",
        "class imbalance",
        "train and evaluation differ",
        "batch normalisation on too few values",
        "model in evaluation mode",
    ),
}
"""What a person sees first, and the causes that could be behind it."""

JUMPS = (
    "rate_jump",
    "spike_of_bad_input",
    "stale_second_moment",
    "halves_overflow",
    "inputs_move",
    "labels_change",
)
"""Planted records in which the loss jumps, each for another reason."""


def look_alikes() -> str:
    """For each first impression, the causes and what tells each from the others."""
    named = {one.name: one for one in causes.ALL}
    return "\n\n".join(
        f"**{seen}.**\n\n"
        + table(
            ("cause", "its own signal"),
            [(linked(named[name]), one_line(named[name].told_apart)) for name in group],
        )
        for seen, group in GROUPS.items()
    )


def linked(cause: Cause) -> str:
    """A link to the section of a cause, from a page of docs/."""
    return f"[{cause.name}]({causes.page(cause.name)})"


def same_jump() -> str:
    """The numbers around a jump of the loss in planted records, and the first cause."""
    named = {one.name: one for one in causes.ALL}
    made = {one.name: one for one in cases.faulty_cases()}
    rows = [_around(made[name], named) for name in JUMPS]
    heads = (
        "planted",
        "learning rate, times before",
        "input, times before",
        "shift of the input, deviations",
        "largest g²/v",
        "number type at the break",
        "first cause",
    )
    return table(heads, rows)


def _around(case: cases.Case, named: Mapping[str, Cause]) -> tuple[str, ...]:
    stream = Stream(case.facts, case.series, case.events)
    first = judge({"main": stream})[1][0]
    told = around(case.series, first.onset)
    moment = float(np.nanmax(case.series["second_moment_ratio"].values))
    shifts = findings(stream, "input_shift")
    kinds = (str(event.body.get("dtype", "")) for event in case.events)
    return (
        case.name.replace("_", " "),
        f"{told['lr_ratio']:.3g}",
        f"{told['input_ratio']:.3g}",
        next((f"{one.detail['deviations']:.2g}" for one in shifts), "–"),
        f"{moment:.3g}",
        next((kind.removeprefix("torch.") for kind in kinds if kind), "–"),
        linked(named[first.cause]),
    )


def producers() -> str:
    """The order in which findings are asked for the layer."""
    return " → ".join(
        f"[{name.replace('_', ' ')}]({FOLDER}/{name}.md)" for name in origin.PRODUCERS
    )


def phases() -> str:
    """When a finding is early, in the middle or late, and what changes with that."""
    first = ", ".join(
        prescribe.ALL[name]((ANY,), FACTS).remedy for name in phase.OF_THE_START
    )
    return (
        f"- **early**: in the first {phase.EARLY_STEPS} steps or the first "
        f"{100 * phase.EARLY_SHARE:.0f} % of the steps made so far;\n"
        f"- **late**: after {100 * phase.LATE_SHARE:.0f} % of them;\n"
        "- **middle**: between the two.\n\n"
        f"Remedies that change how a run begins ({first}) come first when it is "
        "early, and last otherwise: a network that has trained well for hours is "
        "not given other weights to start from."
    )


def sure() -> str:
    """Causes that one finding is enough for."""
    rows = [linked(one) for one in causes.ALL if rules.sure(one.name)]
    return ", ".join(rows) + "."
