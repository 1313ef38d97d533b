"""A model and inputs come in; how much its outputs move with the inputs goes out.

Penalties that ask for the same output nearby: between two views of an input, in the
worst direction (virtual adversarial training, Miyato et al. 2018, arXiv:1704.03976), or
in all directions at once (the length of the Jacobian, Hoffman et al. 2019,
arXiv:1908.02729).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from surefoot.nn.regularize.errors import RegularizeError

Model = Callable[[Tensor], Tensor]
Kind = Literal["kl", "squares"]


def consistency_penalty(
    scores: Tensor, reference: Tensor, *, kind: Kind = "kl"
) -> Tensor:
    """How far scores are from those of another view, which is held fixed.

    Args:
        scores: logits of the changed view, `[N, classes]`.
        reference: logits of the view that is aimed at; no gradient flows into it.
        kind: "kl": KL(p_reference ‖ p), the mean over samples; "squares": the mean
            squared difference of probabilities, which is bounded (Laine & Aila 2017,
            arXiv:1610.02242).

    >>> same = torch.tensor([[1.0, 0.0]])
    >>> consistency_penalty(same, same).item()
    0.0

    Raises:
        RegularizeError: the shapes differ, or the kind is unknown.
    """
    if scores.shape != reference.shape or scores.dim() < 2:
        raise RegularizeError(
            f"scores of shape {tuple(scores.shape)} and {tuple(reference.shape)} came; "
            "expected the same shape [N, classes]"
        )
    if kind not in get_args(Kind):
        raise RegularizeError(f"kind={kind!r} came; expected 'kl' or 'squares'")
    fixed = reference.detach()
    if kind == "squares":
        return functional.mse_loss(scores.softmax(-1), fixed.softmax(-1))
    logs = scores.log_softmax(-1), fixed.log_softmax(-1)
    return functional.kl_div(*logs, reduction="batchmean", log_target=True)


def adversarial_direction(
    model: Model,
    inputs: Tensor,
    *,
    rounds: int = 1,
    probe: float = 1e-2,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The direction in which each sample's prediction changes most, of length 1.

    Power iteration on the curvature of the divergence in the input, through its slope
    at a small distance.

    Args:
        model: from inputs `[N, ...]` to logits `[N, classes]`; called `rounds` + 1
            times. Put batch norm layers in evaluation mode, or they see odd inputs.
        inputs: `[N, ...]`, floating point.
        rounds: of power iteration; 1 in the paper.
        probe: the small distance ξ, in the inputs' unit. The paper's 1e-6 leaves no
            digits in float32.
        generator: of the direction that is begun with.

    Raises:
        RegularizeError: inputs not of floating point, no round, or no distance.
    """
    if not inputs.is_floating_point() or rounds < 1 or not probe > 0:
        raise RegularizeError(
            f"inputs of {inputs.dtype}, rounds={rounds}, probe={probe} came; expected "
            "floating point, 1 or more, and above 0"
        )
    fixed = inputs.detach()
    with torch.no_grad():
        reference = model(fixed)
    direction = _unit(_drawn(fixed, generator))
    for _ in range(rounds):
        with torch.enable_grad():
            moved = (fixed + probe * direction).requires_grad_()
            # A sum over samples: each has a slope of its own.
            apart = consistency_penalty(model(moved), reference) * len(fixed)
            slope = torch.autograd.grad(apart, moved)[0]
        direction = _unit(slope)
    return direction


