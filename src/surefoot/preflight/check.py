"""`surefoot.check`: a model, a batch and a loss come in, a Report goes out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from surefoot.preflight import (
    check_data,
    check_learning,
    check_loss,
    check_norms,
    check_optimizer,
    check_precision,
    check_signal,
    check_wiring,
)
from surefoot.preflight.check_learning import suggested
from surefoot.preflight.check_norms import too_few_to_run
from surefoot.preflight.measure import measure
from surefoot.preflight.report import ORDER, Report
from surefoot.preflight.trial import Subject, Trial
from surefoot.types import LossFunction

ALL = (
    *check_wiring.ALL,
    *check_loss.ALL,
    *check_optimizer.ALL,
    *check_data.ALL,
    *check_norms.ALL,
    *check_signal.ALL,
    *check_learning.ALL,
    *check_precision.ALL,
)
"""All checks: functions from a Trial to Notices."""


def check(
    model: nn.Module,
    batch: Any,
    *,
    loss_fn: LossFunction,
    optimizer: torch.optim.Optimizer | None = None,
    max_grad_norm: float | None = None,
    seconds: float = 20.0,
) -> Report:
    """Check what is about to be trained, on one batch, before hours are spent.

    Model, optimizer, gradients, modes, batch and random streams are as before when
    this returns, bit for bit, and when it raises. It takes some passes and some dozen
    trial updates, and as much memory again as weights and optimizer state.

    Args:
        model: the module to be trained, in the mode it will be trained in.
        batch: one batch, of the size that will be used; given to `loss_fn` as it is.
        loss_fn: `loss_fn(model, batch)` gives the loss, a tensor with one element.
        optimizer: what will train it; without it no updates are tried.
        max_grad_norm: the norm that the run clips its gradients to, if it does.
        seconds: time for trial updates; what was left out is in `report.skipped`.

    Returns:
        What was found, worst first. `report.ok` is whether training can begin.

    >>> import torch, surefoot
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(dim=-1))
    >>> optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    >>> batch = torch.randn(32, 4), torch.arange(32) % 3
    >>> def loss_fn(model, batch):
    ...     return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])
    >>> report = surefoot.check(model, batch, loss_fn=loss_fn, optimizer=optimizer)
    >>> report.ok, report.findings[0].id, report.findings[0].layer
    (False, 'SF103', '1')
    """
    subject = Subject(model, batch, loss_fn, optimizer, max_grad_norm)
    try:
        trial = measure(subject, seconds)
    except ValueError as error:
        notice = too_few_to_run(error)
        if notice is None:
            raise
        return Report((notice,), ("the forward pass failed, so nothing else was seen",))
    return judged(trial)


def judged(trial: Trial) -> Report:
    """The report on a trial."""
    found = [notice for one in ALL for notice in one(trial)]
    found.sort(key=lambda notice: ORDER[notice.severity])
    return Report(tuple(found), trial.skipped, _facts(trial))


def _facts(trial: Trial) -> dict[str, float]:
    """Numbers worth knowing that are no flaw."""
    facts = {"first loss": trial.loss}
    interval = suggested(trial)
    if interval is not None and trial.line is not None:
        facts["lowest suggested lr"], facts["highest suggested lr"] = interval
        facts["critical lr over lr"] = trial.line.critical
    if trial.fit is not None:
        facts["loss of one batch after trial updates"] = trial.fit.end
    return facts
