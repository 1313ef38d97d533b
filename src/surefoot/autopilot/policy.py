"""What a user asks of the autopilot comes in, a checked value goes out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Mode = Literal["advise", "guard", "steer", "ask"]

UNITS: Mapping[str, int] = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class PolicyError(ValueError):
    """A policy with a setting that means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How much the autopilot may do to a run.

    Args:
        mode: "advise" says what it would do and writes nothing. "guard" skips updates
            that are not finite, and puts back the last good state with a lower rate
            when training diverges. "steer" also clips outliers, and moves the step
            size where it is far too high or too low. "ask" puts a question before
            each remedy, and acts on "yes" only.
        interventions: how many times it may restore a state or apply a remedy. Once
            they are spent it only watches, and says so.
        window: updates after which a remedy is judged; one that did not help is
            undone. In "steer" not before the updates that it took back are made up.
        pause: updates between two remedies, so that one can show what it does. Going
            back from what diverges is none that waits; in "steer" the rate is not
            raised for so long after it.
        memory: for states to go back to, in host memory, such as "1GB". A state is
            the weights and what the optimizer remembers of them.
        steps: how many updates the run will make, if known. "steer" raises no rate in
            the second half, and puts nothing back for frozen moments after the first
            third. Without it, a schedule that falls tells how far the run is.

    Raises:
        PolicyError: a setting means nothing; it says which.

    >>> Policy(mode="guard").interventions
    20
    >>> Policy(memory="lots")
    Traceback (most recent call last):
    surefoot.autopilot.policy.PolicyError: memory='lots' came; expected a size such ...
    """

    mode: Mode = "advise"
    interventions: int = 20
    window: int = 50
    pause: int = 20
    memory: str | int = "1GB"
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            expected = ", ".join(repr(mode) for mode in get_args(Mode))
            raise PolicyError(f"mode={self.mode!r} came; expected one of {expected}")
        for name, least in (("interventions", 0), ("window", 1), ("pause", 0)):
            _check_count(name, getattr(self, name), least)
        if self.steps is not None:
            _check_count("steps", self.steps, 1)
        _bytes(self.memory)

    @property
    def memory_bytes(self) -> int:
        """The memory for states, in bytes.

        >>> Policy(memory="1.5 MB").memory_bytes
        1500000
        """
        return _bytes(self.memory)

    @property
    def acts(self) -> bool:
        """Whether it changes a run by itself."""
        return self.mode in ("guard", "steer")


def policy_of(given: Policy | Mode) -> Policy:
    """A policy as it was given, or the one with this mode.

    Raises:
        PolicyError: no such mode.

    >>> policy_of("steer").mode
    'steer'
    """
    return given if isinstance(given, Policy) else Policy(mode=given)


def _check_count(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise PolicyError(
            f"{name}={value!r} came; expected a whole number, at least {least}"
        )


def _bytes(memory: str | int) -> int:
    """A size in bytes."""
    if isinstance(memory, int) and not isinstance(memory, bool) and memory >= 0:
        return memory
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B)\s*", str(memory).upper())
    if isinstance(memory, bool) or found is None:
        raise PolicyError(
            f"memory={memory!r} came; expected a size such as '1GB' or '500MB', or a "
            "number of bytes"
        )
    return int(float(found[1]) * UNITS[found[2]])
