"""A branch in this process: an incident and a change come in, an Outcome goes out.

The updates are made here as a plain training loop makes them: rates as recorded,
gradients zeroed, a loss for each micro-batch with its own random numbers, the mean of
them differentiated, the gradient clipped where the run clips it, every optimizer
stepped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from surefoot.autopilot.apply import apply_changes
from surefoot.autopilot.live import KnobError, Live
from surefoot.blackbox.incident import Micro, StepRecord
from surefoot.blackbox.state import State, Trained, capture, restore
from surefoot.gradients.norms import total_norm
from surefoot.replay.branches import UNCHANGED
from surefoot.replay.errors import ReplayError
from surefoot.replay.outcome import Outcome, Write
from surefoot.replay.window import Window
from surefoot.types import LossFunction, Prescription

FAILURES = (ValueError, RuntimeError, ArithmeticError, TypeError, LookupError)
"""What a model or a loss raises where a change does not agree with it."""


def nothing(step: int) -> None:
    """Before a step nothing else happens."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where branches are played: what is trained, and how one update is made.

    `given` is what `loss_fn` is called with: the model, or the mapping of all.
    `before_step(step)` is what the loop does besides, with the step's number in the
    recorded run; `held_out(given)` measures at the end, lower is better.
    """

    trained: Trained
    given: Any
    loss_fn: LossFunction
    held_out: Callable[[Any], float] | None = None
    before_step: Callable[[int], None] = nothing
    max_grad_norm: float | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """What all branches have in common: the steps before they part, played once."""

    state: State
    losses: tuple[float, ...] = ()
    norms: tuple[float, ...] = ()


def common(
    stage: Stage, state: State, steps: Sequence[StepRecord], *, window: Window
) -> Head:
    """Play the steps before the branches part.

    Raises:
        ReplayError: the recorded batches do not go through the loss.
    """
    branch = _Branch(stage, window, UNCHANGED)
    restore(state, stage.trained)
    with _told_as(ReplayError):
        branch.play([one for one in steps if one.step < window.parting])
    kept = capture(stage.trained, window.parting)
    return Head(kept, tuple(branch.losses), tuple(branch.norms))


@contextmanager
def _told_as(error: type[ReplayError]) -> Generator[None]:
    """Say what a loss function must take, where it does not take what was recorded."""
    try:
        yield
    except FAILURES as trouble:
        raise error(
            f"the recorded batches could not be replayed ({type(trouble).__name__}: "
            f"{trouble}); expected a loss_fn(model, batch) that takes a batch as it "
            "was told to the run; see incident.steps[0].micro[0].batch"
        ) from trouble


def perform(
    stage: Stage,
    head: Head,
    steps: Sequence[StepRecord],
    *,
    window: Window,
    prescription: Prescription,
) -> Outcome:
    """Play one branch from where the branches part.

    What was changed is undone; weights and states are left as the branch leaves them.

    Raises:
        ReplayError: the unchanged branch could not be played.
    """
    began = time.perf_counter()
    branch = _Branch(stage, window, prescription)
    branch.losses, branch.norms = [*head.losses], [*head.norms]
    restore(head.state, stage.trained)
    rows = [one for one in steps if window.parting <= one.step <= window.last]
    aside = [one for one in steps if one.step in window.aside]
    aside_loss, held_out = math.nan, math.nan
    try:
        if not prescription.changes:
            with _told_as(ReplayError):
                branch.play(rows)
        else:
            branch.play(rows)
        aside_loss, held_out = branch.measure(aside)
    except FAILURES as error:
        if not prescription.changes:
            raise
        branch.ended = f"{type(error).__name__}: {error}"
    finally:
        branch.leave()
    return Outcome(
        branch=prescription.remedy,
        losses=tuple(branch.losses),
        grad_norms=tuple(branch.norms),
        aside=aside_loss,
        held_out=held_out,
        refused=branch.refused,
        ended=branch.ended,
        writes=tuple(branch.writes),
        seconds=time.perf_counter() - began,
    )


class _Branch:
    """One branch while it is played."""

    def __init__(
        self, stage: Stage, window: Window, prescription: Prescription
    ) -> None:
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.writes: list[Write] = []
        self.refused = self.ended = ""
        self._stage, self._window = stage, window
        self._prescription = prescription
        self._undo: Callable[[], None] | None = None
        self._kept: dict[str, torch.Tensor] = {}

    def play(self, steps: Sequence[StepRecord]) -> None:
        """All steps, with the change from the parting on."""
        for record in steps:
            if record.step == self._window.parting:
                self._part(record.step)
            if self.refused:
                self.losses, self.norms = [], []
                return
            self._stage.before_step(record.step)
            self._look_for_writes(record.step)
            self._update(record)

    def measure(self, aside: Sequence[StepRecord]) -> tuple[float, float]:
        """The loss on batches set aside, and on what the caller holds out."""
        if self.refused:
            return math.nan, math.nan
        losses: list[float] = []
        for record in aside:
            for micro in record.micro:
                if micro.random is not None:
                    micro.random.restore()
                # With gradients: a loss may take some of its own.
                losses.append(float(self._loss(micro).detach()))
        held_out = self._stage.held_out
        measured = math.nan if held_out is None else float(held_out(self._stage.given))
        return (sum(losses) / len(losses) if losses else math.nan), measured

    def leave(self) -> None:
        """Take the change back."""
        if self._undo is not None:
            with suppress(*FAILURES):  # the next restore puts all values back
                self._undo()

    def _part(self, step: int) -> None:
        changes = self._prescription.changes
        if not changes:
            return
        trained = self._stage.trained
        live = Live(trained.models, [*trained.optimizers.values()], step)
        try:
            why = "a branch of a replay"
            self._undo = apply_changes(changes, live, why, lambda event: None)
        except KnobError as error:
            self.refused = str(error)
        if stands_still(self._prescription):
            self._kept = {k: w.detach().clone() for k, w in _weights(trained).items()}

    def _update(self, record: StepRecord) -> None:
        trained = self._stage.trained
        set_rates(trained.optimizers, record.rates)
        losses: list[float] = []
        for one in trained.optimizers.values():
            one.zero_grad()
        for micro in record.micro:
            if micro.random is not None:
                micro.random.restore()
            loss = self._loss(micro)
            losses.append(float(loss.detach()))
            (loss / len(record.micro) if len(record.micro) > 1 else loss).backward()
        most = self._stage.max_grad_norm
        norms = [float(total_norm(one)) for one in trained.optimizers.values()]
        if most is not None:
            for model in trained.models.values():
                torch.nn.utils.clip_grad_norm_(model.parameters(), most)
        self.losses.append(sum(losses) / len(losses))
        self.norms.append(math.sqrt(sum(norm * norm for norm in norms)))
        for one in trained.optimizers.values():
            one.step()

    def _loss(self, micro: Micro) -> torch.Tensor:
        return self._stage.loss_fn(
            self._stage.given, on_device(micro.batch, self._home)
        )

    @property
    def _home(self) -> torch.device:
        weights = _weights(self._stage.trained).values()
        return next((one.device for one in weights), torch.device("cpu"))

    def _look_for_writes(self, step: int) -> None:
        """In the branch without updates, weights that moved all the same."""
        if not self._kept or self.writes:
            return
        now = _weights(self._stage.trained)
        moved = [k for k, old in self._kept.items() if not _same(old, now.get(k))]
        if moved:
            self.writes.append(Write(step, tuple(moved)))


def stands_still(prescription: Prescription) -> bool:
    """Whether a branch is the one without updates."""
    return prescription.remedy == "no updates"


def set_rates(
    optimizers: Mapping[str, torch.optim.Optimizer],
    rates: Mapping[str, Sequence[float]],
) -> None:
    """Give every group of the optimizers its recorded rate."""
    for name, optimizer in optimizers.items():
        for group, rate in zip(
            optimizer.param_groups, rates.get(name, ()), strict=False
        ):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def on_device(batch: Any, device: torch.device) -> Any:
    """A batch with copies of its tensors, where the weights are."""

    def move(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        # Always a copy: a loss may write into its batch.
        return leaf.to(device, copy=True)

    return pytree.tree_map(move, batch)


def _weights(trained: Trained) -> dict[str, torch.Tensor]:
    """All parameters by name, as the record names them."""
    several = len(trained.models) > 1
    return {
        (f"{key}.{name}" if several else name): one
        for key, model in trained.models.items()
        for name, one in _named(model)
    }


def _named(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return list(model.named_parameters())


def _same(old: torch.Tensor, new: torch.Tensor | None) -> bool:
    if new is None or new.shape != old.shape:
        return True
    return bool(torch.equal(old, new) or bool(((old == new) | (old != old)).all()))
