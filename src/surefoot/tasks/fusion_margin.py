"""A fused classifier and inputs come in; the smallest change of one that flips it.

For a linear fusion the distance is exact, and so a certificate. For a net a search
finds a change that flips it; a smaller one may exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from surefoot.nn.regularize.margin import (
    Norm,
    flip_distance,
    linear_scores,
    score_margin,
)
from surefoot.restore.still import still
from surefoot.tasks.multimodal import Inputs, ModalityError

Scores = Callable[[Tensor], Tensor]

OVERSHOOT = 0.02
"""Beyond the linearised boundary, as in Moosavi-Dezfooli et al. 2016
(arXiv:1511.04599); it is taken back by halving."""


def fusion_certificate(
    weights: Mapping[str, Tensor],
    inputs: Inputs,
    *,
    bias: Tensor | None = None,
    norm: Norm = "l2",
) -> dict[str, Tensor]:
    """How far each modality alone must move to flip a linear fusion, exactly.

    Scores are Σ_m W_m x_m + b. The modality with the smallest distance is the fragile
    one; no smaller change of it flips the decision.

    Args:
        weights: of each modality, `[d]` of two classes told apart by the sign, or
            `[classes, d]`.
        inputs: `[N, d]` each.
        bias: a number or `[classes]`.
        norm: in which a change is measured.

    Returns:
        Distances `[N]` by modality; infinite where a modality decides nothing.

    >>> one = torch.tensor([[0.5]])
    >>> weights = {"vision": torch.tensor([1.0]), "text": torch.tensor([3.0])}
    >>> fusion_certificate(weights, {"vision": one, "text": one})
    {'vision': tensor([2.]), 'text': tensor([0.6667])}

    Raises:
        ModalityError: other modalities in one than in the other, or shapes that do
            not fit.
    """
    _check(weights, inputs)
    scores = torch.stack([linear_scores(inputs[m], w) for m, w in weights.items()])
    whole = scores.sum(0) if bias is None else scores.sum(0) + bias
    return {m: score_margin(whole, own, norm=norm) for m, own in weights.items()}


@dataclass(frozen=True, slots=True)
class Flip:
    """What a search found: an upper bound of the smallest change that flips.

    distance: Euclidean, `[N]`; infinite where nothing was found.
    moved: the modality just beyond the flip, or where the search ended.
    """

    distance: Tensor
    moved: Tensor


def smallest_flip(
    model: nn.Module,
    inputs: Inputs,
    modality: str,
    *,
    rounds: int = 20,
    rivals: int = 4,
    halvings: int = 20,
) -> Flip:
    """Search for the smallest change of one modality that changes the model's answer.

    Steps to the nearest linearised boundary until the answer changes, then halves the
    way back. What is found flips the model; a smaller change that does so may exist,
    so that the distance is an upper bound and no certificate. The model runs in
    evaluation mode and is as before afterwards.

    Args:
        model: from named inputs to logits `[N, classes]`.
        inputs: of the samples.
        modality: which of them is moved; floating point.
        rounds: steps at most.
        rivals: how many other classes are looked at in each step.
        halvings: of the way back; the distance is within a millionth for 20.

    Raises:
        ModalityError: there is no such modality, or it is not of floating point.
    """
    if modality not in inputs or not inputs[modality].is_floating_point():
        raise ModalityError(
            f"{modality!r} came; expected one of {list(inputs)} of floating point"
        )
    begin = inputs[modality].detach()

    def scores_at(place: Tensor) -> Tensor:
        return model({**inputs, modality: place})

    with still(model, training=False):
        first = scores_at(begin).detach().argmax(-1)
        end = begin
        for _ in range(rounds):
            end, searching = _towards(scores_at, end, first, rivals=rivals)
            if not searching:
                break
        with torch.no_grad():
            return _back(scores_at, begin, end, first=first, halvings=halvings)


# --- parts ----------------------------------------------------------------------


def _towards(
    scores_at: Scores, place: Tensor, first: Tensor, *, rivals: int
) -> tuple[Tensor, bool]:
    """A step to the nearest linearised boundary, and whether any was needed."""
    leaf = place.detach().requires_grad_()
    scores = scores_at(leaf)
    own = first[:, None]
    rival = scores.detach().scatter(1, own, -torch.inf)
    others = rival.topk(min(rivals, scores.shape[1] - 1), dim=1).indices
    gaps = scores.gather(1, own) - scores.gather(1, others)
    found = [torch.autograd.grad(g.sum(), leaf, retain_graph=True) for g in gaps.mT]
    slopes = torch.stack([slope for (slope,) in found], dim=1).flatten(2)
    held = gaps.detach()
    nearest = flip_distance(held, slopes).argmin(1)
    rows = torch.arange(len(held), device=held.device)
    slope = slopes[rows, nearest]
    tiny = torch.finfo(slope.dtype).tiny
    length = slope.square().sum(1, keepdim=True).clamp(min=tiny)
    far = (1 + OVERSHOOT) * held[rows, nearest, None] / length
    flipped = scores.detach().argmax(-1) != first
    moved = (place.flatten(1) - far * slope).reshape(place.shape)
    known = moved.flatten(1).isfinite().all(1) & ~flipped
    return torch.where(_beside(known, place), moved, place), not bool(flipped.all())


def _back(
    scores_at: Scores, begin: Tensor, end: Tensor, *, first: Tensor, halvings: int
) -> Flip:
    """The nearest flip on the straight way, by halving."""
    found = scores_at(end).argmax(-1) != first
    low, high = (
        torch.zeros_like(first).to(begin.dtype),
        torch.ones_like(first).to(begin),
    )
    for _ in range(halvings):
        middle = (low + high) / 2
        place = begin + _beside(middle, begin) * (end - begin)
        flips = scores_at(place).argmax(-1) != first
        low, high = torch.where(flips, low, middle), torch.where(flips, middle, high)
    moved = begin + _beside(high, begin) * (end - begin)
    far = (moved - begin).flatten(1).norm(dim=1)
    return Flip(torch.where(found, far, torch.inf), moved)


def _beside(values: Tensor, like: Tensor) -> Tensor:
    """One value a sample, to be broadcast over the sample."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def _check(weights: Mapping[str, Tensor], inputs: Inputs) -> None:
    shapes = {name: tuple(one.shape) for name, one in weights.items()}
    given = {name: tuple(one.shape) for name, one in inputs.items()}
    fits = weights.keys() == inputs.keys() and all(
        inputs[m].dim() == 2 and inputs[m].shape[1] == w.shape[-1]
        for m, w in weights.items()
    )
    if not fits or len({w.shape[:-1] for w in weights.values()}) != 1:
        raise ModalityError(
            f"weights {shapes} and inputs {given} came; expected the same modalities, "
            "[d] or [classes, d], and [N, d]"
        )
