"""Points of a grid come in; their losses go out, from here or from other processes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import torch

from surefoot.landscape.directions import Floats64
from surefoot.landscape.evaluate import Place, Task, loss_on
from surefoot.landscape.forks import Forks
from surefoot.landscape.resume import Kept, digest_of

Index = tuple[int, ...]
Computed = Iterator[tuple[int, float]]
Compute = Callable[[Sequence[Place]], Computed]
"""From places to pairs of a position among them and its loss, in any order."""
Progress = Callable[[int, int], None]

PIECES: Final = 32
"""Work for other processes is cut into so many pieces: few enough that sending the
model costs little, many enough that none of 16 processes waits long for the last."""

SAME: Final = 1e-3
"""A loss that was kept and one computed anew differ by less, relatively: other devices
and numbers of threads round differently, another loss function differs by more."""


class Grid:
    """Losses at the points of a grid over a slice, each computed once.

    `total` is how many will be asked for at most; it is what progress is told of.
    """

    def __init__(
        self, compute: Compute, axes: list[Floats64], kept: Kept, progress: Progress
    ) -> None:
        self._compute, self._axes, self._kept = compute, axes, kept
        self._progress = progress
        self.total = kept.losses.size
        self._done: set[Index] = set()

    def losses(self, indices: Sequence[Index]) -> Floats64:
        """The losses at some points, shape `[len(indices)]`."""
        where = tuple(np.array(indices).T)
        new = [index for index in indices if not self._kept.known[index]]
        self._done |= set(indices) - set(new)
        places = [self._place(index) for index in new]
        for at, loss in self._compute(places):
            self._kept.add(new[at], loss)
            self._done.add(new[at])
            done = len(self._done)
            self._progress(done, max(done, self.total))
        return self._kept.losses[where]

    def at(self, place: Place) -> float:
        """The loss at a place that need not be a point of the grid."""
        return next(self._compute([place]))[1]

    def check(self, source: str) -> None:
        """Compute one of the kept losses anew.

        Raises:
            ValueError: it comes out differently.
        """
        finite = np.argwhere(self._kept.known & np.isfinite(self._kept.losses))
        if not len(finite):
            return
        index = tuple(map(int, finite[0]))
        then, now = float(self._kept.losses[index]), self.at(self._place(index))
        if not abs(now - then) <= SAME * max(abs(now), abs(then)):
            raise ValueError(
                f"{source} holds a loss of {then:.6g} where it is {now:.6g} now: it "
                "was drawn with another loss function, or the model computes "
                "something else. Give another file, or remove this one to begin anew."
            )

    def finished(self) -> None:
        """Say that no more will be asked for."""
        self._progress(len(self._done), len(self._done))

    def _place(self, index: Index) -> Place:
        return [float(axis[at]) for axis, at in zip(self._axes, index, strict=True)]


@contextmanager
def grid_of(
    task: Task,
    axes: list[Floats64],
    *,
    executor: Executor | None = None,
    resume: str | Path | None = None,
    progress: Progress | None = None,
) -> Generator[Grid]:
    """A grid whose losses can be asked for, for as long as it is open.

    Args:
        task: what is evaluated.
        axes: coordinates of the grid along each direction.
        executor: of processes that evaluate; None evaluates here.
        resume: a file that holds what was computed, also after an interruption.
        progress: told how many points are done, and of how many at most.

    Raises:
        ValueError: the file belongs to another drawing, or the task cannot be sent to
            other processes.
    """
    shape = tuple(map(len, axes))
    kept = Kept(resume, digest_of(task, axes) if resume else "", shape)
    with _computing(task, executor) as compute:
        grid = Grid(compute, axes, kept, progress or _silent)
        if kept.known.any():
            grid.check(str(resume))
        try:
            yield grid
        finally:
            kept.save()


def _silent(done: int, total: int) -> None:
    pass


@contextmanager
def _computing(task: Task, executor: Executor | None) -> Generator[Compute]:
    if executor is not None:
        packed = _packed(task, executor)
        yield lambda places: _elsewhere(executor, packed, places)
        return
    with loss_on(task) as loss:
        yield lambda places: ((at, loss(place)) for at, place in enumerate(places))


def _packed(task: Task, executor: Executor) -> bytes | Task:
    if isinstance(executor, Forks):  # copies of this process have it in memory
        return task
    if isinstance(executor, ThreadPoolExecutor):
        raise ValueError(
            "threads share random streams and the model: give an executor of "
            "processes, such as ProcessPoolExecutor with the context 'spawn'"
        )
    try:
        return pickle.dumps(task)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            "model, data and loss_fn are sent to other processes, and one of them "
            f"cannot be: {error}. Define classes and functions at the top level of a "
            "module (no lambda), or draw without an executor."
        ) from error


def _elsewhere(
    executor: Executor, packed: bytes | Task, places: Sequence[Place]
) -> Computed:
    size = -(-len(places) // PIECES) or 1
    futures: dict[Future[list[float]], int] = {
        executor.submit(_losses_at, packed, places[start : start + size]): start
        for start in range(0, len(places), size)
    }
    try:
        for future in as_completed(futures):
            yield from enumerate(future.result(), futures[future])
    finally:
        for future in futures:
            future.cancel()


def _losses_at(packed: bytes | Task, places: Sequence[Place]) -> list[float]:
    """Runs in another process, on one thread: processes share the cores."""
    torch.set_num_threads(1)
    task = packed if isinstance(packed, Task) else pickle.loads(packed)
    with loss_on(task) as loss:
        return [loss(place) for place in places]
