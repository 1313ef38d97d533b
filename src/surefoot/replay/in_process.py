"""An incident that can be replayed: a path comes in; with a model a Replayed goes out.

For whoever has model, optimizer and loss at hand, as in a notebook; a script is
replayed with `surefoot replay`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from surefoot.blackbox import incident as files
from surefoot.blackbox.incident import Incident
from surefoot.blackbox.state import Trained
from surefoot.record.replays import Replayed
from surefoot.replay.branches import BRANCHES, Branch
from surefoot.replay.conclude import ask
from surefoot.replay.errors import ReplayError
from surefoot.replay.outcome import Outcome
from surefoot.replay.quiet import lent
from surefoot.replay.stage import Head, Stage, common, nothing, perform
from surefoot.replay.window import Window, replayed_steps
from surefoot.types import LossFunction, Prescription

Models = nn.Module | Mapping[str, nn.Module]
Optimizers = torch.optim.Optimizer | Mapping[str, torch.optim.Optimizer]


@dataclass(frozen=True, slots=True, eq=False)
class Recorded(Incident):
    """An incident as it was read from its file; `replay` asks its moments again."""

    path: str = ""

    def replay(
        self,
        model: Models,
        optimizer: Optimizers,
        *,
        loss_fn: LossFunction,
        held_out: Callable[[Any], float] | None = None,
        max_grad_norm: float | None = None,
        before_step: Callable[[int], None] = nothing,
        branches: Sequence[Branch] = BRANCHES,
        tell: Callable[[int, int, str], None] = lambda done, total, name: None,
    ) -> Replayed:
        """Run the recorded steps again, with one thing changed at a time.

        Models, optimizers and random streams are afterwards as they were, bit for bit.

        Args:
            model: the model that was recorded, or one built alike; several by name.
            optimizer: the optimizer that was recorded, or one made alike.
            loss_fn: `loss_fn(model, batch)` with a batch as it was told to the run.
            held_out: `held_out(model)` measures the end of each branch on data of
                your own, lower is better; without it, batches from before the onset
                are used.
            max_grad_norm: the norm that your loop clips the gradient to, if it does.
            before_step: what your loop does besides before each step; it gets the
                number of the step in the recorded run.
            branches: what is changed, one branch each.
            tell: hears how many branches are done, of how many, and which.

        Raises:
            ReplayError: the incident has no steps to replay, or the recorded batches
                do not go through `loss_fn`.
            StateError: it comes from another model or optimizer; names what differs.
        """
        trained = _trained(self, model, optimizer)
        stage = Stage(trained, model, loss_fn, held_out, before_step, max_grad_norm)
        with lent(trained):
            play = player(self, stage, total=len(branches) + 2, tell=tell)
            return ask(self, play, branches=branches, name=Path(self.path).name)


def read_incident(path: str | Path) -> Recorded:
    """Read an incident file; nothing in it is executed.

    Raises:
        IncidentError: it is damaged, of a version that is not known, or no incident.
    """
    read = files.read_incident(path)
    given = {one.name: getattr(read, one.name) for one in fields(Incident)}
    return Recorded(**given, path=str(path))


def player(
    incident: Incident,
    stage: Stage,
    *,
    total: int,
    tell: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> Callable[[Window, Sequence[Prescription]], list[Outcome]]:
    """What plays branches one after another on a stage."""
    steps = replayed_steps(incident)
    done: list[str] = []
    heads: dict[Window, Head] = {}

    def play(window: Window, asked: Sequence[Prescription]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        if window not in heads:
            heads[window] = common(stage, incident.state, steps, window=window)
        for one in asked:
            outcomes.append(
                perform(stage, heads[window], steps, window=window, prescription=one)
            )
            done.append(one.remedy)
            tell(len(done), max(total, len(done)), one.remedy)
        return outcomes

    return play


def _trained(incident: Incident, model: Models, optimizer: Optimizers) -> Trained:
    """What is given, under the names of the incident."""
    models = _named(model, incident.state.rest["models"], "model")
    optimizers = _named(optimizer, incident.state.rest["optimizers"], "optimizer")
    return Trained(models, optimizers)


def _named(given: Any, recorded: Mapping[str, Any], what: str) -> Any:
    """One thing under the only recorded name, or several under their own.

    Raises:
        ReplayError: one came where several were recorded.
    """
    if isinstance(given, Mapping):
        return given
    if len(recorded) != 1:
        raise ReplayError(
            f"one {what} came; the incident holds {len(recorded)}: "
            f"{', '.join(recorded)}; give them by these names, as in "
            f"{{{next(iter(recorded), 'name')!r}: {what}}}"
        )
    return {next(iter(recorded)): given}