def virtual_adversarial_penalty(
    model: Model,
    inputs: Tensor,
    *,
    distance: float = 1.0,
    rounds: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """KL between the predictions at inputs and at the worst place near them.

    No labels are needed. Its gradient flows through the prediction at the moved
    inputs alone, as in the paper.

    Args:
        model: from inputs `[N, ...]` to logits `[N, classes]`.
        inputs: `[N, ...]`.
        distance: how far each sample is moved, in Euclidean length.
        rounds: of power iteration.
        generator: of the direction that is begun with.

    >>> layer = torch.nn.Linear(3, 2)
    >>> virtual_adversarial_penalty(layer, torch.ones(4, 3)).item() >= 0
    True

    Raises:
        RegularizeError: a distance that is not above 0, or as above.
    """
    if not distance > 0:
        raise RegularizeError(f"distance={distance!r} came; expected above 0")
    direction = adversarial_direction(model, inputs, rounds=rounds, generator=generator)
    with torch.no_grad():
        reference = model(inputs)
    return consistency_penalty(model(inputs.detach() + distance * direction), reference)


def jacobian_penalty(model: Model, inputs: Tensor) -> Tensor:
    """The mean over samples of ‖J‖_F², J the Jacobian of outputs in inputs, exactly.

    One backward pass for each output; differentiable. Without batch norm in training
    mode, so that sample n of the outputs depends on sample n alone.

    Args:
        model: from `[N, ...]` to `[N, ...]`.
        inputs: floating point.

    >>> layer = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(layer.weight)
    >>> jacobian_penalty(layer, torch.ones(3, 2)).item()
    2.0

    Raises:
        RegularizeError: the outputs do not depend on the inputs.
    """
    leaf, outputs = _outputs(model, inputs)
    squares = [
        _slope(one.sum(), leaf).square().sum() for one in outputs.flatten(1).unbind(1)
    ]
    return torch.stack(squares).sum() / len(inputs)


def jacobian_penalty_estimate(
    model: Model,
    inputs: Tensor,
    *,
    probes: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """An unbiased estimate of `jacobian_penalty`: the mean of ‖Jᵀv‖², v random signs.

    One backward pass for each probe, whatever the number of outputs; differentiable.

    Args:
        model: from `[N, ...]` to `[N, ...]`.
        inputs: floating point.
        probes: 1 is enough in training, where errors average out over steps.
        generator: of the signs.

    >>> layer = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(layer.weight)
    >>> jacobian_penalty_estimate(layer, torch.ones(3, 2)).item()
    2.0

    Raises:
        RegularizeError: no probe, or the outputs do not depend on the inputs.
    """
    if probes < 1:
        raise RegularizeError(f"probes={probes!r} came; expected 1 or more")
    leaf, outputs = _outputs(model, inputs)
    found = [
        _slope((outputs * _signs(outputs, generator)).sum(), leaf).square().sum()
        for _ in range(probes)
    ]
    return torch.stack(found).mean() / len(inputs)


# --- parts ----------------------------------------------------------------------


def _outputs(model: Model, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """A leaf of its own and what the model makes of it, `[N, ...]`."""
    with torch.enable_grad():
        # Inputs that come out of other layers keep their graph.
        leaf = inputs if inputs.requires_grad else inputs.detach().requires_grad_()
        outputs = model(leaf)
    if not outputs.requires_grad or len(outputs) != len(inputs):
        raise RegularizeError(
            f"outputs of shape {tuple(outputs.shape)} came for {len(inputs)} inputs; "
            "expected one for each, with a graph that leads to them"
        )
    return leaf, outputs


def _slope(value: Tensor, leaf: Tensor) -> Tensor:
    found = torch.autograd.grad(
        value, leaf, create_graph=True, materialize_grads=True, allow_unused=True
    )
    return found[0]


def _signs(like: Tensor, generator: torch.Generator | None) -> Tensor:
    drawn = torch.rand(
        like.shape, dtype=like.dtype, device=like.device, generator=generator
    )
    return torch.where(drawn < 0.5, -1.0, 1.0).to(like.dtype)


def _drawn(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(
        like.shape, dtype=like.dtype, device=like.device, generator=generator
    )


def _unit(direction: Tensor) -> Tensor:
    """Each sample of length 1; zeros stay zeros."""
    flat = direction.flatten(1)
    length = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    tiny = torch.finfo(direction.dtype).tiny
    return (flat / length.clamp(min=tiny)).reshape(direction.shape)
