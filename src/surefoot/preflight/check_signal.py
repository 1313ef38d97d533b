"""Checks of the signal through the layers: a Trial comes in, Notices go out."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

from surefoot.nn.init.layers import Layer, difference, is_zero, slope
from surefoot.preflight.report import Notice
from surefoot.preflight.signs import (
    ALIKE,
    EXPERIMENT,
    HALF,
    LITTLE,
    OUTLIER,
    SATURATED,
    explodes,
    guess_ratio,
    inputs_large,
    learns_nothing,
    outlier,
    overshoots,
    weighted,
)
from surefoot.preflight.trial import Trial
from surefoot.types import Evidence

FADED = 1e-3
"""Last over first: three decades lost. Healthy networks of benchmarks/preflight.py
lose two at most, and only with this much can a fit fail for it."""

LOST = 1e-5
"""The same where trial updates do win something: plain networks of fourteen layers,
which learn far less than their twins, lose more."""

A_TENTH = 0.1
"""What a layer passes on of a difference: 0.58 with torch's own weights under ReLU."""

GROWN = 1e3
"""Last over first output size: Xavier or Kaiming weights of the right gain keep it
near 1 (He et al. 2015), and three decades more reach the loss."""

MOSTLY_DEAD = 0.9
FEWEST_ROWS = 16
"""Rows from which a unit that is never positive is no accident: 2^-16 by chance."""

RELUS = ("ReLU", "ReLU6")


def fading(trial: Trial) -> list[Notice]:
    """The network can tell examples apart, or the layer that prevents it is named."""
    if not learns_nothing(trial):
        return _faded(trial) if _slow(trial, FADED, LITTLE) else _lost(trial)
    for named in (_dead, _zeros, _alike_rows, _faded):
        found = named(trial)
        if found:
            return found
    worst = max((f.between for f in trial.fits if f.finite), default=0.0)
    seen = Evidence("difference between outputs after a fit", worst, ALIKE, EXPERIMENT)
    detail = "After trial updates at all rates, all examples give the same output."
    return [Notice("SF601", "error", "run", detail, (seen,))]


def _slow(trial: Trial, lost: float, little: float) -> bool:
    """Whether the signal is lost, and trial updates at this rate win little."""
    signal = _signal(trial)
    # Large inputs that a normalisation cuts down to size look like a fading signal.
    known = len(signal) >= 3 and not inputs_large(trial)
    faded = known and (signal[-1] < lost * signal[0] or slope(signal) < A_TENTH)
    return faded and trial.fit is not None and trial.fit.fall < little


def _lost(trial: Trial) -> list[Notice]:
    """A signal so weak that learning takes far longer than it should."""
    found = _faded(trial) if _slow(trial, LOST, HALF) else []
    return [replace(one, severity="warning") for one in found]


def _signal(trial: Trial) -> list[float]:
    """Differences between examples, layer by layer, past those that start at zero."""
    return [difference(one) for one in weighted(trial) if not is_zero(one.module)]


def _dead(trial: Trial) -> list[Notice]:
    """A layer that puts out nothing but zeros, whatever it is given."""
    layers = trial.layers
    for i, one in enumerate(layers):
        given = one.input_between != 0
        if one.dead == 1 and given and not (one.weighted and is_zero(one.module)):
            name = _before(layers, i) if not one.weighted else one.name
            seen = Evidence(f"units of {one.name} always zero", 1.0, 1.0, EXPERIMENT)
            detail = f"All units of {one.name} are zero for every example."
            return [Notice("SF304", "error", name, detail, (seen,), (name, one.name))]
        if one.weighted and one.input_dead == 1 and i and not is_zero(one.module):
            name = _before(layers, i)
            seen = Evidence(f"inputs of {one.name} always zero", 1.0, 1.0, EXPERIMENT)
            detail = f"All that {one.name} is given is zero, for every example."
            return [Notice("SF304", "error", name, detail, (seen,), (name,))]
    return []


def _before(layers: tuple[Layer, ...], place: int) -> str:
    """The last layer with weights before a place; the layer itself if none is."""
    earlier = [one.name for one in layers[:place] if one.weighted]
    return earlier[-1] if earlier else layers[place].name


def _faded(trial: Trial) -> list[Notice]:
    """Signal or gradient lost over the depth."""
    layers = [one for one in weighted(trial) if not is_zero(one.module)]
    forward = _signal(trial)
    back = [one.gradient for one in layers]
    if len(layers) < 3:
        return []
    sent = Evidence(
        "difference between examples, last over first layer",
        _over(forward[-1], forward[0]), FADED, EXPERIMENT,
    )  # fmt: skip
    came = Evidence(
        "gradient norm, first over last layer", _over(back[0], back[-1]), FADED,
        EXPERIMENT,
    )  # fmt: skip
    names = tuple(one.name for one in layers)
    if sent.observed < FADED:
        detail = (
            f"The difference between examples shrinks ×{slope(forward):.2g} per layer, "
            f"the gradient ×{slope(back[::-1]):.2g}; blame the gain, no one layer."
        )
        return [Notice("SF301", "error", names[0], detail, (sent, came), names)]
    if came.observed < FADED and learns_nothing(trial):
        detail = f"The gradient shrinks ×{slope(back[::-1]):.2g} per layer on its way."
        return [Notice("SF302", "error", names[0], detail, (came, sent), names)]
    return []


