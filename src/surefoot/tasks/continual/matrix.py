"""Accuracies after each task come in, what was learned, kept and passed on goes out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from surefoot.tasks.continual.errors import ContinualError


class TaskMatrix:
    """R[i][j]: the score on task j after training on task i (Lopez-Paz & Ranzato 2017).

    Scores are larger for better. NaN stands for what was not measured.

    Args:
        tasks: how many there are.

    >>> matrix = TaskMatrix(2)
    >>> matrix.record(0, [0.9])
    >>> matrix.record(1, [0.7, 0.8])
    >>> round(matrix.accuracy, 4), round(matrix.forgetting, 4)
    (0.75, 0.2)
    >>> round(matrix.backward_transfer, 4)
    -0.2

    Raises:
        ContinualError: fewer than one task.
    """

    def __init__(self, tasks: int) -> None:
        if tasks < 1:
            raise ContinualError(f"tasks={tasks} came; expected 1 or more")
        self.rows = [[math.nan] * tasks for _ in range(tasks)]

    def record(self, after: int, scores: Sequence[float]) -> None:
        """Write the scores on tasks 0, 1, … after training on task `after`.

        Fewer scores than tasks leave the rest as it is.

        Raises:
            ContinualError: no such task, or more scores than tasks.
        """
        tasks = len(self.rows)
        if not 0 <= after < tasks or len(scores) > tasks:
            raise ContinualError(
                f"{len(scores)} scores after task {after} came; expected at most "
                f"{tasks}, after one of 0 to {tasks - 1}"
            )
        self.rows[after][: len(scores)] = [float(score) for score in scores]

    @property
    def learned(self) -> int:
        """Tasks that were trained on and measured, up to the last without a gap."""
        own = (row[i] for i, row in enumerate(self.rows))
        count = 0
        for score in own:
            if math.isnan(score):
                break
            count += 1
        return count

    @property
    def accuracy(self) -> float:
        """The mean score over learned tasks after the last of them."""
        return self._mean(self._last())

    @property
    def forgetting(self) -> float:
        """The mean over earlier tasks of the best score there was minus the last.

        Chaudhry et al. 2018; 0 with one task.
        """
        last = self.learned - 1
        lost = [
            max(self.rows[i][j] for i in range(j, last)) - self.rows[last][j]
            for j in range(last)
        ]
        return self._mean(lost) if lost else 0.0

    @property
    def backward_transfer(self) -> float:
        """The mean over earlier tasks of the last score minus that when it was learned.

        Below 0 where later tasks hurt earlier ones; 0 with one task.
        """
        last = self.learned - 1
        gained = [self.rows[last][j] - self.rows[j][j] for j in range(last)]
        return self._mean(gained) if gained else 0.0

    def forward_transfer(self, untrained: Sequence[float]) -> float:
        """The mean over later tasks of the score just before learning it, less a guess.

        Args:
            untrained: scores of an untrained model, one a task.

        Raises:
            ContinualError: another number of scores, or scores above the diagonal were
                not recorded.
        """
        count = self.learned
        if len(untrained) != len(self.rows):
            raise ContinualError(
                f"{len(untrained)} scores came; expected {len(self.rows)}, one a task"
            )
        gained = [self.rows[j - 1][j] - untrained[j] for j in range(1, count)]
        return self._mean(gained) if gained else 0.0

    def state_dict(self) -> dict[str, Any]:
        """The rows."""
        return {"rows": [list(row) for row in self.rows]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.rows = [list(row) for row in state["rows"]]

    def _last(self) -> list[float]:
        count = self.learned
        return self.rows[count - 1][:count] if count else []

    def _mean(self, values: Sequence[float]) -> float:
        if not values or any(math.isnan(value) for value in values):
            raise ContinualError(
                "scores are missing; record those on all tasks so far after each task"
            )
        return sum(values) / len(values)

    def __repr__(self) -> str:
        body = "\n".join(
            " ".join("   · " if math.isnan(v) else f"{v:5.3f}" for v in row)
            for row in self.rows
        )
        return f"TaskMatrix({len(self.rows)}), row after task, column of task\n{body}"
