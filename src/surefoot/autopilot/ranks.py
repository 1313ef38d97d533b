"""What one rank measured comes in, what all of them go by goes out: the mean.

All ranks of a distributed run decide alike because they see the same numbers. That
takes part of every rank: whether all have an autopilot is settled before the first
exchange, since one that waits alone would wait for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, distributed

from surefoot.autopilot.live import KnobError
from surefoot.gradients.norms import is_sharded

PATIENCE = 60.0
"""Seconds in which all ranks have to make their autopilots: models are built, and
data is found, at different speeds."""

NAME = "surefoot/autopilot"


class Ranks:
    """The ranks of this run; one alone where nothing is distributed."""

    def __init__(self) -> None:
        self.size = world_size()
        self._agreed = self.size == 1
        self._round = ""
        if self.size > 1:
            store = _store()
            own = store.add(f"{NAME}/rank{distributed.get_rank()}", 1)
            self._round = f"{NAME}/{own}"
            store.add(f"{self._round}/here", 1)

    def mean(self, row: Tensor) -> Tensor:
        """The mean of a row of numbers over all ranks; call it on all of them.

        Raises:
            KnobError: not all ranks have an autopilot.
        """
        if self.size == 1:
            return row
        if not self._agreed:
            self._settle()
            self._agreed = True
        distributed.all_reduce(row)
        return row / self.size

    def _settle(self) -> None:
        """The first rank counts, and tells the others."""
        store = _store()
        if distributed.get_rank() == 0:
            here = _waited(lambda: store.add(f"{self._round}/here", 0), self.size)
            store.set(f"{self._round}/verdict", str(here))
        else:
            # Twice as long: the verdict itself may come after all of its patience.
            _waited(lambda: int(store.check([f"{self._round}/verdict"])), 1, times=2)
            told = store.check([f"{self._round}/verdict"])
            here = int(store.get(f"{self._round}/verdict")) if told else 0
        if here < self.size:
            raise KnobError(
                f"an autopilot came on {here} of {self.size} ranks; expected one on "
                "each, since all of them have to decide alike; call watch() on all"
            )


def world_size() -> int:
    """How many processes train together."""
    ready = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if ready else 1


def _store() -> Any:
    return distributed.distributed_c10d._get_default_store()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]


def _waited(count: Callable[[], int], wanted: int, *, times: int = 1) -> int:
    """The count, as soon as it is as wanted, or when patience is over."""
    end = time.monotonic() + times * PATIENCE
    while (found := count()) < wanted and time.monotonic() < end:
        time.sleep(0.01)
    return found


def row_of(values: Sequence[Tensor | float], home: torch.device) -> Tensor:
    """Numbers from anywhere as one row, shape `[n]`, float64 on the host.

    A row of numbers counts as so many.

    Those of sharded tensors are made whole: all ranks take part.
    """
    kind = torch.float64 if home.type == "cpu" else torch.float32
    whole = [_whole(torch.as_tensor(value)) for value in values]
    return torch.cat([one.to(home, kind).reshape(-1) for one in whole])


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if is_sharded(value) else value  # pyright: ignore[reportAttributeAccessIssue]
