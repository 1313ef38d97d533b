"""Settings that an optimizer has during its steps only: edits come in, undos go out.

Schedulers read and write the settings between steps, checkpoints are written between
steps: none of them ever meets a setting that is only lent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer

from surefoot.schedules.stepping import steps_of

Edit = Callable[[dict[str, Any], int], dict[str, Any]]
"""From a parameter group and the number of the step (0 for the first after it was
lent) to the settings that hold during the step."""

KEY = "surefoot.lent"
"""Where an optimizer keeps what it is lent, as in `stepping`."""


class Lending:
    """All that one optimizer is lent, in the order in which it came."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._edits: list[tuple[Edit, list[int]]] = []
        self._kept: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._made: list[dict[str, Any]] = []
        self._leave = steps_of(optimizer).add(self._before, self._after)

    def add(self, edit: Edit) -> Callable[[], None]:
        """Lend settings from the next step on; undo takes them back."""
        row = (edit, [0])
        self._edits.append(row)

        def undo() -> None:
            there = len(self._edits)
            self._edits = [one for one in self._edits if one is not row]
            if there and not self._edits:
                self._put_back()
                self._leave()
                self._optimizer.__dict__.pop(KEY, None)

        return undo

    def settings(self) -> list[dict[str, Any]]:
        """The settings of each group in the step that is made, or comes next."""
        groups = self._optimizer.param_groups
        if self._kept:
            return list(groups)
        held = [dict(group) for group in groups]
        for edit, count in self._edits:
            for group in held:
                group.update(edit(group, count[0]))
        return held

    def made_with(self) -> list[dict[str, Any]]:
        """The settings of each group in the step that was just made."""
        lent = bool(self._kept) or not self._made
        return list(self._optimizer.param_groups) if lent else self._made

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._put_back()  # what a step that raised has left
        for edit, count in self._edits:
            for group in optimizer.param_groups:
                new = edit(group, count[0])
                self._kept.append((group, {key: group[key] for key in new}))
                group.update(new)
            count[0] += 1

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._made = [dict(group) for group in optimizer.param_groups]
        self._put_back()

    def _put_back(self) -> None:
        while self._kept:
            group, settings = self._kept.pop()
            group.update(settings)


def lend(optimizers: Sequence[Optimizer], edit: Edit) -> Callable[[], None]:
    """Let an edit hold during the steps of optimizers; undo goes out."""
    undos: list[Callable[[], None]] = []
    for optimizer in optimizers:
        if KEY not in optimizer.__dict__:
            optimizer.__dict__[KEY] = Lending(optimizer)
        undos.append(optimizer.__dict__[KEY].add(edit))

    def undo() -> None:
        while undos:
            undos.pop()()

    return undo


def held_settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The settings of each parameter group as the steps of an optimizer have them.

    Those of `param_groups`, with what is lent to it. To be read only.

    >>> import torch
    >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    >>> undo = lend([sgd], lambda group, step: {"lr": group["lr"] * 0.1})
    >>> sgd.param_groups[0]["lr"], held_settings(sgd)[0]["lr"]
    (0.5, 0.05)
    """
    lending = optimizer.__dict__.get(KEY)
    return optimizer.param_groups if lending is None else lending.settings()


def settings_made_with(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The settings of each parameter group in the step that was just made.

    For hooks after a step: what was lent to it may have been taken back by then. To be
    read only.
    """
    lending = optimizer.__dict__.get(KEY)
    return optimizer.param_groups if lending is None else lending.made_with()
