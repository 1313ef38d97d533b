"""Difficulties and a pace come in, batches of examples that are easy enough go out."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from surefoot.schedules.errors import ScheduleError
from surefoot.schedules.scheduled import Scheduled, value_at


class CurriculumSampler(Sampler[list[int]]):
    """Batches from the easiest share c(t) of the data: a DataLoader's `batch_sampler`.

    At step t each example of the easiest ⌊c(t)·n⌋ is equally likely, none twice in a
    batch unless there are fewer than a batch (Platanios et al. 2019, arXiv 1903.09848;
    Bengio et al. 2009). A batch depends on seed, rank and step only, so that a resumed
    run draws exactly what it would have drawn.

    `step` counts the batches that were handed out. Workers of a DataLoader fetch ahead:
    register the sampler with `after_step(optimizer, sampler)`, and it counts updates
    instead, keeps the count in the optimizer's state, and logs the share.

    Args:
        difficulty: a number for each example, larger is harder.
        pace: the share c(t), in (0, 1]: `Linear`, `Root` or `PiecewiseConstant`.
        batch_size: examples in a batch.
        batches: in an epoch; as many as the data has, if not given.
        seed: of the draws.
        rank: of the process; each draws batches of its own.

    >>> from surefoot.schedules import Root
    >>> sampler = CurriculumSampler(
    ...     torch.arange(100), Root(0.1, 1.0, steps=20), batch_size=4, batches=20
    ... )
    >>> largest = [max(batch) for batch in sampler]
    >>> largest[0] < 10, max(largest) > 80
    (True, True)

    Raises:
        ScheduleError: difficulties that are no row of finite numbers, a batch of none,
            or a pace that leaves no example at step 0.
    """

    def __init__(
        self,
        difficulty: Tensor | Sequence[float],
        pace: float | Scheduled,
        *,
        batch_size: int,
        batches: int | None = None,
        seed: int = 0,
        rank: int = 0,
    ) -> None:
        rows = torch.as_tensor(difficulty).detach().cpu()
        if rows.dim() != 1 or not rows.numel() or not bool(rows.isfinite().all()):
            raise ScheduleError(
                f"difficulties of shape {tuple(rows.shape)} came, or some that are not "
                "finite; expected one finite number for each example"
            )
        if batch_size < 1 or (batches is not None and batches < 1):
            raise ScheduleError(
                f"batch_size={batch_size!r} and batches={batches!r} came; expected 1 "
                "or more"
            )
        self.pace = pace
        self.batch_size = batch_size
        self.batches = batches or math.ceil(len(rows) / batch_size)
        self.seed = seed
        self.rank = rank
        self.step = 0
        self._order: list[int] = rows.argsort(stable=True).tolist()
        self._updates: int | None = None
        self.pool(0)

    def pool(self, step: int) -> int:
        """How many of the easiest examples may be drawn at a step.

        Raises:
            ScheduleError: none, or the share is above 1.
        """
        share = value_at(self.pace, step)
        count = math.floor(share * len(self._order) + 1e-9)  # 0.29·100 is 28.999…
        if not (count >= 1 and share <= 1):
            raise ScheduleError(
                f"the pace is {share!r} at step {step}; expected a share of the "
                f"{len(self._order)} examples: 1 at least, and not above 1"
            )
        return count

    def batch(self, step: int) -> list[int]:
        """The batch of a step; the same at each call."""
        count = self.pool(step)
        stream = random.Random(f"{self.seed} {self.rank} {step}")
        if count >= self.batch_size:
            drawn = stream.sample(range(count), self.batch_size)
        else:
            drawn = stream.choices(range(count), k=self.batch_size)
        return [self._order[place] for place in drawn]

    def __iter__(self) -> Iterator[list[int]]:
        """The batches that are left of the epoch."""
        if self._updates is not None:
            self.step = self._updates
        for _ in range(len(self)):
            self.step += 1
            yield self.batch(self.step - 1)

    def __len__(self) -> int:
        """How many batches the epoch has left."""
        done = self.step if self._updates is None else self._updates
        return self.batches - done % self.batches

    def begin(self, step: int) -> None:
        """Go on after so many updates, as `after_step` asks for."""
        self.step = self._updates = step

    def __call__(self, step: int) -> Mapping[str, float]:
        """Count an update, and say the share that the next one draws from."""
        self._updates = step
        return {"share": value_at(self.pace, step)}

    def state_dict(self) -> dict[str, Any]:
        """How many batches were trained on, or handed out where nothing else counts."""
        return {"step": self.step if self._updates is None else self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.step = int(state["step"])
        if self._updates is not None:
            self._updates = self.step
