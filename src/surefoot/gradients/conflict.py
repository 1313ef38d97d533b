"""Gradients of several tasks come in, how far they pull apart goes out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class GradientConflict:
    """How the gradients of tasks lie to each other.

    Attributes:
        cosines: of each two, `[tasks, tasks]`; 0 with a gradient that is zero.
        rate: share of the pairs with a cosine below zero, shape `[]`.
        coherence: mean cosine of the pairs, shape `[]`.
        worst: the two tasks that are most opposed.
    """

    cosines: Tensor
    rate: Tensor
    coherence: Tensor
    worst: tuple[int, int]


def pairwise_cosines(gradients: Tensor) -> Tensor:
    """Cosine of each two rows, `[tasks, tasks]`; can be differentiated.

    A row of zeros has the cosine 0 with all, itself too.

    >>> pairwise_cosines(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))[0, 1]
    tensor(-0.7071)

    Raises:
        ValueError: not `[tasks, n]` with two tasks or more.
    """
    if gradients.dim() != 2 or len(gradients) < 2:
        raise ValueError(
            f"gradients of shape {tuple(gradients.shape)} came; expected [tasks, n] "
            "with two tasks or more; task_gradients() makes them from losses"
        )
    lengths = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    unit = gradients / torch.where(lengths > 0, lengths, 1.0)
    return (unit @ unit.mT).clamp(-1.0, 1.0)


def gradient_conflict(gradients: Tensor) -> GradientConflict:
    """Pairwise cosines of task gradients, and how many pairs are in conflict.

    Two tasks are in conflict where their gradients have a negative product: a step
    for one undoes part of the other's (Yu et al. 2020, arXiv:2001.06782).

    Args:
        gradients: `[tasks, n]`, each flat; `task_gradients` makes them.

    >>> found = gradient_conflict(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
    >>> round(found.coherence.item(), 4), found.rate.item(), found.worst
    (-0.7071, 1.0, (0, 1))

    Raises:
        ValueError: not `[tasks, n]` with two tasks or more.
    """
    cosines = pairwise_cosines(gradients)
    tasks = len(cosines)
    first, second = torch.triu_indices(tasks, tasks, 1, device=cosines.device)
    pairs = cosines[first, second]
    place = int(pairs.detach().argmin())
    return GradientConflict(
        cosines=cosines,
        rate=(pairs < 0).float().mean(),
        coherence=pairs.mean(),
        worst=(int(first[place]), int(second[place])),
    )


def task_gradients(
    losses: Sequence[Tensor],
    parameters: Iterable[Tensor],
    *,
    create_graph: bool = False,
) -> Tensor:
    """The flat gradient of each loss, `[tasks, n]`; zeros where it does not reach.

    Nothing is added to `.grad`. With `create_graph` the result can be differentiated,
    as a penalty on conflicts must be.

    Args:
        losses: numbers with a graph; it is kept.
        parameters: those that the tasks share.
        create_graph: whether the gradients have a graph themselves.

    >>> weight = torch.ones(2, requires_grad=True)
    >>> task_gradients([weight[0], weight[1] - weight[0]], [weight])
    tensor([[ 1.,  0.],
            [-1.,  1.]])

    Raises:
        ValueError: there is no loss or no parameter.
    """
    chosen = list(parameters)
    if not losses or not chosen:
        raise ValueError(
            f"{len(losses)} losses and {len(chosen)} parameters came; expected 1 or "
            "more of both"
        )
    rows: list[Tensor] = []
    for loss in losses:
        slopes = torch.autograd.grad(
            loss, chosen, retain_graph=True, create_graph=create_graph,
            allow_unused=True, materialize_grads=True,
        )  # fmt: skip
        rows.append(torch.cat([slope.reshape(-1) for slope in slopes]))
    return torch.stack(rows)
