"""Early warning: the gradient grows out of its range before the loss does.

Seen at every step, from norms alone: Adam's second moment is the moving average of
squared gradients, so how stale it is follows from the history of their norms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.memory import second_beta, staleness
from surefoot.signatures.statistics import Array, root_sum_square, trailing_top
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

BOUND = 3.0
SHORTEST = 40
IN_A_ROW = 2
MEMORY = 2000
"""Steps that a moving average is taken over: twice the memory of β₂ = 0.999."""
LAG = 20
SOURCE = (
    "norm of the gradient over the root of its moving average, as Adam holds it: 1 "
    "where the average fits; updates are too long by this factor (Molybog et al. "
    "2023, arXiv:2304.09871; benchmarks/zoo)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding, for information, at the first growth that the loss followed.

    A growth that no rise of the loss follows is the noise of a batch.
    """
    grads = series["grad_norm"]
    if grads.steps.size < SHORTEST:
        return []
    beta = second_beta(facts)
    usual = staleness(root_sum_square(grads.values)[:, None], beta)[:, 0]
    before = trailing_top(usual, 2 * SHORTEST)
    with np.errstate(invalid="ignore"):
        high = (usual > BOUND) & (usual > before)
    high[:SHORTEST] = False
    steady = high[IN_A_ROW - 1 :] & high[: high.size - IN_A_ROW + 1]
    if not steady.any():
        return []
    place = int(np.flatnonzero(steady)[0])
    onset = int(grads.steps[place])
    layers = _grown(grads, place, beta)
    name = f"norm of all gradients over its moving average, step {onset}"
    return [
        Finding(
            signature="early_warning",
            layer=layers[0] if layers else "run",
            onset=onset,
            severity="info",
            evidence=(Evidence(name, float(usual[place]), BOUND, SOURCE),),
            layers=layers,
            stream=facts.stream,
            detail={"lead": lead(series)},
        )
    ]


def _grown(grads: Series, place: int, beta: float) -> tuple[str, ...]:
    """Parameters whose own gradient has grown so at a step, the most first."""
    first = max(0, place - MEMORY)
    rows = grads.values[first : place + 1].astype(np.float64)
    factor = np.nan_to_num(staleness(rows, beta)[-1])
    order = np.argsort(-factor)
    return tuple(grads.layers[i] for i in order if factor[i] > BOUND)


def lead(series: Mapping[str, Series]) -> int:
    """Steps by which changes of the gradient precede those of the loss; 0 if none."""
    loss, grads = series.get("loss"), series["grad_norm"]
    if loss is None or loss.steps.size != grads.steps.size:
        return 0
    total = root_sum_square(grads.values)
    return lagged(total, loss.values[:, 0].astype(np.float64), LAG)[0]


def lagged(first: Array, second: Array, most: int) -> tuple[int, float]:
    """The lag at which changes of `second` follow changes of `first` best.

    Both have shape `[n]`. Returns the lag in steps, 0 to `most`, and the correlation
    there; `(0, 0.0)` where one of them does not change.

    >>> noise = np.random.default_rng(0).standard_normal(400)
    >>> lagged(noise, np.roll(noise, 5), 10)[0]
    5
    >>> lagged(np.array([1.0, np.inf, np.inf]), noise[:3], 1)
    (0, 0.0)
    """
    a, b = (np.diff(np.where(np.isfinite(x), x, np.nan)) for x in (first, second))
    keep = np.isfinite(a) & np.isfinite(b)
    a, b = np.where(keep, a, 0.0), np.where(keep, b, 0.0)
    size = float(np.sqrt((a @ a) * (b @ b)))
    if size == 0.0 or a.size <= most:
        return 0, 0.0
    found = [float(a[: a.size - k] @ b[k:]) / size for k in range(most + 1)]
    best = int(np.argmax(found))
    return best, found[best]


SIGNATURE = Signature(
    name="early_warning",
    about="Gradients grow out of their range, as they do before Adam's spikes.",
    needs=("grad_norm",),
    detect=detect,
    uses=("loss",),
)
