"""A Subject comes in, is tried on one batch, and a Trial goes out; nothing is changed.

Some passes and a few dozen updates on the live model between a snapshot and its
restoration. All trials see the same random numbers, so that losses can be compared.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch

from surefoot.gradients.update_ratio import relative_norms
from surefoot.nn.init.layers import Taps, first_float
from surefoot.preflight.signs import ALIKE
from surefoot.preflight.steps import Bench, first_update, fit, line
from surefoot.preflight.tape import Tape
from surefoot.preflight.trial import Fit, Gradient, Subject, Trial
from surefoot.probes.wiring import wiring
from surefoot.restore.snapshot import Snapshot

ROUNDING = 1e-5
"""Equal up to rounding: some hundred times the step of float32 numbers, 1.2e-7."""

LEARNS = 0.2
"""A fit that takes this share off the loss needs no comparison with other rates."""

CLOSURE = ("LBFGS",)
"""Optimizers whose step evaluates the loss itself: their updates are not tried."""


def measure(subject: Subject, seconds: float) -> Trial:
    """Measure a subject; it is as before when this returns or raises.

    `seconds` bounds the time spent on trials that change weights; the passes that
    every check needs are made in any case.
    """
    snapshot = Snapshot(subject.model, subject.optimizer, subject.batch)
    bench = Bench(subject, snapshot, time.monotonic() + seconds)
    try:
        snapshot.rewind()
        with torch.enable_grad():
            trial = _first_pass(bench)
            return _tried(bench, trial) if _can_train(trial) else trial
    finally:
        snapshot.restore()


def _first_pass(bench: Bench) -> Trial:
    """One forward and backward pass, watched closely."""
    subject = bench.subject
    with Taps(subject.model) as taps, Tape() as tape:
        loss = bench.loss()
    trainable = {n: w for n, w in subject.model.named_parameters() if w.requires_grad}
    wires = wiring(loss, trainable)
    first = float(loss.detach())
    if loss.requires_grad:
        loss.backward()
    calls = tape.calls
    return Trial(
        subject=subject,
        names={id(w): n for n, w in subject.model.named_parameters()},
        loss=first,
        repeated=math.nan,
        wiring=wires,
        calls=tuple(tape.losses),
        output=first_float(calls[-1].result) if calls else None,
        layers=taps.layers,
        gradients={n: _gradient(w.grad) for n, w in trainable.items()},
        elsewhere=_elsewhere(subject, trainable),
        alike=tuple(n for n, w in trainable.items() if _alike(w)),
    )


def _elsewhere(
    subject: Subject, trainable: Mapping[str, torch.Tensor]
) -> frozenset[str]:
    """Weights that this optimizer leaves out and another one holds."""
    held = subject.held()
    out = {id(w): n for n, w in trainable.items() if id(w) not in held}
    if not held or not out:
        return frozenset()
    found: set[str] = set()
    for one in gc.get_objects():
        # Not isinstance: it would run the code of lazy proxies.
        if issubclass(type(one), torch.optim.Optimizer):
            groups = getattr(one, "param_groups", ())
            given = {id(weight) for group in groups for weight in group["params"]}
            found |= {out[key] for key in given & out.keys()}
    return frozenset(found)


def _can_train(trial: Trial) -> bool:
    """Whether an update can be tried: a finite loss that some held weight moves."""
    optimizer = trial.subject.optimizer
    if optimizer is None or type(optimizer).__name__ in CLOSURE:
        return False
    held = trial.subject.held()
    moved = any(
        id(weight) in held and trial.gradients.get(name) is not None
        for name, weight in trial.subject.model.named_parameters()
    )
    return moved and math.isfinite(trial.loss)


def _tried(bench: Bench, trial: Trial) -> Trial:
    """Repetition, first update, the line along it, and fits."""
    bench.snapshot.rewind()
    repeated = float(bench.loss().detach())
    change = first_update(bench)
    ratios = dict(_ratios(bench, change, trial))
    skipped: list[str] = []
    if repeated != trial.loss:
        skipped.append(
            "the same batch with the same random numbers gave two losses, so no trial "
            "updates were compared: the learning rate was not judged"
        )
        return replace(
            trial, repeated=repeated, update_ratio=ratios, skipped=tuple(skipped)
        )
    along = line(bench, change)
    fits = tuple(_fits(bench))
    if bench.late:
        skipped.append(
            f"the time was up during the trial updates; {len(fits)} fits were made; "
            "give seconds= a larger number for all of them"
        )
    return replace(
        trial,
        repeated=repeated,
        update_ratio=ratios,
        line=along,
        fits=fits,
        skipped=tuple(skipped),
    )


def _fits(bench: Bench) -> Iterator[Fit]:
    """The fit at the rate as it is, and others where that one says too little."""
    first = fit(bench, 1.0)
    yield first
    if first.fall >= LEARNS and not first.between < ALIKE:
        return
    peak = bench.subject.peak
    others = (0.03, 0.001) if first.fall < 0 else (0.1, peak, 10 * peak, 100 * peak)
    for factor in dict.fromkeys(others):
        if factor != 1 and not bench.late:
            yield fit(bench, factor)


def _ratios(
    bench: Bench, change: list[torch.Tensor], trial: Trial
) -> Iterator[tuple[str, float]]:
    """Norm of the update over that of the weights, by parameter."""
    weights = bench.weights()
    ratios = relative_norms(change, weights).tolist() if weights else []
    for weight, ratio in zip(weights, ratios, strict=True):
        if math.isfinite(ratio) and id(weight) in trial.names:
            yield trial.names[id(weight)], ratio


def _alike(weight: torch.Tensor) -> bool:
    """Whether all units have the same weights, not all zero, and the same gradients."""
    grad = weight.grad
    if weight.dim() < 2 or len(weight) < 2 or grad is None or grad.is_sparse:
        return False
    return _equal_rows(weight.detach()) and _equal_rows(grad)


def _equal_rows(matrix: torch.Tensor) -> bool:
    """Whether all rows are equal up to rounding, and not all zero."""
    norm = float(matrix.float().norm())
    spread = float((matrix - matrix.mean(0)).float().norm())
    return norm > 0 and spread <= ROUNDING * norm


def _gradient(grad: torch.Tensor | None) -> Gradient | None:
    if grad is None:
        return None
    values = grad.detach().coalesce().values() if grad.is_sparse else grad.detach()
    size = values.abs().float()
    return Gradient(
        norm=float(size.norm()),
        absmax=float(size.max()) if size.numel() else 0.0,
        size=grad.numel(),
        finite=bool(torch.isfinite(size).all()),
        zeros=float((size == 0).float().mean()) if size.numel() else 0.0,
    )
