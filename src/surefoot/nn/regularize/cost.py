"""A model, a batch and a change come in, what an update costs more goes out.

Two copies of the model are trained beside each other at a rate of zero, one of them
changed: a penalty in the loss, a parametrization, another normaliser, an action after
the update. What differs is the price of the change.
"""

from __future__ import annotations

import copy
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from surefoot.restore.random_streams import RandomStreams
from surefoot.types import LossFunction

Change = Callable[[nn.Module, Optimizer], LossFunction | None]

WARM_UP = 3
"""Updates that are not timed: the first ones allocate, and compile if asked to."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a change adds to an update.

    Attributes:
        seconds: the median of what an update took longer than its neighbour without;
            CPU time, or the time of the device where the model is on one.
        plain_seconds: the median of an update without the change.
        peak_bytes: how much more memory was held at the highest point of an update,
            of tensors made during it.
        state_bytes: how much more is kept from one update to the next, in the state
            of the model, the optimizer and its actions; negative if less.
        state: names and shapes of kept tensors that there are only with the change.
    """

    seconds: float
    plain_seconds: float
    peak_bytes: int
    state_bytes: int
    state: Mapping[str, tuple[int, ...]]

    @property
    def share(self) -> float:
        """Extra time as a share of an update without the change."""
        return self.seconds / self.plain_seconds


def cost_of(
    change: Change,
    model: nn.Module,
    *,
    batch: Any,
    loss_fn: LossFunction,
    updates: int = 30,
) -> Cost:
    """Extra time, memory and state per update of a regulariser or a normaliser.

    Args:
        change: what is done to a copy of the model and its SGD before it trains:
            `change(model, optimizer)`. It may return another loss function, as for a
            penalty.
        model: left as it is; so are all random streams.
        batch: what both learn from at each update.
        loss_fn: `loss_fn(model, batch)`, a number.
        updates: how many are timed of each, in turn.

    >>> from torch.nn.utils.parametrizations import spectral_norm
    >>> def change(model, optimizer):
    ...     spectral_norm(model)
    >>> mean = lambda model, x: model(x).mean()
    >>> found = cost_of(change, nn.Linear(8, 4), batch=torch.ones(2, 8), loss_fn=mean)
    >>> dict(found.state)
    {'model.parametrizations.weight.0._u': (4,),
     'model.parametrizations.weight.0._v': (8,)}
    >>> found.state_bytes
    48

    Raises:
        ValueError: less than one update is asked for, or the model has no parameters.
    """
    if updates < 1 or not any(True for _ in model.parameters()):
        raise ValueError(
            f"updates={updates} and {type(model).__name__} came; expected 1 or more, "
            "and a model with parameters"
        )
    streams = RandomStreams()
    try:
        arms = [_Arm(model, loss_fn, how) for how in (None, change)]
        for arm in arms * WARM_UP:
            arm.update(batch)
        times = [[arm.seconds(batch) for arm in arms] for _ in range(updates)]
        peaks = [arm.peak(batch) for arm in arms]
    finally:
        streams.restore()
    plain, changed = (dict(arm.state()) for arm in arms)
    return Cost(
        seconds=median(after - before for before, after in times),
        plain_seconds=median(before for before, _ in times),
        peak_bytes=peaks[1] - peaks[0],
        state_bytes=_bytes(changed) - _bytes(plain),
        state=_added(plain, changed),
    )


class _Arm:
    """A copy of the model in training that learns nothing."""

    def __init__(
        self, model: nn.Module, loss_fn: LossFunction, change: Change | None
    ) -> None:
        self.model = copy.deepcopy(model).train()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0)
        other = change(self.model, self.optimizer) if change else None
        self.loss_fn = other or loss_fn
        self.device = next(self.model.parameters()).device

    def update(self, batch: Any) -> None:
        """One update, from clean gradients to the optimizer's step."""
        self.model.zero_grad()
        self.loss_fn(self.model, batch).backward()
        self.optimizer.step()

    def seconds(self, batch: Any) -> float:
        """The time of an update: of all threads, or of the device."""
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        self._wait()
        start = clock()
        self.update(batch)
        self._wait()
        return clock() - start

    def peak(self, batch: Any) -> int:
        """Most bytes that tensors made during an update hold at once."""
        with _Held() as held:
            self.update(batch)
        return held.peak

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """All tensors that outlive an update, by name, gradients apart."""
        for name, value in self.model.state_dict().items():
            if isinstance(value, Tensor):
                yield f"model.{name}", value
        leaves, _ = pytree.tree_flatten_with_path(self.optimizer.state_dict())
        for path, value in leaves:
            if isinstance(value, Tensor):
                yield f"optimizer{pytree.keystr(path)}", value

    def _wait(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)


class _Held(TorchDispatchMode):
    """Counts the bytes of storages made inside, until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation, and note storages that are not its inputs'."""
        given = {_key(one) for one in _tensors((args, kwargs))}
        output = func(*args, **(kwargs or {}))
        for one in _tensors(output):
            key = _key(one)
            if key not in given and key not in self._known:
                self._note(key, one.untyped_storage())
        return output

    def _note(self, key: int, storage: torch.UntypedStorage) -> None:
        size = storage.nbytes()
        self._known[key] = weakref.ref(storage, partial(self._gone, key, size))
        self.now += size
        self.peak = max(self.peak, self.now)

    def _gone(self, key: int, size: int, _: Any) -> None:
        self._known.pop(key, None)
        self.now -= size


def _tensors(tree: Any) -> list[Tensor]:
    return [
        one
        for one in pytree.tree_leaves(tree)
        if isinstance(one, Tensor) and one.layout is torch.strided
    ]


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]


def _bytes(state: Mapping[str, Tensor]) -> int:
    return sum(one.numel() * one.element_size() for one in state.values())


def _added(
    plain: Mapping[str, Tensor], changed: Mapping[str, Tensor]
) -> dict[str, tuple[int, ...]]:
    """Tensors that are only there with the change; one may have another name there."""
    gone = Counter(
        tuple(one.shape) for name, one in plain.items() if name not in changed
    )
    added: dict[str, tuple[int, ...]] = {}
    for name, one in changed.items():
        shape = tuple(one.shape)
        if name in plain and plain[name].shape == one.shape:
            continue
        if gone[shape] > 0:
            gone[shape] -= 1
        else:
            added[name] = shape
    return added
