"""Scores and what they came from come in, distances to the decision boundary go out.

For linear scores the distance is exact. For deep nets it is that of the linearised
scores, in the input or at any layer (Elsayed et al. 2018, arXiv:1803.05598). Torch has
margins in scores, not in distances: `MultiMarginLoss`, `HingeEmbeddingLoss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from surefoot.nn.regularize.errors import RegularizeError

Norm = Literal["l1", "l2", "linf"]

_DUAL: tuple[tuple[Norm, float], ...] = (("l1", torch.inf), ("l2", 2.0), ("linf", 1.0))
"""The norm of a slope that goes with the norm a distance is measured in."""


def flip_distance(gap: Tensor, slope: Tensor, *, norm: Norm = "l2") -> Tensor:
    """How far to go until a gap of scores is closed: gap/‖slope‖ in the dual norm.

    Args:
        gap: how far a score leads, `[...]`; negative where it does not lead.
        slope: how the gap grows with what is moved, `[..., d]`.
        norm: in which the distance is measured.

    Returns:
        The distance `[...]`, with the gap's sign; infinite where the slope is 0.

    Raises:
        RegularizeError: the norm is unknown.

    >>> flip_distance(torch.tensor(2.0), torch.tensor([3.0, 4.0]))
    tensor(0.4000)
    """
    known = dict(_DUAL)
    if norm not in known:
        raise RegularizeError(
            f"norm={norm!r} came; expected one of {', '.join(get_args(Norm))}"
        )
    length = torch.linalg.vector_norm(slope, known[norm], dim=-1)
    away = torch.where(gap < 0, -torch.inf, torch.inf).to(gap.dtype)
    # The divisor is made safe first, so that no NaN enters a gradient.
    safe = torch.where(length > 0, length, torch.ones_like(length))
    return torch.where(length > 0, gap / safe, away)


def linear_margin(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    targets: Tensor | None = None,
    norm: Norm = "l2",
) -> Tensor:
    """Distance of inputs from the boundary of a linear classifier, exactly.

    Args:
        inputs: `[N, d]`.
        weight: `[d]` of two classes told apart by the sign, or `[classes, d]`.
        bias: a number `[]` or `[classes]`; None is 0.
        targets: of two classes ±1, else indices `[N]`: the distance is then negative
            where the classifier is wrong. Without them it is the distance to the
            nearest other decision: abs(w·x + b)/‖w‖ of two classes.
        norm: of the distance.

    Returns:
        `[N]`.

    >>> w, b = torch.tensor([3.0, 4.0]), torch.tensor(-5.0)
    >>> linear_margin(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), w, b)
    tensor([4., 1.])

    Raises:
        RegularizeError: shapes that do not fit.
    """
    if inputs.dim() != 2 or weight.dim() > 2 or inputs.shape[1] != weight.shape[-1]:
        raise RegularizeError(
            f"inputs of shape {tuple(inputs.shape)} and weight of "
            f"{tuple(weight.shape)} came; expected [N, d] and [d] or [classes, d]"
        )
    return score_margin(
        linear_scores(inputs, weight, bias), weight, targets=targets, norm=norm
    )


def linear_scores(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Wx + b: `[N]` of a weight `[d]`, `[N, classes]` of one of `[classes, d]`."""
    scores = inputs @ (weight.mT if weight.dim() == 2 else weight)
    return scores if bias is None else scores + bias


def score_margin(
    scores: Tensor,
    weight: Tensor,
    *,
    targets: Tensor | None = None,
    norm: Norm = "l2",
) -> Tensor:
    """Distance to another decision, when what `weight` multiplies is all that moves.

    Args:
        scores: `[N]` or `[N, classes]`, of all that they are made of.
        weight: `[d]` or `[classes, d]`, by which what moves enters the scores.
        targets: see `linear_margin`.
        norm: of the distance.

    Returns:
        `[N]`; infinite where no move changes the decision.

    >>> score_margin(torch.tensor([2.0]), torch.tensor([3.0, 4.0]))
    tensor([0.4000])
    """
    if weight.dim() == 1:
        signed = scores.abs() if targets is None else scores * targets
        slopes = weight.expand(len(scores), -1)
        return flip_distance(signed, slopes, norm=norm)
    chosen = scores.argmax(-1) if targets is None else targets
    gaps = scores.gather(1, chosen[:, None]) - scores
    slopes = weight[chosen][:, None] - weight
    distances = flip_distance(gaps, slopes, norm=norm)
    own = functional.one_hot(chosen, len(weight)).bool()
    return distances.masked_fill(own, torch.inf).amin(-1)


def large_margin_loss(
    scores: Tensor,
    targets: Tensor,
    layers: Sequence[Tensor],
    *,
    margin: float = 1.0,
    competitors: int = 1,
    norm: Norm = "l2",
) -> Tensor:
    """Mean of max(0, γ - d), d the linearised distance to the boundary at a layer.

    d = (f_y - f_i)/‖∇_h f_y - ∇_h f_i‖ for the `competitors` i ≠ y of highest score;
    the worst of them counts, and layers are summed. As in the paper the divisor is
    held fixed in the backward pass, which then needs no second derivative.

    Args:
        scores: `[N, classes]`, computed from each of the layers.
        targets: `[N]`.
        layers: inputs or activations `[N, ...]` that the scores depend on; sample n
            of the scores on sample n only, so that no batch norm stands between.
        margin: γ, in the unit of the layers.
        competitors: how many other classes are looked at.
        norm: of the distance.

    Raises:
        RegularizeError: no layer, or one without a graph to the scores; or fewer
            classes than competitors and one more.

    >>> x = torch.tensor([[1.0, 0.0]], requires_grad=True)
    >>> scores = x @ torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    >>> large_margin_loss(scores, torch.tensor([0]), [x], margin=1.5).item()
    0.5
    """
    if not 1 <= competitors < scores.shape[-1] or not layers:
        raise RegularizeError(
            f"{len(layers)} layers, {competitors} competitors and {scores.shape[-1]} "
            "classes came; expected a layer, a competitor and a class more"
        )
    if not scores.requires_grad or not all(one.requires_grad for one in layers):
        raise RegularizeError(
            "scores or a layer without a graph came; expected both from one forward "
            "pass with gradients; call requires_grad_() on inputs"
        )
    own = targets[:, None]
    leading = scores.detach().scatter(1, own, -torch.inf)
    rivals = leading.topk(competitors, dim=1).indices
    gaps = scores.gather(1, own) - scores.gather(1, rivals)
    losses = [
        functional.relu(margin - _distances(gaps, layer, norm=norm)).amax(1).mean()
        for layer in layers
    ]
    return torch.stack(losses).sum()


def _distances(gaps: Tensor, layer: Tensor, *, norm: Norm) -> Tensor:
    """Gaps `[N, k]` over the fixed lengths of their slopes at a layer."""
    slopes = [
        torch.autograd.grad(gap.sum(), layer, retain_graph=True, allow_unused=True)[0]
        for gap in gaps.unbind(1)
    ]
    if any(one is None for one in slopes):  # pyright: ignore[reportUnnecessaryComparison]
        raise RegularizeError(
            "the scores do not depend on a layer; expected activations of the forward "
            "pass that gave the scores"
        )
    flat = torch.stack([one.flatten(1) for one in slopes], dim=1).detach()
    return flip_distance(gaps, flat, norm=norm)
