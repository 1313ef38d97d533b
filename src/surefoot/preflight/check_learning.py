"""Checks of the learning rate on one batch: a Trial comes in, Notices go out."""

from __future__ import annotations

import math
from statistics import median

from surefoot.preflight.report import Notice
from surefoot.preflight.signs import (
    ALIKE,
    EXPERIMENT,
    FAR_ABOVE,
    LITTLE,
    explodes,
    guess_ratio,
    inputs_large,
    learns_nothing,
    outlier,
)
from surefoot.preflight.trial import Trial
from surefoot.types import Evidence

OVER = 0.5
"""Fraction of the first update that raises the loss. Healthy runs of
benchmarks/preflight.py have 4 to inf."""

PAST = 0.3
"""Fraction of the first update at which the loss is lowest: a longer one goes past the
valley. Of 309 healthy runs of benchmarks/preflight.py one had 0.46, the others 1 or
more."""

OVER_REACH = 6.0
"""Highest rate of the schedule, times what momentum adds up to, over the critical rate
of the first batch. Healthy runs of benchmarks/preflight.py have 0.5 or less, bold
schedules with momentum up to 2.5."""

NOTHING = 0.002
"""Share of the first loss. Healthy runs of benchmarks/preflight.py, warm-ups and
fine-tuning included, win more in 40 updates, or win LITTLE at a hundred times the
rate."""

TRAINED = 0.5
"""First loss over that of a guess, below which a network was trained before."""

SPAN = (1 / 300, 1 / 4)
"""Rates over the critical one. Nine of ten healthy runs of benchmarks/preflight.py
train in this span."""


def too_high(trial: Trial) -> list[Notice]:
    """The first update lowers the loss, or would if it were not so long."""
    along = trial.line
    if along is None or inputs_large(trial) or outlier(trial) is not None:
        return []
    if along.best <= 0 or guess_ratio(trial)[0] > FAR_ABOVE:
        return []
    seen = _first_step(trial) or _later_steps(trial)
    if seen is None:
        return []
    detail = f"lr is {_rate(trial):.3g}; {_interval(trial)}"
    return [Notice("SF602", "warning", "run", detail, (seen,))]


def _first_step(trial: Trial) -> Evidence | None:
    """What says that the first update, or those of a schedule, are too long."""
    along = trial.line
    if along is None:
        return None
    reach = trial.subject.peak * _momentum(trial) / along.critical
    if along.critical < OVER:
        what = "fraction of the first update that raises the loss"
        return Evidence(what, along.critical, OVER, EXPERIMENT)
    if along.best < PAST:
        what = "fraction of the first update at which the loss is lowest"
        return Evidence(what, along.best, PAST, EXPERIMENT)
    if reach > OVER_REACH:
        what = "rate with schedule and momentum over the critical one"
        return Evidence(what, reach, OVER_REACH, EXPERIMENT)
    return None


def _later_steps(trial: Trial) -> Evidence | None:
    """What says that updates at this rate spoil what lower rates do well."""
    fit = trial.fit
    gentle = [one for one in trial.fits if one.factor < 1 and one.fall > LITTLE]
    if fit is None or not gentle:
        return None
    best = max(gentle, key=lambda one: one.fall)
    source = f"{EXPERIMENT}; at {best.factor:g} times the rate the loss falls"
    if fit.fall < -1:
        end = min(fit.end, 1e30)
        return Evidence("loss after trial updates", end, 2 * fit.start, source)
    if fit.between < ALIKE and best.between > 100 * ALIKE:
        what = "difference between outputs after trial updates"
        return Evidence(what, fit.between, ALIKE, source)
    return None


def _momentum(trial: Trial) -> float:
    """What momentum makes of a step in the long run: 10 for SGD with 0.9."""
    optimizer = trial.subject.optimizer
    group = {} if optimizer is None else optimizer.param_groups[0]
    if "betas" in group or group.get("dampening"):
        return 1.0
    return 1 / max(1e-3, 1 - float(group.get("momentum") or 0))


def too_low(trial: Trial) -> list[Notice]:
    """Trial updates lower the loss of one batch, at this rate or a schedule's."""
    peak = trial.subject.peak
    fit = next((one for one in trial.fits if one.factor == peak), None)
    far = next((one for one in trial.fits if one.factor == 100 * peak), None)
    if fit is None or far is None or learns_nothing(trial) or explodes(trial):
        return []
    ratio, call = guess_ratio(trial)
    if not 0 <= fit.fall < min(5 * NOTHING, far.fall):
        return []
    # A warm-up written by hand looks the same, but not at a hundred times the rate.
    sure = fit.fall < NOTHING and far.fall < 2 * LITTLE
    fresh = sure and call is not None and ratio > TRAINED
    moved = median(trial.update_ratio.values()) if trial.update_ratio else math.nan
    seen = (
        Evidence(
            "share of the loss won by trial updates", fit.fall, NOTHING, EXPERIMENT
        ),
        Evidence("the same at 100 times the rate", far.fall, 2 * LITTLE, EXPERIMENT),
    )
    detail = (
        f"lr is {_rate(trial):.3g}; an update changes the weights by {moved:.1g} of "
        f"their size; {_interval(trial)}"
    )
    return [Notice("SF603", "warning" if fresh else "info", "run", detail, seen)]


def repeatable(trial: Trial) -> list[Notice]:
    """The same state gives the same loss."""
    if math.isnan(trial.repeated) or trial.repeated == trial.loss:
        return []
    gap = abs(trial.repeated - trial.loss)
    seen = Evidence("difference of the two losses", gap, 0.0, "arithmetic")
    detail = f"First {trial.loss:.8g}, then {trial.repeated:.8g}."
    return [Notice("SF605", "info", "run", detail, (seen,))]


def suggested(trial: Trial) -> tuple[float, float] | None:
    """An interval of learning rates to choose from; None where it cannot be told."""
    along = trial.line
    if along is None or not 0 < along.critical < math.inf or _rate(trial) <= 0:
        return None
    critical = along.critical * _rate(trial)
    return SPAN[0] * critical, SPAN[1] * critical


def _interval(trial: Trial) -> str:
    found = suggested(trial)
    if found is None:
        return "no upper end was found"
    return f"rates between {found[0]:.2g} and {found[1]:.2g} suit this first batch."


def _rate(trial: Trial) -> float:
    optimizer = trial.subject.optimizer
    return 0.0 if optimizer is None else float(optimizer.param_groups[0].get("lr", 0))


ALL = (too_high, too_low, repeatable)
