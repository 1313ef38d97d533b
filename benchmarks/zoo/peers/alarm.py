"""What every peer is reduced to: a training run is watched, alarms come out.

A `Watcher` is an observer of a zoo run (see `surefoot.zoo.train`) that drives one
package the way its own manual says, and writes down each alarm that the package raises
at its own level "warning" or above.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

When = Literal["live", "report", "before", "together"]
"""When a package speaks: at the step, in a report after the run, before it,
or as several packages do."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A rule of a package by name, the step it spoke at, the layer it names."""

    step: int
    name: str
    layer: str = ""


class Watcher:
    """One package at one run; what a package does not need stays empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.alarms: list[Alarm] = []
        self._seen: set[Alarm] = set()

    def say(self, step: int, name: str, layer: str = "") -> None:
        """Write down an alarm, once a step."""
        alarm = Alarm(int(step), name, layer)
        if alarm not in self._seen:
            self._seen.add(alarm)
            self.alarms.append(alarm)

    def start(self, task: Any) -> None: ...

    def before_backward(self, step: int, loss: Any, batch: Any) -> None: ...

    def before_update(self, step: int) -> None: ...

    def after_update(self, step: int, loss: Any, batch: Any) -> None: ...

    def measured(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def end(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool that is compared: how it is installed, attached, and what its rules mean.

    `needs` is what pip installs (nothing for a rule that we wrote from its
    description), `words` what each of its rules means in the words of `words.py`.
    """

    name: str
    needs: str
    when: When
    watcher: Callable[[Path], Watcher]
    words: Mapping[str, tuple[str, ...]]


class Models(nn.Module):
    """Several models as one, for packages that take only one."""

    def __init__(self, models: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, model in models.items():
            self.add_module(name, model)


def model_of(task: Any) -> nn.Module:
    """The model of a task, or all of them as one."""
    return task.model if len(task.models) == 1 else Models(task.models)


def number(loss: Any) -> float:
    """A loss as a number; the sum where a run has several."""
    if isinstance(loss, Mapping):
        return sum(number(one) for one in loss.values())
    return float(loss.detach()) if isinstance(loss, torch.Tensor) else float(loss)
