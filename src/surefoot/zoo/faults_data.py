"""Faults of data: a task comes in, the truth about what was planted goes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from surefoot.zoo.datasets import Cycle, held_out_digits
from surefoot.zoo.losses import classification
from surefoot.zoo.places import late, middle
from surefoot.zoo.task import BatchChange, Rng, Task, Truth, change_batches

Rows = Callable[[torch.Tensor], torch.Tensor]


def _cycle(task: Task) -> Cycle:
    """The batches of a task on digits."""
    if not isinstance(task.batches, Cycle):
        raise TypeError(
            f"a fault of the digits was planted in {type(task.batches).__name__}; "
            "expected batches of digits; see which homes fit it in the catalogue"
        )
    return task.batches


def _generator(rng: Rng) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(10**6)))


def label_noise(task: Task, rng: Rng, strength: int) -> Truth:
    """A share of the labels is random, and stays so."""
    batches, random = _cycle(task), _generator(rng)
    x, y = batches.tensors
    wrong = torch.rand(len(y), generator=random) < (0.4, 0.6, 0.8)[strength - 1]
    other = torch.randint(10, y.shape, generator=random)
    batches.tensors = (x, torch.where(wrong, other, y))
    return Truth(("label noise",), fixes=("inspect batch", "check wiring"))


def labels_changed(task: Task, rng: Rng, strength: int) -> Truth:
    """From one step on labels belong to other examples."""
    onset, random = middle(task, rng), _generator(rng)
    share = (0.5, 0.8, 1.0)[strength - 1]

    def shuffled(batch: Any) -> Any:
        y = batch[1]
        wrong = torch.rand(y.shape, generator=random) < share
        other = y.flatten()[torch.randperm(y.numel(), generator=random)].view(y.shape)
        return batch[0], torch.where(wrong, other, y)

    change_batches(task, range(onset, task.steps), shuffled)
    causes = ("labels changed", "data changed", "label noise")
    return Truth(causes, onset, fixes=("inspect batch", "check wiring"))


def unscaled_inputs(task: Task, rng: Rng, strength: int) -> Truth:
    """Inputs are 255 to 100,000 times too large, in training and in use."""
    batches, size = _cycle(task), (255.0, 2e3, 1e5)[strength - 1]
    x, y = batches.tensors
    batches.tensors = (x * size, y)
    held_x, held_y = held_out_digits()
    task.scores = classification(held_x * size, held_y)
    causes = ("inputs not scaled",)
    return Truth(causes, fixes=("scale inputs", "layer norm"))


def inputs_shifted(task: Task, rng: Rng, strength: int) -> Truth:
    """From one step on the inputs of training come shifted and stretched."""
    onset, shift = middle(task, rng), (3.0, 8.0, 30.0)[strength - 1]
    change = _on_inputs(lambda x: 1.5 * x + shift)
    change_batches(task, range(onset, task.steps), change)
    causes = ("inputs shifted", "data changed")
    return Truth(causes, onset, fixes=("inspect batch", "scale inputs"))


def _on_inputs(change: Rows) -> BatchChange:
    return lambda batch: (change(batch[0]), *batch[1:])


def class_imbalance(task: Task, rng: Rng, strength: int) -> Truth:
    """One class fills the training set, nine have a few examples each."""
    batches, few = _cycle(task), (10, 4, 1)[strength - 1]
    x, y = batches.tensors
    common = int(rng.integers(10))
    kept = torch.cat(
        [torch.where(y == c)[0][: _of(c == common, few)] for c in range(10)]
    )
    # The common class is repeated, so that the rare ones stay rare.
    often = kept[y[kept] == common].repeat(10)
    batches.tensors = tuple(part[torch.cat([kept, often])] for part in (x, y))
    return Truth(("class imbalance",), fixes=("rebalance classes", "inspect batch"))


def _of(all_of_them: bool, few: int) -> int | None:
    return None if all_of_them else few


def overfitting(task: Task, rng: Rng, strength: int) -> Truth:
    """A few examples are learnt by heart."""
    batches: Any = task.batches
    if isinstance(batches, Cycle):
        few = (100, 50, 20)[strength - 1]
        batches.tensors = tuple(part[:few] for part in batches.tensors)
        batches.size = min(batches.size, few // 2)
    else:
        batches.codes = batches.codes[: (600, 300, 100)[strength - 1]]
    return Truth(("overfitting",), fixes=("more data", "more regularisation"))


def corrupted_batch(task: Task, rng: Rng, strength: int) -> Truth:
    """One to three batches hold garbage of enormous size."""
    onset, size = late(task, rng), (1e2, 1e3, 1e5)[strength - 1]

    def garbage(batch: Any) -> Any:
        return batch[0] * size, batch[1].roll(1)

    change_batches(task, range(onset, onset + int(rng.integers(1, 4))), garbage)
    return Truth(
        ("bad batch",), onset, fixes=("skip outliers", "inspect batch", "clip")
    )


def missing_values(task: Task, rng: Rng, strength: int) -> Truth:
    """A batch holds NaN: in one number, in one example, or everywhere."""
    onset = middle(task, rng)

    def holed(batch: Any) -> Any:
        x = batch[0].clone()
        rows = (x[0, 0], x[0], x)[strength - 1]
        rows.fill_(float("nan"))
        return (x, *batch[1:])

    change_batches(task, range(onset, onset + 1), holed)
    causes = ("non-finite data",)
    return Truth(causes, onset, fixes=("inspect batch", "skip non-finite"))
