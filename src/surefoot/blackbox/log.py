"""What each update was made from: forward passes, losses, batches come in one by one.

StepRecords go out. Nothing waits for the device before they are asked for.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from surefoot.blackbox.batches import Copier, tensors_of
from surefoot.blackbox.incident import Micro, StepRecord
from surefoot.restore.random_streams import RandomStreams

Norms = Tensor | Sequence[float] | None
"""Norms of the gradients of all parameters, as the recorder has them."""


@dataclass(slots=True)
class _Micro:
    """A micro-batch while it is trained on."""

    random: RandomStreams
    call: Any = None
    told: Any = None
    targets: tuple[Tensor, ...] = ()
    scored: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    def settled(self) -> Micro | None:
        """As a value; None where its batch was not told of yet."""
        if self.told is not None:
            return Micro(self.told, self.random)
        if self.call is None:
            return None
        batch = (self.call, self.targets)
        return Micro(batch, self.random, "call", self.scored)


@dataclass(slots=True)
class Update:
    """One update: numbers that may still be on the device, and its micro-batches."""

    step: int
    steps: dict[str, int]
    rates: dict[str, tuple[float | Tensor, ...]]
    norms: list[Norms]
    losses: list[Tensor | float] = field(default_factory=list[Tensor | float])
    micros: list[_Micro] = field(default_factory=list[_Micro])
    nbytes: int = 0

    def record(self) -> StepRecord:
        """The update as a value on the host; waits for the device."""
        return StepRecord(
            step=self.step,
            losses=tuple(float(loss) for loss in self.losses),
            rates={k: tuple(float(r) for r in of) for k, of in self.rates.items()},
            grad_norm=_total(self.norms),
            micro=tuple(one for micro in self.micros if (one := micro.settled())),
        )


class Log:
    """The last updates, and the one that is being made.

    The micro-batches of an update are told apart by what closes them: a told loss, or
    a backward pass. One that is told after its update still belongs to it.
    """

    def __init__(self, most_steps: int) -> None:
        self.step = 0
        self._most = most_steps
        self._updates: deque[Update] = deque()
        self._held = 0
        self._thin = 0
        self._pending: list[_Micro] = []
        self._losses: list[Tensor | float] = []
        self._open: _Micro | None = None
        self._bytes = 0
        self._copier = Copier()
        self._streams: RandomStreams | None = None
        self._wants_calls = True

    @property
    def nbytes(self) -> int:
        """Bytes of all batches that are kept."""
        return self._bytes + self._held

    @property
    def step_nbytes(self) -> int:
        """Bytes that one update takes, by the last one."""
        return self._updates[-1].nbytes if self._updates else self._bytes

    @property
    def fresh(self) -> bool:
        """Whether no micro-batch of the coming update has begun."""
        return self._open is None and not self._pending

    def forward(self, args: Any, kwargs: Any) -> None:
        """A model is called with gradients; the first call begins a micro-batch."""
        if self._open is not None:
            return
        self._copier.begin()
        self._streams = RandomStreams(like=self._streams)
        self._open = _Micro(self._streams)
        self._bytes += self._streams.nbytes
        if self._wants_calls:
            self._open.call = self._copied((args, kwargs))

    def score(self, name: str, target: Tensor, settings: Mapping[str, Any]) -> None:
        """A loss function of torch is called with a target."""
        if self._open is not None:
            self._open.targets += (self._copied(target),)
            self._open.scored += ((name, settings),)

    def loss(self, loss: Tensor) -> None:
        """A loss whose backward pass begins: it ends its micro-batch."""
        self._losses.append(_number(loss))
        self._end()

    def told(self, losses: Sequence[Tensor | float], batch: Any) -> None:
        """The losses of a micro-batch, told by the script, and its batch if it says."""
        late = self.fresh and bool(self._updates)
        micros = self._updates[-1].micros if late else self._pending
        self._end()
        into = self._updates[-1].losses if late else self._losses
        into += [_number(loss) for loss in losses]
        if batch is not None and micros:
            last = micros[-1]
            before = self._copier.nbytes
            own = last.call is None or self._copier.knows(tensors_of(batch))
            last.told, last.call = self._copier.copy(batch), None
            added = self._copier.nbytes - before
            if late:
                self._updates[-1].nbytes += added
                self._held += added
            else:
                self._bytes += added
            # Where the model is called with other tensors than are told, only those
            # that are told are copied from now on.
            self._wants_calls = own and self._wants_calls
        elif batch is None:
            self._wants_calls = True

    def update(
        self, name: str, rates: tuple[float | Tensor, ...], norms: Norms
    ) -> bool:
        """An optimizer made its update; whether a record begins with it goes out.

        One that steps right after another, with no pass between, shares its record.
        """
        last = self._updates[-1] if self._updates else None
        if last is not None and self.fresh and name not in last.rates:
            last.rates[name], last.steps[name] = rates, last.steps.get(name, 0) + 1
            last.norms.append(norms)
            return False
        self._end()
        steps = {} if last is None else dict(last.steps)
        steps[name] = steps.get(name, 0) + 1
        made = Update(self.step, steps, {name: rates}, [norms])
        made.losses, made.micros, made.nbytes = self._losses, self._pending, self._bytes
        self._losses, self._pending, self._bytes = [], [], 0
        self._updates.append(made)
        self._held += made.nbytes
        self.step += 1
        self.drop_before(self.step - self._most)
        return True

    def skip(self) -> None:
        """The update that was coming is not made: what it came from is forgotten."""
        self._losses, self._pending, self._open, self._bytes = [], [], None, 0

    def drop_before(self, step: int) -> None:
        """Forget the updates before a step."""
        while self._updates and self._updates[0].step < step:
            self._held -= self._updates.popleft().nbytes
            self._thin = max(0, self._thin - 1)

    def fit(self, room: int) -> None:
        """Let go of the oldest batches until the rest takes no more than `room` bytes.

        Numbers of these updates stay.
        """
        while self.nbytes > room and self._thin < len(self._updates):
            one = self._updates[self._thin]
            self._held -= one.nbytes
            one.micros, one.nbytes = [], 0
            self._thin += 1

    def whole_since(self) -> int:
        """The first step from which on all batches are kept."""
        return self.step - len(self._updates) + self._thin

    def since(self, step: int) -> list[Update]:
        """The updates from a step on, without those that are still to be made."""
        count = len(self._updates)
        first = max(0, step - (self.step - count))
        return [self._updates[i] for i in range(first, count)]

    def step_of(self, name: str, own: int) -> int:
        """The record that counts update `own` of an optimizer, as nearly as known."""
        for one in self._updates:
            if one.steps.get(name, 0) > own:
                return one.step
        return own if not self._updates else min(own, self.step)

    def _copied(self, nest: Any) -> Any:
        before = self._copier.nbytes
        copy = self._copier.copy(nest)
        self._bytes += self._copier.nbytes - before
        return copy

    def _end(self) -> None:
        """The open micro-batch is whole."""
        if self._open is not None:
            self._pending.append(self._open)
            self._open = None


def _number(loss: Tensor | float) -> Tensor | float:
    """A loss without its graph, safe from what is done to it in place."""
    return loss.detach().clone() if isinstance(loss, Tensor) else float(loss)


def _total(norms: Sequence[Norms]) -> float:
    """The norm of all gradients together; NaN where none is known."""
    squares = 0.0
    found = False
    for row in norms:
        if row is None:
            continue
        found = True
        values = row.tolist() if isinstance(row, torch.Tensor) else row
        squares += sum(v * v for v in values if not math.isnan(v))
    return math.sqrt(squares) if found else math.nan
