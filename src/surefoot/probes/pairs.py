"""Two updates in a row: samples of both come in, cosine and curvature go out.

The samples are strided: one view of each tensor, and one copy for all of them, so that
nothing as large as a gradient is kept from one step to the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from surefoot.gradients.norms import grad_scale, plain
from surefoot.types import RUN, Moment, Reading

MOST_OF_TENSOR = 4_096
MOST_OF_ALL = 65_536
FEWEST_OF_TENSOR = 64


@dataclass(frozen=True, slots=True)
class Places:
    """Where tensors are sampled: every `strides[i]`-th element, `counts[i]` of them.

    `owner` maps each sampled element to its tensor, `weight` each tensor to the number
    of elements that one sampled element stands for.
    """

    strides: tuple[int, ...]
    counts: tuple[int, ...]
    owner: torch.Tensor
    weight: torch.Tensor


@dataclass(frozen=True, slots=True)
class Pair:
    """Samples of one update: its step, gradients and what it changed.

    `rows` are the places of the sampled parameters among the moment's; `grads` and
    `update` have shape `[sum(places.counts)]`.
    """

    step: int
    rows: tuple[int, ...]
    places: Places
    grads: torch.Tensor
    update: torch.Tensor


def spread(shapes: Sequence[torch.Size], device: torch.device) -> Places:
    """Places for tensors of some shapes: all elements of small ones.

    No stride shares a factor with a row of its tensor, so that the samples wander
    over all columns.
    """
    most = max(FEWEST_OF_TENSOR, MOST_OF_ALL // max(1, len(shapes)))
    most = min(MOST_OF_TENSOR, most)
    strides: list[int] = []
    counts: list[int] = []
    for shape in shapes:
        stride = -(-shape.numel() // most)
        while math.gcd(stride, math.prod(shape[1:])) > 1:
            stride += 1
        strides.append(stride)
        counts.append(-(-shape.numel() // stride))
    sizes = torch.tensor([float(shape.numel()) for shape in shapes])
    taken = torch.tensor(counts)
    owner = torch.repeat_interleave(torch.arange(len(shapes)), taken)
    return Places(
        tuple(strides), tuple(counts), owner.to(device), (sizes / taken).to(device)
    )


def gathered(
    tensors: Sequence[torch.Tensor | None], places: Places, device: torch.device
) -> torch.Tensor:
    """The sampled elements of some tensors, one after the other, float32, a copy.

    Zeros where there is no tensor, or one that cannot be sampled.
    """
    nothing = torch.zeros(1, device=device)
    parts = [
        _strided(tensor, count, stride)
        if tensor is not None and samplable(tensor, device)
        else nothing.expand(count)
        for tensor, count, stride in zip(
            tensors, places.counts, places.strides, strict=True
        )
    ]
    return torch.cat(parts).float()


def _strided(tensor: torch.Tensor, count: int, stride: int) -> torch.Tensor:
    """Every `stride`-th element in the order of the indices, a view if possible."""
    whole = tensor.detach().contiguous()
    return whole.as_strided((count,), (stride,))


def samplable(tensor: torch.Tensor, device: torch.device) -> bool:
    """Whether a tensor is dense, real, on a device and not empty."""
    return (
        (plain(tensor) or tensor.dtype == torch.float64)
        and tensor.layout is torch.strided
        and tensor.device == device
        and tensor.numel() > 0
    )


class Pairs:
    """Takes the samples of an armed update, and keeps them for the next one."""

    def __init__(self, weights: Sequence[torch.Tensor]) -> None:
        self.armed = False
        self.latest: Pair | None = None
        home = weights[0].device if weights else torch.device("cpu")
        rows = [i for i, one in enumerate(weights) if samplable(one, home)]
        self._rows = tuple(rows)
        self._weights = [weights[i] for i in rows]
        self._home = home
        self._places: Places | None = None
        self._before: torch.Tensor | None = None

    def arm(self) -> None:
        """Look at the coming update."""
        self.armed = bool(self._rows)

    def before(self) -> None:
        """Before an armed update: sample the weights."""
        if self._places is None:
            self._places = spread([w.shape for w in self._weights], self._home)
        self._before = gathered(self._weights, self._places, self._home)

    def after(self, step: int) -> None:
        """After an armed update: sample its gradients and what it changed."""
        before, places = self._before, self._places
        self.armed, self._before = False, None
        if before is None or places is None:
            return
        update = gathered(self._weights, places, self._home) - before
        grads = gathered([w.grad for w in self._weights], places, self._home)
        self.latest = Pair(step, self._rows, places, grads, update)


def consecutive(moment: Moment) -> list[Reading]:
    """Cosine of consecutive gradients, and curvature along the update between them.

    Reads `moment.seen["pair"]`, the samples of the update before. For a quadratic
    with Hessian H the curvature is d'Hd / -g'd (d the update, g its gradient): for
    plain gradient descent the learning rate times the curvature along the gradient.
    """
    pair: Pair | None = moment.seen.get("pair")
    if pair is None or pair.step != moment.step - 1:
        return []
    grads = [moment.grads[i] for i in pair.rows]
    now = gathered(grads, pair.places, pair.grads.device)
    scale = grad_scale(moment.optimizer)
    if scale is not None:
        now = now / scale.to(now.device)
    cosine, sharpness = _compared(pair, now)
    names = tuple(moment.names[i] for i in pair.rows)
    return [
        Reading(moment.step, "grad_cosine", names, cosine),
        Reading(pair.step, "directional_sharpness", RUN, sharpness),
    ]


def _compared(pair: Pair, now: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine by tensor, shape `[tensors]`, and one number for all, shape `[1]`."""
    # Sums of 65,536 products need the wide type, which Apple's GPUs do not have.
    wide = torch.float32 if now.device.type == "mps" else torch.float64
    before, after, update = (x.to(wide) for x in (pair.grads, now, pair.update))
    products = torch.stack(
        [
            before * after,
            before * before,
            after * after,
            before * update,
            after * update,
        ]
    )
    places = pair.places
    zeros = torch.zeros((5, len(places.counts)), dtype=wide, device=now.device)
    sums = zeros.index_add(1, places.owner, products)
    cosine = sums[0] / (sums[1] * sums[2]).sqrt()
    along = sums[3:] @ places.weight.to(wide)
    return cosine.float(), (1 - along[1:] / along[:1]).float()
