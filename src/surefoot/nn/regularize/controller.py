"""A loss and a penalty come in; the penalty's weight goes out, held to a share.

The share is that of gradients, ‖λ∇P‖/‖∇L‖: a penalty acts through its gradient, and its
value says nothing about that.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from surefoot.nn.norm.across import sum_over_processes
from surefoot.nn.regularize.errors import RegularizeError
from surefoot.types import Event

Verdict = Literal["too weak", "in range", "too strong", "unknown"]

KEPT = 1_000
"""Changes that are kept in memory."""

BAND = 2.0
"""Times the target, or a part of it, from which a penalty is called too strong or too
weak. Held at their target in a small net on digits (L2 and Jacobian penalties, batches
of 32 and 128), nine ratios in ten lay between 0.47 and 2.1 times of it."""


@dataclass(frozen=True, slots=True)
class Balance:
    """The ratio that was seen with the weight `before`, and the weight since then."""

    step: int
    ratio: float
    before: float
    weight: float
    verdict: Verdict
    at_bound: bool


def gradient_norm(
    value: Tensor, parameters: Iterable[Tensor], *, keep_graph: bool = True
) -> Tensor:
    """The Euclidean length of a value's gradient in all parameters, as one tensor.

    Parameters that it does not depend on count as 0; `.grad` is not touched.

    Raises:
        RegularizeError: the value has no graph.

    >>> weight = torch.tensor([3.0, 4.0], requires_grad=True)
    >>> gradient_norm(weight.square().sum() / 2, [weight]).item()
    5.0
    """
    held = [one for one in parameters if one.requires_grad]
    if not value.requires_grad or not held:
        raise RegularizeError(
            "a value without a graph, or no parameter with one, came; expected a loss "
            "of the forward pass and the weights it depends on"
        )
    slopes = torch.autograd.grad(
        value, held, retain_graph=keep_graph, materialize_grads=True, allow_unused=True
    )
    return torch.nn.utils.get_total_norm(slopes)


class PenaltyController:
    """Holds ‖λ∇P‖/‖∇L‖ near a target by changing λ, within bounds.

    Call `observe(loss, penalty, parameters)` every so many steps, before `backward`,
    and train on `loss + controller.weight * penalty`. Each time
    λ ← λ·(target/ratio)^gain, at most by the factor 2 up or down, kept within the
    bounds. A ratio within `tolerance` of the target changes nothing.

    Where training on full batches comes to rest, ∇L = -λ∇P and the ratio is 1 whatever
    λ is; the controller would then lower λ to its bound. It is meant for gradients of
    minibatches, and for the part of training that moves.

    Args:
        weight: λ to begin with.
        target: the ratio aimed at; 0.1 lets the penalty turn the gradient by at most
            about 6 degrees.
        bounds: λ never leaves them.
        gain: 1 goes all the way in one step, less averages over several.
        tolerance: relative distance from the target that is left alone.
        tell: who hears of each change, such as `run.event`.

    Attributes:
        weight: λ of now.
        log: an event for each change: before, after, ratio and verdict.
        last: the last `Balance`, None before the first.

    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> controller = PenaltyController(1.0, gain=1.0)
    >>> for _ in range(4):
    ...     seen = controller.observe((w - 3).square().sum(), w.square().sum(), [w])
    >>> round(controller.weight, 6), seen.verdict
    (0.2, 'in range')

    Raises:
        RegularizeError: a setting out of its range.
    """

    def __init__(
        self,
        weight: float,
        *,
        target: float = 0.1,
        bounds: tuple[float, float] = (1e-8, 1e4),
        gain: float = 0.5,
        tolerance: float = 0.02,
        tell: Callable[[Event], None] | None = None,
    ) -> None:
        low, high = bounds
        if not 0 < low <= weight <= high < math.inf:
            raise RegularizeError(
                f"weight={weight} and bounds={bounds} came; expected positive bounds "
                "with the weight between them"
            )
        if not (target > 0 and 0 < gain <= 1 and tolerance >= 0):
            raise RegularizeError(
                f"target={target}, gain={gain}, tolerance={tolerance} came; expected "
                "target > 0, 0 < gain <= 1 and tolerance >= 0"
            )
        self.weight = float(weight)
        self.target, self.bounds = target, (float(low), float(high))
        self.gain, self.tolerance, self.tell = gain, tolerance, tell
        self.step = 0
        self.last: Balance | None = None
        self.log: deque[Event] = deque(maxlen=KEPT)

    def observe(
        self, loss: Tensor, penalty: Tensor, parameters: Iterable[Tensor]
    ) -> Balance:
        """Measure both gradients, change λ, and say what was found.

        The graphs are kept for the backward pass; `.grad` is not touched. Costs two
        backward passes, and the host waits for them. In a distributed run every
        process must call it; lengths are means over their batches.

        Raises:
            RegularizeError: a value without a graph; nothing is changed then.
        """
        held = list(parameters)
        norms = gradient_norm(loss, held), gradient_norm(penalty, held)
        # The ratio of sums is that of means: replicas get one weight.
        of_loss, of_penalty = sum_over_processes(torch.stack(norms)).tolist()
        return self.update(of_loss, of_penalty)

    def update(self, loss_norm: float, penalty_norm: float) -> Balance:
        """The same from lengths of gradients: ‖∇L‖ and ‖∇P‖, without λ."""
        ratio, before = _ratio(self.weight * penalty_norm, loss_norm), self.weight
        if math.isfinite(ratio) and ratio > 0:
            self.weight = self._changed(ratio)
        self.step += 1
        at_bound = self.weight in self.bounds
        found = Balance(
            self.step, ratio, before, self.weight, self._verdict(ratio), at_bound
        )
        self.last = found
        if self.weight != before:
            self._note(found)
        return found

    def state_dict(self) -> dict[str, Any]:
        """λ and the number of observations; the settings are made anew with a run."""
        return {"weight": self.weight, "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            RegularizeError: its λ lies outside of the bounds of this one.
        """
        low, high = self.bounds
        weight, step = float(state["weight"]), int(state["step"])
        if not low <= weight <= high:
            raise RegularizeError(
                f"a stored weight of {weight:g} came; expected one within the bounds "
                f"{low:g} to {high:g}; widen them"
            )
        self.weight, self.step = weight, step

    def _changed(self, ratio: float) -> float:
        if abs(ratio / self.target - 1) <= self.tolerance:
            return self.weight
        factor = (self.target / ratio) ** self.gain
        low, high = self.bounds
        return min(max(self.weight * min(max(factor, 1 / BAND), BAND), low), high)

    def _verdict(self, ratio: float) -> Verdict:
        if math.isnan(ratio):
            return "unknown"
        if ratio < self.target / BAND:
            return "too weak"
        return "too strong" if ratio > self.target * BAND else "in range"

    def _note(self, found: Balance) -> None:
        body = {
            "ratio": found.ratio,
            "target": self.target,
            "before": found.before,
            "after": found.weight,
            "verdict": found.verdict,
            "at_bound": found.at_bound,
        }
        event = Event(found.step, "penalty", body)
        self.log.append(event)
        if self.tell is not None:
            self.tell(event)


def _ratio(penalty: float, loss: float) -> float:
    """Of lengths; NaN where one is not a number, infinite over nothing."""
    if not (math.isfinite(penalty) and math.isfinite(loss)):
        return math.nan
    if loss > 0:
        return penalty / loss
    return math.inf if penalty > 0 else math.nan
