"""Changes to single updates: through the brake that an autopilot holds."""

from __future__ import annotations

from surefoot.autopilot.brake import Brake
from surefoot.autopilot.live import Applied, KnobError, Live
from surefoot.blackbox.state import capture
from surefoot.types import Change


def scale_step(live: Live, change: Change) -> Applied:
    """Multiply the rate of all updates from now on, instead of the factor before."""
    brake = _brake(live, change)
    before, brake.factor = brake.factor, _number(change)

    def undo() -> None:
        brake.factor = before

    return Applied(f"rate × {before:.3g}", f"rate × {brake.factor:.3g}", undo)


def cap_update(live: Live, change: Change) -> Applied:
    """Limit each tensor's update to a share of the tensor; zero for no limit."""
    brake = _brake(live, change)
    before, amount = brake.cap, _number(change)
    brake.cap = amount or None

    def undo() -> None:
        brake.cap = before

    return Applied(_capped(before), _capped(brake.cap), undo)


def skip_update(live: Live, change: Change) -> Applied:
    """Do not make the coming update."""
    brake = _brake(live, change)
    brake.skip = True

    def undo() -> None:
        brake.skip = False

    return Applied("the update is made", "the update is skipped", undo)


def shrink_gradient(live: Live, change: Change) -> Applied:
    """Multiply the gradient of the coming update."""
    brake = _brake(live, change)
    brake.shrink = _number(change)

    def undo() -> None:
        brake.shrink = None

    return Applied("gradient × 1", f"gradient × {brake.shrink:.3g}", undo)


def restore_state(live: Live, change: Change) -> Applied:
    """Put back the weights, buffers and moments from before an update."""
    brake, step = _brake(live, change), int(_number(change))
    if step not in brake.states:
        kept = ", ".join(map(str, brake.states)) or "none"
        raise KnobError(
            f"the change state restore came for step {step}; states are kept of the "
            f"steps {kept}"
        )
    before = capture(brake.trained, live.step, random=False)
    brake.put_back(brake.states[step])
    after = f"weights and moments of step {step}"
    return Applied(
        f"weights of step {live.step}", after, lambda: brake.put_back(before)
    )


def _brake(live: Live, change: Change) -> Brake:
    """The brake of a run under an autopilot.

    Raises:
        KnobError: the run has none.
    """
    if live.brake is None:
        raise KnobError(
            f"the change {change.knob} {change.op} came for a run without an "
            "autopilot; expected watch(..., autopilot='guard') or 'steer'"
        )
    return live.brake


def _number(change: Change) -> float:
    if isinstance(change.amount, str) or not 0 <= change.amount < float("inf"):
        raise KnobError(
            f"the change {change.knob} {change.op} came with the amount "
            f"{change.amount!r}; expected a finite number that is not negative"
        )
    return float(change.amount)


def _capped(cap: float | None) -> str:
    return "updates of any length" if cap is None else f"updates of at most {cap:g}"
