"""Remedies that were agreed to come in; each is tried, and stays or is undone."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from surefoot.autopilot.apply import apply_changes
from surefoot.autopilot.live import KnobError, Live
from surefoot.autopilot.policy import Policy
from surefoot.probes.shield import Shield
from surefoot.schedules.stepping import steps_of
from surefoot.types import Event, Prescription

Tell = Callable[[Event], None]


def helped(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether the loss is lower at the end of a trial than it was before the remedy.

    The medians of the losses before, and of the later half after, in which what the
    remedy did had time to show. A loss that is not finite counts as infinite.

    >>> helped([2.0, 2.1, 2.2], [2.2, 2.0, 1.6, 1.5])
    True
    >>> helped([2.0], [float("nan"), float("nan")])
    False
    """
    late = [_size(one) for one in after[len(after) // 2 :]]
    early = [_size(one) for one in before]
    return bool(late and early) and median(late) < median(early)


def _size(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf


@dataclass(slots=True)
class _Trial:
    """A remedy that was carried out, and the losses from before it."""

    remedy: str
    undo: Callable[[], None]
    began: int
    before: list[Tensor]


class OnTrial:
    """Carries remedies out between two updates, and undoes those that do not help.

    One at a time, each judged after `policy.window` updates, `policy.pause` updates
    apart, `policy.interventions` at most.
    """

    def __init__(self, live: Live, policy: Policy, tell: Tell) -> None:
        self._live, self._policy, self._tell = live, policy, tell
        self._wanted: deque[tuple[Prescription, str]] = deque()
        self._trial: _Trial | None = None
        self._spent, self._free_at = 0, 0
        self._micro: list[Tensor] = []
        self._losses: deque[Tensor] = deque(maxlen=policy.window)
        self._shield = Shield(self._failed)
        first = live.optimizers[0]
        self._leave = steps_of(first).add(after=self._after)

    def want(self, remedy: Prescription, why: str) -> None:
        """Carry a remedy out at the next occasion; from any thread."""
        self._wanted.append((remedy, why))

    def see_loss(self, loss: Tensor) -> None:
        """A loss of the update that is made next, or was just made."""
        self._micro.append(loss.detach())

    def close(self) -> None:
        """Leave what helped, or is not judged yet, as it is."""
        self._leave()

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._shield.run("remedies", self._go_on)

    def _go_on(self) -> None:
        """One update was made."""
        self._live.step += 1
        if self._micro:
            rows = [one.reshape(()).float() for one in self._micro]
            self._losses.append(rows[0] if len(rows) == 1 else torch.stack(rows).mean())
            self._micro = []
        trial = self._trial
        if trial is not None and self._live.step - trial.began >= self._policy.window:
            self._trial = None
            self._judge(trial)
            self._free_at = self._live.step + self._policy.pause
        if self._trial is None and self._wanted and self._live.step >= self._free_at:
            self._carry_out(*self._wanted.popleft())

    def _carry_out(self, remedy: Prescription, why: str) -> None:
        """Apply a remedy, if the budget allows it."""
        if self._spent >= self._policy.interventions:
            most = self._policy.interventions
            self._say("only watches", f"all {most} interventions are spent")
            return
        self._spent += 1
        try:
            undo = apply_changes(remedy.changes, self._live, why, self._tell)
        except KnobError as error:
            self._say(f"{remedy.remedy}: does not apply", str(error))
            return
        before = list(self._losses)
        self._losses.clear()
        self._trial = _Trial(remedy.remedy, undo, self._live.step, before)

    def _judge(self, trial: _Trial) -> None:
        """Undo a remedy that did not help; the losses are read here, all at once."""
        before, after = _numbers(trial.before), _numbers(list(self._losses))
        kept = helped(before, after)
        window = self._policy.window
        body = {
            "remedy": trial.remedy,
            "began": trial.began,
            "before": _level(before),
            "after": _level(after[len(after) // 2 :]),
        }
        if kept:
            self._say(f"{trial.remedy}: stays", "the loss fell", **body)
            return
        trial.undo()
        why = f"the loss did not fall within {window} updates"
        self._tell(Event(self._live.step, "undo", {**body, "why": why}))

    def _say(self, what: str, why: str, **more: Any) -> None:
        self._tell(
            Event(self._live.step, "autopilot", {"what": what, "why": why, **more})
        )

    def _failed(self, name: str, error: str) -> None:
        """Trouble of our own: training goes on with what was changed."""
        self._say("off", error)


def _numbers(losses: list[Tensor]) -> list[float]:
    return torch.stack(losses).tolist() if losses else []


def _level(losses: Sequence[float]) -> float | None:
    """The median, as JSON has numbers."""
    level = median(losses) if losses else math.nan
    return level if math.isfinite(level) else None
