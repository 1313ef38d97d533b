"""Which change worked, and so what the cause was: verdicts come in, a cause goes out.

Two questions come before that of the changes. Is the loss high under weights that stand
still? Then it is the batches. Did weights move without an update, or is the replay not
the recorded course? Then something outside of the updates changed them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from surefoot.replay.branches import Known
from surefoot.replay.judge import Harm
from surefoot.replay.outcome import Outcome
from surefoot.replay.strange import lasting

OUTSIDE = "state changed from outside"
"""The cause that the catalogue does not know: it cannot be seen in a record."""

OTHER_SCALE = 3.0
"""A loss of the same batches under the same weights that is three times what it was is
computed in another way."""

MOMENTS = ("shorten the second moment", "lower beta2", "reset the moments")
SLOWER = ("half the rate", "warm up again", "a tenth of the rate")
TAKEN_BACK = "take back the jump of the rate"
SKIPPED = "skip the strange batches"
CLIPS = ("clip at the usual norm", "clip adaptively", "clip each tensor")


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a cause is told from: `worked` names the branches that prevented it."""

    known: Known
    still: Outcome
    unchanged: Harm
    worked: Collection[str]
    aside_before: float = math.nan
    """The loss of the batches that were set aside, as recorded."""
    departs: int | None = None
    """The step from which the unchanged replay is another course than recorded."""


@dataclass(frozen=True, slots=True)
class Implied:
    """A cause, with plain sentences that speak for it, and the layers it names."""

    cause: str
    evidence: tuple[str, ...]
    layers: tuple[str, ...] = ()


COSTLY = "is far above the others under weights that stand still"

Rule = Callable[[Facts], Implied | None]


def implied(facts: Facts) -> Implied | None:
    """The first cause that fits; None where nothing harmful is there to explain."""
    for rule in RULES:
        found = rule(facts)
        if found is not None:
            return found
    return None


def _departed(facts: Facts) -> Implied | None:
    if facts.departs is None:
        return None
    return Implied(
        OUTSIDE,
        (
            f"the replay gives the recorded losses up to step {facts.departs - 1} and "
            f"departs at once at step {facts.departs}: batches, rates, random numbers "
            "and updates are the recorded ones, so something else changed there",
        ),
    )


def _written(facts: Facts) -> Implied | None:
    if not facts.still.writes:
        return None
    first = facts.still.writes[0]
    where = ", ".join(first.layers[:3])
    return Implied(
        OUTSIDE,
        (f"{where} changed at step {first.step} although no update was made",),
        first.layers,
    )


def _broken_data(facts: Facts) -> Implied | None:
    broken = facts.known.strange.broken
    if not broken:
        return None
    return Implied(
        "non-finite data",
        (f"the batch of step {broken[0]} holds numbers that are none",),
    )


def _arithmetic(facts: Facts) -> Implied | None:
    rows = _from_onset(facts)
    lost = [step for step, loss, _ in rows if not math.isfinite(loss)]
    slopes = [step for step, _, norm in rows if not math.isfinite(norm)]
    if not lost and not slopes:
        return None
    what = (
        f"the loss of step {lost[0]}" if lost else f"the gradient of step {slopes[0]}"
    )
    said = f"{what} is no number, with sound inputs and under weights that stand still"
    if "float32" in facts.worked:
        return Implied(
            "half precision overflow",
            (said, "in float32 it is one"),
            facts.known.layers,
        )
    return Implied("numeric fault", (said,), facts.known.layers)


def _other_scale(facts: Facts) -> Implied | None:
    ratio = facts.still.aside / facts.aside_before
    if not math.isfinite(ratio) or ratio < OTHER_SCALE:
        return None
    said = (
        f"the same batches under the same weights cost {ratio:.3g} times what they "
        "did: the loss itself is computed in another way"
    )
    cured = [one for one in MOMENTS if one in facts.worked]
    if facts.unchanged.done and cured:
        return Implied("stale second moment", (said, _prevented(cured)))
    return Implied("data changed", (said,))


def _batches(facts: Facts) -> Implied | None:
    known = facts.known
    losses, inputs = known.strange.losses, known.strange.inputs
    # A hard batch is none of our business, unless its update did the harm.
    both = tuple(step for step in losses if step in inputs)
    passing = (losses or inputs) if SKIPPED in facts.worked else both
    if lasting(losses, known.window) or lasting(inputs, known.window):
        return _from_then_on(facts)
    if not passing:
        return None
    shown = ", ".join(map(str, passing[:4]))
    what = f"the inputs of step {shown} are unlike those before"
    if losses:
        what = f"the loss of step {shown} {COSTLY}"
    return Implied("bad batch", (what,))


def _from_then_on(facts: Facts) -> Implied | None:
    losses, inputs = facts.known.strange.losses, facts.known.strange.inputs
    if not losses and not facts.unchanged.done:
        return None
    said = [f"from step {losses[0]} on the loss {COSTLY}"] if losses else []
    if lasting(inputs, facts.known.window):
        said.append(f"from step {inputs[0]} on the inputs are unlike those before")
        return Implied("inputs shifted", tuple(said))
    return Implied("labels changed", (*said, "the inputs are as they were before"))


def _rates(facts: Facts) -> Implied | None:
    jump = facts.known.jump
    if not facts.unchanged.done or jump is None:
        return None
    if TAKEN_BACK not in facts.worked:
        return None
    return Implied(
        "learning rate too high",
        (
            f"the rate was multiplied by {jump.factor:.3g} at step {jump.step}",
            _prevented([TAKEN_BACK]),
        ),
    )


def _updates(facts: Facts) -> Implied | None:
    """The change of the updates that worked, the most telling one first."""
    if not facts.unchanged.done:
        return None
    told: Sequence[tuple[str, Sequence[str]]] = (
        ("half precision overflow", ("float32",)),
        ("stale second moment", MOMENTS),
        ("learning rate too high", (*SLOWER, *CLIPS)),
        # Nothing by nothing is none at any rate.
        ("epsilon too small", ("raise epsilon",)),
        ("dead ReLU", ("re-initialise dead units",)),
        ("missing normalisation", ("normalise the accused layers",)),
        ("learning rate too high", ("freeze the accused layers",)),
    )
    for cause, names in told:
        worked = [one for one in names if one in facts.worked]
        if worked:
            local = worked[0].endswith("layers")
            return Implied(
                cause,
                ("without updates the same batches do no harm", _prevented(worked)),
                facts.known.layers if local else (),
            )
    return Implied(
        "unknown", ("without updates the same batches do no harm", "no change helped")
    )


RULES: tuple[Rule, ...] = (
    _departed,
    _written,
    _broken_data,
    _arithmetic,
    _other_scale,
    _rates,
    _batches,
    _updates,
)
"""Every cause that a replay can tell, in the order in which they are asked for."""


def _prevented(names: Sequence[str]) -> str:
    return f"prevented by: {', '.join(names)}"


def _from_onset(facts: Facts) -> list[tuple[int, float, float]]:
    """Step, loss and length of the gradient of the still branch, from the onset on."""
    still, window = facts.still, facts.known.window
    norms = still.grad_norms or (0.0,) * len(still.losses)
    rows = zip(still.losses, norms, strict=False)
    numbered = [(step, *row) for step, row in enumerate(rows, start=window.first)]
    return [row for row in numbered if row[0] >= window.onset]
