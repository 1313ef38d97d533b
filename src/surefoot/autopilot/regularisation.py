"""A penalty, or a strength of the optimizer's own, comes in; it is held where it helps.

Decisions are pure functions in `lever.py` and `balance.py`; here the gradients are
measured, and what was decided is carried out through `apply_changes`, the only writer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.autopilot.apply import apply_changes
from surefoot.autopilot.heard import Heard
from surefoot.autopilot.live import KnobError, Live
from surefoot.gradients.norms import weights_of
from surefoot.nn.norm.across import sum_over_processes
from surefoot.nn.regularize.controller import PenaltyController, gradient_norm
from surefoot.nn.regularize.errors import RegularizeError
from surefoot.schedules.scheduled import Scheduled, value_at
from surefoot.types import Change, Event, Series

KEPT = 0.6
"""Of the levels of both gradients at each measurement: an average over about two and a
half. Ratios of single batches scatter from half the target to twice of it; with 0.8 the
level came so late that the ratio was three times its target where it moved fast."""

BAND = 1.25
"""Times the target, up or down, within which the averaged ratio changes nothing: less
would follow the noise that is left, and log an event at every measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """How a penalty is held.

    Attributes:
        bounds: λ never leaves them.
        warm_up: from the step to the part of λ that is used, such as
            `ramp_up(1.0, 500)`; the ratio is that of the whole λ.
        every: steps from one measurement to the next, fewer at the beginning.
        name: of the penalty, in events.
    """

    bounds: tuple[float, float] = (1e-8, 1e4)
    warm_up: Scheduled | float = 1.0
    every: int = 25
    name: str = "penalty"

    def __post_init__(self) -> None:
        """Refuse what could never be measured."""
        if self.every < 1:
            raise RegularizeError(f"every={self.every} came; expected 1 or more")


USUAL = Holding()


