"""All healthy runs by name: nothing comes in, a visible table goes out.

Half of the classifiers log their held-out scores, as half of the people do.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from surefoot.zoo import (
    controls_bold,
    controls_losses,
    controls_other,
    controls_plain,
    poles,
)
from surefoot.zoo.datasets import Cycle, Windows
from surefoot.zoo.homes import Home
from surefoot.zoo.losses import cross_entropy, digit_scores, text_scores
from surefoot.zoo.task import Rng, Task


def _logging(make: Home, rng: Rng) -> Task:
    """The task, with held-out scores that are logged in half of the cases."""
    task = make(rng)
    if task.scores is not None or task.loss is not cross_entropy or rng.random() < 0.5:
        return task
    if isinstance(task.batches, Windows):
        task.scores = text_scores()
    elif isinstance(task.batches, Cycle) and task.batches.tensors[0].shape[1] == 64:
        if float(task.batches.tensors[0].abs().max()) > 10:
            return task
        task.scores = digit_scores()
    task.log_every = max(1, task.steps // 10)
    return task


def _by_name(tasks: tuple[Home, ...]) -> dict[str, Home]:
    return {make.__name__: partial(_logging, make) for make in tasks}


TUNED = (
    *controls_plain.TASKS,
    *controls_losses.TASKS,
    *controls_bold.TASKS,
    poles.q_learning,
)

CONTROLS: Mapping[str, Home] = _by_name((*TUNED, *controls_other.TASKS))
"""Healthy runs, none of which may raise an alarm."""

REPORTED_CONTROLS = tuple(make.__name__ for make in controls_other.TASKS)
"""Controls on which no bound is chosen."""
