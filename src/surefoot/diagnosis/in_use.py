"""Facts and series come in, what steadies the run goes out, with what only they show.

Clipping leaves a ceiling that the gradient norm of all layers touches again and again;
a warm-up is a learning rate that rises from its first step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from surefoot.signatures.statistics import root_sum_square
from surefoot.types import Facts, Series, Technique

NEAR = 1e-4
"""Share of the ceiling within which a norm touches it: torch divides by the norm plus
1e-6, and the recorded norms are float32."""

TOUCHES = 5
SHARE = 0.01
"""Steps at the ceiling, and the same as a share of the run. Of norms that are not
clipped one is the largest, and no other came that near in our healthy runs."""

RISES = 3
"""Steps that the rate must rise from the first on."""


NEEDED = ("grad_norm", "lr")
STEPS = 5_000
"""Of a long record the first: warm-ups are shorter, and what is clipped was clipped
at hundreds of them."""


class Reads(Protocol):
    """What is asked of a record: a `RecordReader`, or what answers the same."""

    def facts(self) -> Mapping[str, Facts]: ...  # noqa: D102

    def quantities(self, stream: str = "main") -> Sequence[str]: ...  # noqa: D102

    def series(  # noqa: D102
        self,
        quantity: str,
        stream: str = "main",
        *,
        start: int | None = None,
        stop: int | None = None,
    ) -> Series: ...


def in_use(facts: Facts, series: Mapping[str, Series]) -> tuple[Technique, ...]:
    """All techniques that a stream uses: recognised while it ran, or by its record."""
    found = list(facts.techniques)
    bound = clipped_at(series.get("grad_norm"))
    if bound is not None:
        settings = {"max_norm": bound}
        found.append(Technique("gradients", "gradient clipping", (), settings))
    steps = warmed_up(series.get("lr"))
    if steps is not None:
        found.append(Technique("schedule", "warm-up", (), {"steps": float(steps)}))
    return tuple(found)


def seen(reader: Reads, stream: str = "main") -> tuple[Technique, ...]:
    """The same from the beginning of a record: clipping shows in its first steps."""
    facts = reader.facts().get(stream, Facts(stream=stream))
    recorded = set(reader.quantities(stream)) & set(NEEDED)
    series = {name: reader.series(name, stream, stop=STEPS) for name in recorded}
    return in_use(facts, series)


def with_techniques(facts: Facts, series: Mapping[str, Series]) -> Facts:
    """The facts, with the techniques that the series show."""
    return replace(facts, techniques=in_use(facts, series))


def clipped_at(grads: Series | None) -> float | None:
    """The norm that all gradients together are clipped at; None if they are not."""
    if grads is None or not len(grads.values):
        return None
    total = root_sum_square(grads.values)
    total = total[np.isfinite(total)]
    ceiling = float(total.max(initial=0.0))
    touching = int((total > (1 - NEAR) * ceiling).sum())
    clipped = touching >= max(TOUCHES, SHARE * len(total)) and ceiling > 0
    return float(f"{ceiling:.3g}") if clipped else None


def warmed_up(rates: Series | None) -> int | None:
    """Steps over which the rate rises from its first value; None if it does not."""
    if rates is None or len(rates.values) <= RISES:
        return None
    rate = rates.values.max(axis=1)
    rises = rate[1:] > rate[:-1]  # a rate may be infinite
    length = int(np.argmin(rises)) if not rises.all() else len(rises)
    return int(rates.steps[length] - rates.steps[0]) if length >= RISES else None