def _over(a: float, b: float) -> float:
    return a / b if b > 0 else math.nan


def zero_layers(trial: Trial) -> list[Notice]:
    """No two layers in a row start at zero."""
    return [] if learns_nothing(trial) else _zeros(trial)


def _zeros(trial: Trial) -> list[Notice]:
    layers = weighted(trial)
    for first, second in pairwise(layers):
        fed = second.input_between < 1e-9 < first.input_between or (
            second.input_between < 1e-9 and is_zero(first.module)
        )
        if is_zero(first.module) and is_zero(second.module) and fed:
            seen = Evidence("zero layers in a row", 2.0, 1.0, "no gradient passes")
            detail = f"{first.name} and {second.name} have all weights at zero."
            names = (first.name, second.name)
            return [Notice("SF307", "error", first.name, detail, (seen,), names)]
    return []


def alike(trial: Trial) -> list[Notice]:
    """Units of a layer differ from each other."""
    return [] if learns_nothing(trial) else _alike_rows(trial)


def _alike_rows(trial: Trial) -> list[Notice]:
    if not trial.alike:
        return []
    name = trial.alike[0]
    seen = Evidence(f"spread of units of {name} and of their gradients", 0.0, 1e-5,
                    "equal weights with equal gradients stay equal")  # fmt: skip
    detail = f"All units of {name} are the same and get the same gradient."
    layer = name.rpartition(".")[0] or name
    return [Notice("SF306", "error", layer, detail, (seen,), trial.alike)]


# --- too large ------------------------------------------------------------------


def growing(trial: Trial) -> list[Notice]:
    """No layer, and no depth, enlarges the signal by decades."""
    if inputs_large(trial):
        return []
    single = outlier(trial)
    if single is not None:
        name, times = single
        seen = (
            Evidence(f"gain of {name} over the median", times, OUTLIER, EXPERIMENT),
        )
        detail = f"{name} enlarges its input {times:.3g} times more than its peers."
        return [Notice("SF308", "warning", name, detail, seen)]
    if not (explodes(trial) or overshoots(trial)):
        return []
    layers = [one for one in weighted(trial) if one.rms > 0 and one.finite]
    if len(layers) < 3 or layers[-1].rms < GROWN * layers[0].rms:
        return []
    sizes = [one.rms for one in layers]
    seen = (
        Evidence("output size, last over first layer", sizes[-1] / sizes[0], GROWN,
                 EXPERIMENT),
        _harm(trial),
    )  # fmt: skip
    detail = (
        f"The output grows ×{slope(sizes):.2g} per layer over {len(layers)} layers; "
        "the gain is to blame, no one layer."
    )
    names = tuple(one.name for one in layers)
    return [Notice("SF303", "error", names[0], detail, seen, names)]


def _harm(trial: Trial) -> Evidence:
    ratio, _ = guess_ratio(trial)
    if ratio == ratio:
        return Evidence("first loss over that of a guess", ratio, 8.0, EXPERIMENT)
    critical = math.nan if trial.line is None else trial.line.critical
    return Evidence("fraction of the first update that raises the loss", critical, 0.5,
                    EXPERIMENT)  # fmt: skip


def saturated(trial: Trial) -> list[Notice]:
    """No inner sigmoid or tanh sits at its ends."""
    if inputs_large(trial):
        return []
    inner = [one for one in trial.layers[:-1] if one.kind in ("Sigmoid", "Tanh")]
    for one in inner:
        if one.saturated > SATURATED:
            place = trial.layers.index(one)
            name = _before(trial.layers, place)
            seen = Evidence(
                f"outputs of {one.name} at the ends", one.saturated, SATURATED,
                EXPERIMENT,
            )  # fmt: skip
            detail = (
                f"{one.saturated:.0%} of the outputs of {one.name} are at the ends."
            )
            return [Notice("SF305", "warning", name, detail, (seen,), (name, one.name))]
    return []


def dying(trial: Trial) -> list[Notice]:
    """Most units of each ReLU answer to something."""
    if learns_nothing(trial):
        return []
    for i, one in enumerate(trial.layers):
        if one.kind not in RELUS or one.rows < FEWEST_ROWS or one.shape[-1] < 4:
            continue
        if MOSTLY_DEAD <= one.dead < 1:
            name = _before(trial.layers, i)
            seen = Evidence(
                f"units of {one.name} always zero", one.dead, MOSTLY_DEAD, EXPERIMENT
            )
            detail = f"{one.dead:.0%} of the units of {one.name} are zero throughout."
            return [Notice("SF304", "warning", name, detail, (seen,), (name, one.name))]
    return []


ALL = (fading, zero_layers, alike, saturated, growing, dying)
