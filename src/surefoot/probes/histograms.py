"""Histograms of gradients: gradients of one step come in, a Field on the host goes out.

Bins are half a power of two wide and counted on the device, from samples of at most
4,096 elements a tensor. Nothing is copied to the host before the next flush.
"""

from __future__ import annotations

import time

import torch

from surefoot.gradients.norms import grad_scale
from surefoot.probes.pairs import Places, gathered, samplable, spread
from surefoot.probes.rhythm import Doubling
from surefoot.probes.streams import Watched
from surefoot.types import Field

KIND = "grad_histogram"

LOWEST, PER_OCTAVE = -32, 2
BINS = -LOWEST * PER_OCTAVE
"""From 2**-32, where Adam's usual epsilon of 1e-8 has long swallowed a gradient, to 1,
where none but an exploding one is."""

EDGES: tuple[float | str, ...] = (
    "zero",
    *(LOWEST + nth / PER_OCTAVE for nth in range(BINS)),
    0.0,
)
"""Where bins begin, log2 of |gradient|. The first holds exact zeros only, the second
all that is smaller than its end, the last all from 1 on and what is no number."""


class Histograms:
    """Histograms of the gradients of one stream, taken more and more rarely."""

    def __init__(self, watched: Watched, rhythm: Doubling) -> None:
        weights = watched.weights
        home = weights[0].device if weights else torch.device("cpu")
        rows = [i for i, one in enumerate(weights) if samplable(one, home)]
        self.rhythm = rhythm
        self._stream, self._home = watched.name, home
        self._names = tuple(watched.names[i] for i in rows)
        self._weights = [weights[i] for i in rows]
        self._places: Places | None = None
        self._waiting: list[tuple[int, torch.Tensor]] = []

    def see(
        self, step: int, optimizer: torch.optim.Optimizer, *, step_seconds: float
    ) -> None:
        """Before an update: take the histograms, if it is time to."""
        if not self._weights or not self.rhythm.due(step):
            return
        start = time.thread_time()
        if self._places is None:
            self._places = spread([one.shape for one in self._weights], self._home)
        grads = [one.grad for one in self._weights]
        sample = gathered(grads, self._places, self._home)
        scale = grad_scale(optimizer)
        if scale is not None:
            sample = sample / scale.to(sample.device)
        shares = histograms(sample, self._places.owner, len(grads))
        missing = [at for at, grad in enumerate(grads) if grad is None]
        if missing:
            shares[missing] = torch.nan
        self._waiting.append((step, shares))
        self.rhythm.spent(time.thread_time() - start, step_seconds)

    def drain(self) -> list[Field]:
        """The histograms that wait, on the host."""
        waiting, self._waiting = self._waiting, []
        axes = {"layer": self._names, "bin": EDGES}
        return [
            Field(step, KIND, axes, shares.cpu().numpy(), self._stream)
            for step, shares in waiting
        ]


def histograms(sample: torch.Tensor, owner: torch.Tensor, tensors: int) -> torch.Tensor:
    """Shares of each tensor's sampled elements in each bin, shape `[tensors, 66]`.

    Args:
        sample: Elements of all tensors, shape `[n]`, float32.
        owner: The tensor of each element, shape `[n]`.
        tensors: How many tensors there are.

    >>> found = histograms(torch.tensor([0.0, 0.5, -3.0]), torch.tensor([0, 0, 1]), 2)
    >>> [EDGES[place] for place in found[0].nonzero().flatten().tolist()]
    ['zero', -1.0]
    >>> found[1, -1].item()
    1.0
    """
    size = torch.nan_to_num(sample.abs(), nan=torch.inf, posinf=torch.inf)
    octave = torch.floor(torch.log2(size) * PER_OCTAVE) + (BINS + 1)
    bins = torch.clamp(octave, 1, BINS + 1) * (size != 0)
    place = bins.long() + owner * len(EDGES)
    counts = torch.zeros(tensors * len(EDGES), device=sample.device)
    counts = counts.scatter_add(0, place, torch.ones_like(size)).view(tensors, -1)
    return counts / counts.sum(1, keepdim=True)
