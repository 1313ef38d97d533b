"""One batch or many come in, a list of batches and their numbers of samples go out."""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader

from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.wrappers import Groups


@dataclass(frozen=True, slots=True)
class Batches:
    """Several batches, whose mean loss is meant: each weighs as its samples do.

    Attributes:
        iterable: of batches, read once and held in memory.
        keep_graphs: keep the graphs of all batches instead of making each anew at
            each product. A product is then about half as dear, and memory is that of
            one batch times their number.
        groups: of processes that hold a share of the batches each, if the model is
            not one that tells (DistributedDataParallel, fully_shard). Products are
            summed over them, so that all get the same; all must ask for the same.

    >>> len(list(Batches([torch.zeros(4, 2), torch.zeros(3, 2)]).iterable))
    2
    """

    iterable: Iterable[Any]
    keep_graphs: bool = False
    groups: Groups = ()


def several(data: Any) -> Batches:
    """Whatever a user gave as data, as batches. A DataLoader is several, as is Batches.

    Anything else is one batch, whose graph is kept.
    """
    if isinstance(data, Batches):
        return data
    if isinstance(data, DataLoader):
        return Batches(data)
    return Batches((data,), keep_graphs=True)


def held(batches: Batches) -> list[Any]:
    """The batches, read once; a loader and its random numbers stay as they were.

    Raises:
        CurvatureError: there is none.
    """
    source = batches.iterable
    if isinstance(source, DataLoader):
        with _unmoved(source) as loader:
            found = list(loader)
    else:
        found = list(source)
    if not found:
        raise CurvatureError(
            "there is no batch: the loader or iterable is empty (a generator can be "
            "read only once); expected at least one batch"
        )
    return found


@contextmanager
def _unmoved(loader: DataLoader[Any]) -> Generator[DataLoader[Any]]:
    """A loader to read from: the given one may be in the middle of an epoch."""
    sampler = getattr(loader, "sampler", None)
    inner = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
    own = {id(one): one for one in map(_generator, (loader, sampler, inner)) if one}
    states = [(one, one.get_state()) for one in own.values()]
    double = copy.copy(loader)
    double._iterator = None  # pyright: ignore[reportPrivateUsage]
    try:
        yield double
    finally:
        for generator, state in states:
            generator.set_state(state)


def _generator(source: Any) -> torch.Generator | None:
    found = getattr(source, "generator", None)
    return found if isinstance(found, torch.Generator) else None


def samples(batch: Any) -> int:
    """Samples of a batch: the length of the first tensor in it.

    Raises:
        CurvatureError: there is no tensor with a length in the batch.

    >>> samples({"input": torch.zeros(5, 2), "target": torch.zeros(5)})
    5
    """
    for one in _leaves(batch):
        if isinstance(one, torch.Tensor) and one.dim() > 0:
            return len(one)
    raise CurvatureError(
        f"cannot tell how many samples a batch of type {type(batch).__name__} has; "
        "expected a tensor, or tensors in tuples, lists or dicts, with one row a sample"
    )


def _leaves(batch: Any) -> list[Any]:
    """Leaves of a nest; mappings that are not dicts are opened as well."""
    found: list[Any] = []
    for one in pytree.tree_leaves(batch):
        if isinstance(one, Mapping):
            found += _leaves(list(one.values()))
        else:
            found.append(one)
    return found


def counted(batches: Sequence[Any], *, alone: bool) -> list[float]:
    """Weights of batches in their mean: their numbers of samples.

    One batch of a process that is alone weighs 1 whatever it is made of.
    """
    if len(batches) == 1 and alone:
        return [1.0]
    counts = [float(samples(batch)) for batch in batches]
    if not sum(counts):
        raise CurvatureError("all batches are empty; expected at least one sample")
    return counts
