"""Evidence and a score come in, how many times stronger something is to be goes out.

Pure: a position and one reading give the next position. Whatever is moved is judged by
a score, and taken back where the score did not get better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

Side = Literal[-1, 0, 1]
"""What the evidence asks for: weaker, nothing, stronger."""

Move = Literal["", "raised", "lowered", "undone"]


@dataclass(frozen=True, slots=True)
class Lever:
    """How a strength may be moved, in times of what it began with.

    Attributes:
        factor: of one move.
        least, most: bounds that are never left.
        patience: readings in a row that ask for the same before anything moves, so
            that a single noisy reading moves nothing.
        window: readings after a move over which it is judged.
        gain: share by which the mean score of the window has to lie below that of the
            readings that asked for the move; else it is taken back, and the lever
            rests for twice the window, then four times, …
        moves: most moves; then the lever stays where it is.
    """

    factor: float = 2.0
    least: float = 0.125
    most: float = 8.0
    patience: int = 3
    window: int = 4
    gain: float = 0.02
    moves: int = 12

    def __post_init__(self) -> None:
        """Refuse what could never move, or without bound."""
        bounded = 0 < self.least <= 1 <= self.most < math.inf
        counts = min(self.patience, self.window) >= 1 and self.moves >= 0
        if not (1 < self.factor < math.inf and bounded and counts and self.gain >= 0):
            raise ValueError(
                f"{self} came; expected factor > 1, 0 < least <= 1 <= most, patience "
                "and window of 1 or more, moves and gain of 0 or more"
            )


@dataclass(frozen=True, slots=True)
class Position:
    """Where a lever stands: JSON values only, so that a checkpoint can hold it.

    `asked` counts readings in a row, with the sign of what they ask for, and `sum` adds
    up scores since then. While a move is judged, `before` is where the lever stood,
    `score` what the mean has to beat, and `left` the readings until the verdict.
    """

    times: float = 1.0
    asked: int = 0
    sum: float = 0.0
    before: float | None = None
    score: float = 0.0
    left: int = 0
    rest: int = 0
    failures: int = 0
    made: int = 0


def moved(
    lever: Lever, position: Position, side: Side, *, score: float
) -> tuple[Position, Move]:
    """The position after one reading, and what was done.

    `score` is what a move has to better, lower being better; a reading without a finite
    score asks for nothing and judges nothing.

    >>> at = Position()
    >>> for _ in range(3):
    ...     at, done = moved(Lever(), at, 1, score=2.0)
    >>> at.times, done
    (2.0, 'raised')
    >>> for _ in range(4):
    ...     at, done = moved(Lever(), at, 1, score=2.0)
    >>> at.times, done, at.rest
    (1.0, 'undone', 8)
    """
    if not math.isfinite(score):
        return replace(position, asked=0, sum=0.0), ""
    if position.before is not None:
        return _judged(lever, position, score)
    if position.rest:
        return replace(position, rest=position.rest - 1, asked=0), ""
    same = side * position.asked > 0
    asked = side * (abs(position.asked) + 1 if same else 1)
    total = (position.sum if same else 0.0) + score
    position = replace(position, asked=asked, sum=total)
    wanted = min(max(position.times * lever.factor**side, lever.least), lever.most)
    few = abs(asked) < lever.patience or position.made >= lever.moves
    if few or wanted == position.times:
        return position, ""
    after = Position(
        times=wanted,
        before=position.times,
        score=total / abs(asked),
        left=lever.window,
        failures=position.failures,
        made=position.made + 1,
    )
    return after, "raised" if side > 0 else "lowered"


def _judged(lever: Lever, position: Position, score: float) -> tuple[Position, Move]:
    """A move that helped stays; one that did not within its window is taken back."""
    total, left = position.sum + score, position.left - 1
    if left > 0 or position.before is None:
        return replace(position, sum=total, left=left), ""
    if total / lever.window < position.score - lever.gain * abs(position.score):
        return Position(position.times, made=position.made), ""
    back = Position(
        times=position.before,
        rest=2 * lever.window * 2 ** min(position.failures, 8),
        failures=position.failures + 1,
        made=position.made,
    )
    return back, "undone"
