"""The search for a non-finite number: failing steps come in, one Event each goes out.

A condition that lasts is searched once. Where the loss is computed outside any
module, `loss_fn` lets the search run it again on a copy of the model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from surefoot.probes.nonfinite import Call, Origin, locate, locate_in_loss, loss_origin
from surefoot.types import Event, LossFunction

MOST_SEARCHES = 5
"""A run that overflows again and again is searched this often for the origin."""

UNKNOWN = Origin("loss", "", "", "backward", certain=False)
"""The model's forward and backward pass were finite, or could not be run again."""


class Search:
    """What is known of the non-finite numbers of one stream.

    `alone` says whether this process can run the model again without other ranks,
    `tell` takes the events. `loss_fn(model, batch)` gives the loss of a batch.
    """

    def __init__(
        self,
        stream: str,
        tell: Callable[[Event], None],
        *,
        alone: bool,
        loss_fn: LossFunction | None,
    ) -> None:
        self._stream = stream
        self._tell = tell
        self._alone = alone
        self._loss_fn = loss_fn
        self._searches = 0
        self._broken = False
        self._suspect: tuple[int, Call, nn.Module] | None = None

    def finite(self) -> None:
        """The step was finite: the next one that is not is searched again."""
        self._broken = False

    def gradients(
        self, step: int, calls: Sequence[Call], modules: Mapping[str, nn.Module]
    ) -> None:
        """A gradient is not finite, and the weights are still the old ones."""
        if self._searched():
            return
        origin = locate(calls, modules) if self._alone else UNKNOWN
        if self._loss_fn is not None and not origin.certain and calls:
            # The batch is told only after the update that ruins the weights.
            self._suspect = (step, calls[-1], copy.deepcopy(calls[-1].module))
        else:
            self._found(step, origin)

    def loss(
        self,
        step: int,
        calls: Sequence[Call],
        modules: Mapping[str, nn.Module],
        *,
        value: torch.Tensor,
        line: str,
    ) -> None:
        """A loss is not finite; `line` is about to call backward on it."""
        if not calls or self._searched():
            return
        origin = locate(calls, modules) if self._alone else UNKNOWN
        outside = origin.module == "loss" and not origin.certain
        self._found(step, loss_origin(value, line) if outside else origin)

    def told(self, batch: Any) -> None:
        """The batch of the last step, None if it stays unknown."""
        if self._suspect is None or self._loss_fn is None:
            return
        (step, call, twin), self._suspect = self._suspect, None
        if batch is None:
            self._found(step, UNKNOWN)
            return
        origin = locate_in_loss(self._loss_fn, call, twin=twin, batch=batch)
        self._found(step, origin or UNKNOWN)

    def _searched(self) -> bool:
        """Whether this condition, or too many others, were searched already."""
        if self._broken or self._searches >= MOST_SEARCHES:
            self._broken = True
            return True
        self._searches += 1
        self._broken = True
        return False

    def _found(self, step: int, origin: Origin) -> None:
        self._tell(Event(step, "nonfinite", origin.body(), self._stream))