class AdaptivePenalty:
    """Adds λ·P to a loss, and holds ‖λ∇P‖/‖∇L‖ at a target ratio.

    λ is found from the first batch; then both gradients are measured every so many
    steps, averaged, and λ is changed where their ratio has left a band around the
    target.

    With `heard=Heard()` and `run.send_to(penalty)` the target itself is moved by what
    the run records: up where a held-out loss rises, or gets no better while the
    training loss lies far below it, down where both are alike, up where curvature lies
    beyond the line of stability; and back where that did not help. In our measurements
    this gained nothing over the fixed target, so it has to be asked for.

    A measurement costs two backward passes and waits for the device: about 7 % of the
    time at the default of one in 25 steps. Every process of a distributed run must call
    it at the same steps.

    Args:
        penalty: gives P, a tensor with one element, from the arguments of the call.
        optimizer: whose parameters the gradients are taken in.
        target: the ratio aimed at.
        holding: bounds of λ, warm-up, and how often is measured.
        heard: what held-out losses and curvature do; nothing if not given.
        tell: who hears of each change, such as `run.event`.

    Attributes:
        weight: λ, before warm-up; 0 until the first batch.
        ratio: the averaged ratio of the last measurement, NaN before it.

    >>> weight = torch.tensor([3.0], requires_grad=True)
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> regularise = AdaptivePenalty(
    ...     lambda: weight.square().sum(), optimizer, target=0.1
    ... )
    >>> total = regularise((weight - 1).square().sum())
    >>> round(regularise.weight * 6 / 4, 6)  # |λ∇P| / |∇L|
    0.1

    Raises:
        RegularizeError: a setting out of its range.
    """

    def __init__(
        self,
        penalty: Callable[..., Tensor],
        optimizer: torch.optim.Optimizer,
        *,
        target: float = 0.1,
        holding: Holding = USUAL,
        heard: Heard | None = None,
        tell: Callable[[Event], None] | None = None,
    ) -> None:
        self._penalty, self._optimizer = penalty, optimizer
        bounds = holding.bounds
        self._controller = PenaltyController(
            bounds[0], target=target, bounds=bounds, gain=1.0, tolerance=0.0
        )
        self.target, self.holding = target, holding
        self.heard = heard
        self._tell = tell or _nobody
        self.weight, self.ratio, self.step = 0.0, math.nan, 0
        self._levels: tuple[float, float] | None = None
        self._undo: Callable[[], None] | None = None
        self._since = 0

    def __call__(self, loss: Tensor, *args: Any, **named: Any) -> Tensor:
        """The loss with its penalty: what `backward` is to be called on.

        Raises:
            RegularizeError: the loss or the penalty has no graph.
        """
        value = self._penalty(*args, **named)
        # More often at first, when gradients change by the step.
        if self.step % min(self.holding.every, max(1, self.step // 4)) == 0:
            self._measure(loss, value)
        used = self.weight * value_at(self.holding.warm_up, self.step)
        self.step += 1
        return loss + used * value

    def write(self, series: Series) -> None:
        """Take readings of a run: `run.send_to(penalty)` lets it hear them."""
        # The loss without its penalty is known here, and told at each measurement.
        if self.heard is not None and series.quantity != "loss":
            self.heard.write(series)

    def event(self, event: Event) -> None:
        """Events ask for nothing."""

    def close(self) -> None:
        """The run has ended."""

    def undo(self) -> None:
        """Give λ the value that it had when it was first changed."""
        if self._undo is not None:
            self._undo()
            self._undo = None
            self._tell(undone(self.step, "penalty", self._since))

    def state_dict(self) -> dict[str, Any]:
        """λ and all that was learned, as JSON values."""
        return {
            "weight": self.weight,
            "step": self.step,
            "levels": None if self._levels is None else list(self._levels),
            "heard": None if self.heard is None else self.heard.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.weight, self.step = float(state["weight"]), int(state["step"])
        levels = state["levels"]
        self._levels = None if levels is None else (levels[0], levels[1])
        if self.heard is not None and state["heard"] is not None:
            self.heard.load_state_dict(state["heard"])

    def _measure(self, loss: Tensor, value: Tensor) -> None:
        """Average both gradients' lengths, and change λ where their ratio is off."""
        held = [w for w in weights_of(self._optimizer) if w.requires_grad]
        norms = gradient_norm(loss, held), gradient_norm(value, held)
        told = torch.stack((*norms, loss.detach().to(norms[0])))
        of_loss, of_penalty, level = sum_over_processes(told).tolist()
        if not (math.isfinite(of_loss) and of_loss > 0 and 0 < of_penalty < math.inf):
            return  # a batch without a gradient says nothing about the balance
        if self.heard is not None:
            self.heard.training(level)
        logs = math.log(of_loss), math.log(of_penalty)
        old = self._levels or logs
        self._levels = (
            KEPT * old[0] + (1 - KEPT) * logs[0],
            KEPT * old[1] + (1 - KEPT) * logs[1],
        )
        self._balance(math.exp(self._levels[0]), math.exp(self._levels[1]))

    def _balance(self, of_loss: float, of_penalty: float) -> None:
        heard = self.heard
        target = self.target * (1.0 if heard is None else heard.times)
        if not self.weight:  # the first batch: what puts the ratio on its target
            low, high = self.holding.bounds
            self.weight = min(max(target * of_loss / of_penalty, low), high)
        self.ratio = self.weight * of_penalty / of_loss
        if max(self.ratio / target, target / self.ratio) <= BAND:
            return
        self._controller.target, self._controller.weight = target, self.weight
        wanted = self._controller.update(of_loss, of_penalty).weight
        if wanted == self.weight:  # at a bound
            return
        why = f"its gradient is {self.ratio:.2g} of the loss's, to be {target:.2g}"
        if heard is not None and heard.why:
            why, heard.why = f"{why}; {heard.why}", ""
        undo = self._carry_out(
            Change("penalty", "set", wanted, (self.holding.name,)), why
        )
        if self._undo is None:
            self._undo, self._since = undo, self.step
        self.ratio = self.weight * of_penalty / of_loss

    def _carry_out(self, change: Change, why: str) -> Callable[[], None]:
        live = Live({}, [], self.step, strengths={self.holding.name: self})
        return apply_changes([change], live, why, self._tell)


class AdaptiveStrength:
    """Weight decay or dropout, scaled by what held-out losses and curvature ask for.

    A sink: `run.send_to(AdaptiveStrength("weight_decay", [optimizer]))`. It moves when
    a held-out loss or a curvature is recorded, in the thread that records it.

    Args:
        knob: "weight_decay" or "dropout".
        optimizers: whose decay it is.
        models: whose dropout it is, by name.
        heard: what is to be done on what evidence; `Heard()` if not given.
        tell: who hears of each change, such as `run.event`.

    >>> layer, told = nn.Linear(2, 2), []
    >>> optimizer = torch.optim.AdamW(layer.parameters(), weight_decay=0.01)
    >>> decay = AdaptiveStrength("weight_decay", [optimizer], tell=told.append)
    >>> decay.heard.training(0.1)
    >>> for loss in (1.0, 1.1, 1.2, 1.3):
    ...     decay.held_out(loss)
    >>> told[0].body["before"], told[0].body["after"]
    ('weight_decay = 0.01', 'weight_decay = 0.02')

    Raises:
        KnobError: there is no such strength, or it is 0 everywhere.
    """

    def __init__(
        self,
        knob: str,
        optimizers: Sequence[torch.optim.Optimizer] = (),
        models: Mapping[str, nn.Module] | None = None,
        *,
        heard: Heard | None = None,
        tell: Callable[[Event], None] | None = None,
    ) -> None:
        if knob not in ("weight_decay", "dropout"):
            raise KnobError(
                f"the strength {knob!r} came; expected 'weight_decay' or 'dropout'"
            )
        groups = [group for one in optimizers for group in one.param_groups]
        if knob == "weight_decay" and not any(g.get("weight_decay") for g in groups):
            raise KnobError(
                "optimizers without weight decay came; expected one that has some to "
                "begin with, as 0 times anything is 0"
            )
        self.knob, self._tell = knob, tell or _nobody
        self._live = Live(models or {}, optimizers)
        self.heard = Heard() if heard is None else heard
        self._times = 1.0
        self._undos: list[Callable[[], None]] = []
        self._since = 0

    def held_out(self, loss: float) -> None:
        """One more loss on data that is not trained on."""
        self.heard.held_out(loss)
        self._follow()

    def write(self, series: Series) -> None:
        """Take one block of readings of a run."""
        if series.steps.size:
            self._live.step = int(series.steps[-1]) + 1
        self.heard.write(series)
        self._follow()

    def event(self, event: Event) -> None:
        """Events ask for nothing."""

    def close(self) -> None:
        """The run has ended."""

    def undo(self) -> None:
        """Give the strength the value that it had before all changes."""
        if self._undos:
            self._tell(undone(self._live.step, self.knob, self._since))
        while self._undos:
            self._undos.pop()()
        self._times = 1.0

    def _follow(self) -> None:
        wanted = self.heard.times
        if wanted == self._times:
            return
        change = Change(self.knob, "scale", wanted / self._times)
        why = self.heard.why
        if not self._undos:
            self._since = self._live.step
        self._undos.append(apply_changes([change], self._live, why, self._tell))
        self._times = wanted


def undone(step: int, knob: str, since: int) -> Event:
    """The event of changes that somebody asked to take back, from step `since` on."""
    return Event(step, "undo", {"knob": knob, "of": since, "why": "asked for"})


def _nobody(event: Event) -> None:
    """Nobody listens."""
