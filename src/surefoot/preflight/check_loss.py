"""Checks of the first loss: a Trial comes in, Notices go out."""

from __future__ import annotations

import math

import torch

from surefoot.nn.init.layers import Layer
from surefoot.preflight.report import Notice
from surefoot.preflight.signs import (
    FAR_ABOVE,
    HALF,
    guess_ratio,
    inputs_large,
    outlier,
)
from surefoot.preflight.tape import LossCall
from surefoot.preflight.trial import Trial
from surefoot.types import Evidence

ELEMENTWISE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")

UNIT = ("binary_cross_entropy", "binary_cross_entropy_with_logits")

OUTSIDE = 0.05
"""Share of targets outside of a range that is no rounding and no label smoothing."""


def finite_loss(trial: Trial) -> list[Notice]:
    """The first loss is a number, and all gradients are."""
    bad = [n for n, g in trial.gradients.items() if g is not None and not g.finite]
    if math.isfinite(trial.loss) and not bad:
        return []
    if trial.layers and not trial.layers[0].input_finite:
        return []
    first = next((one for one in trial.layers if _breaks(one)), None)
    layer = first.name if first else (bad[-1] if math.isfinite(trial.loss) else "run")
    what = (
        f"the loss is {trial.loss}"
        if not math.isfinite(trial.loss)
        else f"{len(bad)} gradients are not finite"
    )
    where = f"; the first output that is not finite is that of {layer}" if first else ""
    seen = Evidence("finite first loss and gradients", 0.0, 1.0, "arithmetic")
    return [Notice("SF101", "error", layer, f"{what}{where}.", (seen,), tuple(bad[:8]))]


def _breaks(one: Layer) -> bool:
    return one.input_finite and not one.finite


def guess(trial: Trial) -> list[Notice]:
    """A classifier's first loss is about ln C."""
    ratio, call = guess_ratio(trial)
    if call is None or ratio <= FAR_ABOVE or inputs_large(trial) or outlier(trial):
        return []
    classes = call.output.shape[1] if call.name == "cross_entropy" else 2
    bound = math.log(classes)
    last = trial.layers[-1].name if trial.layers else "run"
    source = f"ln C is a guess; healthy runs start below twice that (C = {classes})"
    seen = Evidence("first loss", ratio * bound, FAR_ABOVE * bound, source)
    detail = f"The first loss is {ratio:.3g} times that of a guess among {classes}."
    # A trained network that is given other labels starts high too, and comes down.
    fit = trial.fit
    cured = fit is not None and fit.fall > HALF
    severity = "info" if cured else "warning"
    return [Notice("SF102", severity, last, detail, (seen,))]


def broadcast(trial: Trial) -> list[Notice]:
    """Output and target have one shape."""
    found: list[Notice] = []
    for call in trial.calls:
        a, b = tuple(call.output.shape), tuple(call.target.shape)
        if call.name not in ELEMENTWISE or a == b or 1 in (_count(a), _count(b)):
            continue
        most = _count(torch.broadcast_shapes(a, b))
        if most > max(_count(a), _count(b)):
            larger = float(max(_count(a), _count(b)))
            seen = Evidence(
                f"differences of {call.name}", float(most), larger, "shapes"
            )
            detail = f"{call.name} got an output of shape {a} and a target of {b}."
            found.append(Notice("SF106", "error", "run", detail, (seen,)))
    return found


def _count(shape: tuple[int, ...]) -> int:
    return math.prod(shape)


def targets(trial: Trial) -> list[Notice]:
    """Targets lie where the loss is defined."""
    found: list[Notice] = []
    for call in trial.calls:
        if call.name in UNIT:
            share = outside(call, 0.0, 1.0)
            if share > OUTSIDE:
                seen = Evidence("targets outside of 0..1", share, OUTSIDE, "domain")
                low, high = float(call.target.min()), float(call.target.max())
                detail = f"{call.name} got targets from {low:.3g} to {high:.3g}."
                found.append(Notice("SF404", "error", "run", detail, (seen,)))
        if call.name == "cross_entropy" and call.output.dim() == 2:
            found += _single_class(call)
    return found


def outside(call: LossCall, low: float, high: float) -> float:
    """The share of targets that lie outside of a range, with a margin of 1 %."""
    margin = 0.01 * (high - low) if math.isfinite(high - low) else 0.0
    values = call.target.detach().float()
    return float(((values < low - margin) | (values > high + margin)).float().mean())


def _single_class(call: LossCall) -> list[Notice]:
    if call.output.shape[1] > 1:
        return []
    seen = Evidence("classes given to cross_entropy", 1.0, 2.0, "ln 1 = 0")
    detail = "cross_entropy got a single column: its loss is zero whatever comes."
    return [Notice("SF105", "error", "run", detail, (seen,))]


ALL = (finite_loss, guess, broadcast, targets)
