"""Readings of a run come in, how many times stronger to regularise goes out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from surefoot.autopilot.balance import (
    Course,
    after_curvature,
    after_held_out,
    after_training,
    gap_of,
)
from surefoot.autopilot.lever import Lever, Move, Position, moved
from surefoot.autopilot.live import KnobError
from surefoot.signatures.metrics import held_out
from surefoot.types import Event, Series
from surefoot.wording import number

GAP = Lever()
CURVATURE = Lever(least=1.0)
"""Curvature asks for more, and then back to what there was; never for less."""


class Heard:
    """Hears held-out losses and curvature, and turns them into times and a reason.

    Refused where several processes train together: what each of them logs may differ,
    and so would their strengths.

    `times` is what a strength should be multiplied with; `why` says what moved it last.
    """

    def __init__(self, gap: Lever = GAP, curvature: Lever = CURVATURE) -> None:
        ready = torch.distributed.is_available() and torch.distributed.is_initialized()
        if ready and torch.distributed.get_world_size() > 1:
            raise KnobError(
                "held-out losses are to move a strength in several processes; expected "
                "one, as processes that log different numbers would train with "
                "different strengths; hold the ratio alone, without `heard`"
            )
        self.levers = {"gap": gap, "curvature": curvature}
        self.positions = {name: Position() for name in self.levers}
        self.course = Course()
        self.why = ""

    @property
    def times(self) -> float:
        """Of both levers, within the bounds of the gap's."""
        both = math.prod(one.times for one in self.positions.values())
        return min(max(both, self.levers["gap"].least), self.levers["gap"].most)

    def training(self, loss: float) -> None:
        """One more training loss."""
        self.course = after_training(self.course, loss)

    def held_out(self, loss: float) -> None:
        """One more loss on data that is not trained on."""
        self.course, side = after_held_out(self.course, loss)
        done = self._move("gap", side, loss)
        if done:
            gap = gap_of(self.course)
            self.why = _TOLD[done].format(
                what=f"held-out loss {number(loss)}, best {number(self.course.best)}, "
                f"training {number(self.course.training)} (gap {gap:.0%})"
            )

    def curvature(self, ratio: float) -> None:
        """One more reading of curvature over the line of stability."""
        self.course, side, level = after_curvature(self.course, ratio)
        done = self._move("curvature", side, level)
        if done:
            self.why = _TOLD[done].format(
                what=f"curvature {number(level)} times what the rate bears"
            )

    def write(self, series: Series) -> None:
        """Take one block of readings, as a sink of a run does."""
        if series.quantity == "metric":
            for name in held_out(series, "loss"):
                for value in series.of(name).tolist():
                    self.held_out(value)
        elif series.quantity == "stability_ratio":
            for value in series.values[:, 0].tolist():
                self.curvature(value)
        elif series.quantity == "loss":
            known = series.values[:, 0][np.isfinite(series.values[:, 0])]
            if known.size:
                self.training(float(known.mean()))

    def event(self, event: Event) -> None:
        """Events ask for nothing."""

    def close(self) -> None:
        """The run has ended."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that was learned, as JSON values."""
        positions = {name: asdict(one) for name, one in self.positions.items()}
        return {"positions": positions, "course": asdict(self.course)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        course = dict(state["course"])
        course["curvatures"] = tuple(course["curvatures"])
        self.course = Course(**course)
        self.positions = {
            name: Position(**one) for name, one in state["positions"].items()
        }

    def _move(self, name: str, side: Any, score: float) -> Move:
        at = self.positions[name]
        position, done = moved(self.levers[name], at, side, score=score)
        self.positions[name] = position
        return done


_TOLD: Mapping[str, str] = {
    "raised": "{what}: stronger, to be judged in the next readings",
    "lowered": "{what}: weaker, to be judged in the next readings",
    "undone": "{what}: the last move did not help and is taken back",
}
