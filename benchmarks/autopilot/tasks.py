"""What is trained: nothing comes in, a visible tuple of tasks goes out.

Six tasks are those on which the autopilot's bounds were chosen, in kind: its pictures
and sizes differ. On the others nothing was chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from benchmarks.autopilot import nets
from benchmarks.autopilot.data import Clothes, Copies, Data, Loss, Text

LEAST_SHARE = 0.1
"""Where the cosine of the learning rate ends."""


def decades(first: float) -> tuple[float, ...]:
    """Seven learning rates over three decades.

    >>> [round(rate, 5) for rate in decades(-4.0)]
    [0.0001, 0.00032, 0.001, 0.00316, 0.01, 0.03162, 0.1]
    """
    return tuple(round(10 ** (first + k / 2), 9) for k in range(7))


def cosine(step: int, steps: int) -> float:
    """The share of the learning rate at a step, 1 to a tenth.

    >>> cosine(0, 100), round(cosine(100, 100), 9)
    (1.0, 0.1)
    """
    turn = (1 + math.cos(math.pi * step / steps)) / 2
    return LEAST_SHARE + (1 - LEAST_SHARE) * turn


@dataclass(frozen=True, slots=True)
class Task:
    """A model, its data and its learning rates; `adam` is AdamW, else SGD."""

    name: str
    network: Callable[[], nn.Module]
    data: Callable[[int], Data]
    steps: int
    rates: tuple[float, ...]
    adam: bool = True
    tuned: bool = False
    loss: Loss = field(default=functional.cross_entropy)


def _he(weight: Tensor) -> Tensor:
    return nn.init.kaiming_normal_(weight)


def _text(rows: int, length: int) -> Callable[[int], Data]:
    return partial(Text, rows=rows, length=length)


ALL: tuple[Task, ...] = (
    Task("CNN, SGD", nets.cnn, Clothes, 250, decades(-2.5), adam=False, tuned=True),
    Task(
        "CNN, four poisoned batches",
        nets.cnn,
        partial(Clothes, spiked=True),
        200,
        decades(-4),
        tuned=True,
    ),
    Task(
        "plain net of 20 layers",
        partial(nets.plain, 20, nn.ReLU, start=_he),
        Clothes,
        200,
        decades(-4),
        tuned=True,
    ),
    Task(
        "LSTM",
        partial(nets.Recurrent, nn.LSTM, 96),
        _text(12, 32),
        160,
        decades(-3),
        tuned=True,
    ),
    Task(
        "post-norm transformer",
        partial(nets.GPT, 40, blocks=6, length=32, post=True),
        _text(6, 32),
        140,
        decades(-4),
        tuned=True,
    ),
    Task(
        "GPT",
        partial(nets.GPT, 48, blocks=4, length=40),
        _text(4, 40),
        150,
        decades(-4),
        tuned=True,
    ),
    Task(
        "wider GPT",
        partial(nets.GPT, 96, blocks=3, length=40),
        _text(4, 40),
        160,
        decades(-4),
    ),
    Task("ViT", nets.ViT, Clothes, 160, decades(-4)),
    Task(
        "GRU, SGD",
        partial(nets.Recurrent, nn.GRU, 72),
        _text(10, 32),
        160,
        decades(-2),
        adam=False,
    ),
    Task(
        "tanh net of 12 layers, SGD",
        partial(nets.plain, 12, nn.Tanh, start=nn.init.xavier_uniform_),
        Clothes,
        200,
        decades(-3),
        adam=False,
    ),
    Task(
        "batch-norm net of 10 layers",
        partial(nets.plain, 10, nn.ReLU, start=_he, normed=True),
        Clothes,
        200,
        decades(-4),
    ),
    Task("residual net, SGD", nets.resnet, Clothes, 160, decades(-2), adam=False),
    Task(
        "autoencoder",
        nets.autoencoder,
        Copies,
        250,
        decades(-4),
        loss=functional.mse_loss,
    ),
)
"""All tasks; see `Task.tuned` for which half they are of."""


def task_named(name: str) -> Task:
    """The task of that name.

    Raises:
        KeyError: there is none.
    """
    return {task.name: task for task in ALL}[name]
