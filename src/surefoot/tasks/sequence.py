"""True and own inputs of a sequence model come in, what it is fed goes out.

A model of sequences is trained on true inputs (teacher forcing) and used on its own.
How much it suffers from that is its exposure bias; feeding it its own outputs while it
trains, with a share that grows, is scheduled sampling (Bengio et al. 2015,
arXiv 1506.03099).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

__all__ = [
    "ExposureBias",
    "SequenceError",
    "TeacherForcing",
    "exposure_bias",
    "forcing_mask",
    "forcing_variance",
    "mixed_inputs",
    "unroll",
]

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""`step(inputs, state) -> (outputs, state)`: one step of a model, all sequences."""

Own = Callable[[Tensor], Tensor]
"""The next input that is made of an output: an argmax, a draw, or itself."""

Per = Literal["token", "sequence"]


class SequenceError(ValueError):
    """Sequences, masks or shares that do not fit together."""


# --- what the model is fed -------------------------------------------------------


def mixed_inputs(truth: Tensor, own: Tensor, forced: Tensor) -> Tensor:
    """The true input where `forced`, the model's own elsewhere; gradients flow to both.

    Args:
        truth: `[..., *features]`.
        own: the same shape.
        forced: booleans whose shape is that of the first dimensions of `truth`.

    >>> truth, own = torch.tensor([1, 2, 3]), torch.tensor([7, 8, 9])
    >>> mixed_inputs(truth, own, torch.tensor([True, False, True]))
    tensor([1, 8, 3])

    Raises:
        SequenceError: other shapes or dtypes, or a mask that is not boolean.
    """
    if truth.shape != own.shape or truth.dtype != own.dtype:
        raise SequenceError(
            f"true inputs {tuple(truth.shape)} of {truth.dtype} and own ones "
            f"{tuple(own.shape)} of {own.dtype} came; expected one shape and dtype"
        )
    if forced.dtype != torch.bool or forced.shape != truth.shape[: forced.dim()]:
        raise SequenceError(
            f"a mask {tuple(forced.shape)} of {forced.dtype} came; expected booleans "
            f"for the first dimensions of {tuple(truth.shape)}"
        )
    features = (1,) * (truth.dim() - forced.dim())
    return torch.where(forced.reshape(*forced.shape, *features), truth, own)


def forcing_mask(
    shape: Sequence[int],
    epsilon: float | Tensor,
    *,
    per: Per = "token",
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Booleans `[sequences, steps, ...]`: True, with probability ε, for a true input.

    At ε = 1 all are True and at ε = 0 none, exactly.

    Args:
        shape: of the mask, sequences first.
        epsilon: ε, a number or a tensor without dimensions.
        per: one draw for each "token", or one for each "sequence".
        generator: of the draws; torch's own stream if not given.
        device: of the mask; that of `epsilon` if it is a tensor.

    >>> forcing_mask((1, 3), 1.0)
    tensor([[True, True, True]])

    Raises:
        SequenceError: an unknown `per`, or no dimension.
    """
    if per not in ("token", "sequence") or not shape:
        raise SequenceError(
            f"per={per!r} with shape {tuple(shape)} came; expected 'token' or "
            "'sequence', and a dimension at least"
        )
    if device is None and isinstance(epsilon, Tensor):
        device = epsilon.device
    drawn = shape if per == "token" else (shape[0], *(1 for _ in shape[1:]))
    share = torch.rand(*drawn, generator=generator, device=device)
    return (share < epsilon).expand(*shape)


class TeacherForcing(nn.Module):
    """Mix true inputs and a model's own: a share ε of true ones.

    ε is a buffer without dimensions, so that a schedule may drive it while it trains:
    `after_step(optimizer, Vary(mixer, "epsilon", schedule=InverseSigmoid(k)))`. At
    ε = 1 it is plain teacher forcing, bit for bit; at ε = 0 only own outputs are fed.
    In evaluation mode they always are, as in use.

    For models that run step by step draw a `mask` for the whole batch and give it to
    `unroll`. For models that see all steps at once (a transformer) predict once on true
    inputs, shift the predictions, and feed the mixture (Mihaylova & Martins 2019,
    arXiv 1906.07651).

    Args:
        epsilon: ε at the start, 0 to 1.
        per: one draw for each "token", or one for each "sequence".

    Shape:
        truth, own: `[sequences, steps, *features]` or `[sequences, steps]`, alike; the
        output has their shape.

    >>> mixer = TeacherForcing(1.0)
    >>> mixer(torch.tensor([[1, 2]]), torch.tensor([[8, 9]]))
    tensor([[1, 2]])
    >>> mixer.eval()(torch.tensor([[1, 2]]), torch.tensor([[8, 9]]))
    tensor([[8, 9]])

    Raises:
        SequenceError: ε is not in [0, 1], or `per` is unknown.
    """

    epsilon: Tensor

    def __init__(
        self,
        epsilon: float = 1.0,
        *,
        per: Per = "token",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= epsilon <= 1 or per not in ("token", "sequence"):
            raise SequenceError(
                f"epsilon={epsilon!r} and per={per!r} came; expected a share from 0 to "
                "1, and 'token' or 'sequence'"
            )
        self.per: Per = per
        share = torch.tensor(float(epsilon), device=device, dtype=dtype)
        self.register_buffer("epsilon", share)

    def mask(
        self, sequences: int, steps: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Booleans `[sequences, steps]` for `unroll`: where to feed true inputs."""
        share = self.epsilon if self.training else torch.zeros_like(self.epsilon)
        return forcing_mask(
            (sequences, steps), share, per=self.per, generator=generator
        )

    def forward(self, truth: Tensor, own: Tensor) -> Tensor:
        """The mixture of two inputs."""
        if truth.dim() < 2:
            raise SequenceError(
                f"true inputs {tuple(truth.shape)} came; expected sequences and steps "
                "as the first two dimensions"
            )
        return mixed_inputs(truth, own, self.mask(truth.shape[0], truth.shape[1]))

    def extra_repr(self) -> str:
        """The share, and what is drawn."""
        return f"epsilon={float(self.epsilon):g}, per={self.per!r}"


def unroll(
    step: Step,
    truth: Tensor,
    *,
    state: Any = None,
    forced: Tensor | None = None,
    own: Own | None = None,
) -> Tensor:
    """Run a model over sequences, fed with true inputs or with what it put out.

    The first input is always true. With `forced` all True it does what a loop with
    teacher forcing does, operation for operation.

    Args:
        step: one step of the model, such as a cell and what reads it out.
        truth: true inputs `[sequences, steps, *features]`.
        state: the first state.
        forced: booleans `[sequences, steps]`; None for all True. Those of the first
            step are not read.
        own: makes the next input of an output; itself, with its graph, if not given.
            For tokens: `lambda logits: logits.argmax(-1)`, which passes no gradient on.

    Returns:
        The outputs `[sequences, steps, *]`: at place t what follows input t.

    >>> def double(inputs, state):
    ...     return 2 * inputs, state
    >>> free = torch.zeros(1, 4, dtype=torch.bool)
    >>> unroll(double, torch.ones(1, 4), forced=free)
    tensor([[ 2.,  4.,  8., 16.]])

    Raises:
        SequenceError: no steps, a mask of another shape, or own inputs of another shape
            or dtype than true ones.
    """
    if truth.dim() < 2 or not truth.shape[1]:
        raise SequenceError(
            f"true inputs {tuple(truth.shape)} came; expected sequences and one step "
            "or more as the first two dimensions"
        )
    if forced is not None and forced.shape != truth.shape[:2]:
        raise SequenceError(
            f"a mask {tuple(forced.shape)} came; expected {tuple(truth.shape[:2])}"
        )
    inputs = truth[:, 0]
    outputs: list[Tensor] = []
    for place in range(truth.shape[1]):
        if place:
            inputs = truth[:, place]
            if forced is not None:
                last = outputs[-1] if own is None else own(outputs[-1])
                inputs = mixed_inputs(inputs, last, forced[:, place])
        output, state = step(inputs, state)
        outputs.append(output)
    return torch.stack(outputs, dim=1)


# --- how much it matters ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExposureBias:
    """The loss on true inputs, and on a model's own.

    Attributes:
        forced: the loss with teacher forcing.
        free: the loss where all but the first input are the model's own.
    """

    forced: float
    free: float

    @property
    def gap(self) -> float:
        """How much worse the model is on its own inputs: free - forced."""
        return self.free - self.forced

    def __str__(self) -> str:
        return (
            f"loss {self.forced:.4g} on true inputs, {self.free:.4g} on its own: "
            f"exposure bias {self.gap:.4g}"
        )


def exposure_bias(
    step: Step,
    truth: Tensor,
    *,
    loss: Callable[[Tensor], Tensor],
    state: Any = None,
    own: Own | None = None,
) -> ExposureBias:
    """What a model loses when it is fed its own outputs instead of true inputs.

    No gradients, and no random numbers of its own. Put the model in evaluation mode
    first if it has dropout.

    Args:
        step: as for `unroll`.
        truth: true inputs `[sequences, steps, *features]`.
        loss: from outputs `[sequences, steps, *]` to a number.
        state: the first state; it must not be changed in place.
        own: as for `unroll`.

    >>> def double(inputs, state):
    ...     return 2 * inputs, state
    >>> found = exposure_bias(
    ...     double, torch.ones(1, 4), loss=lambda outputs: (outputs - 2).square().mean()
    ... )
    >>> found.forced, found.free
    (0.0, 59.0)

    Raises:
        SequenceError: as for `unroll`, or a loss with several elements.
    """
    free = torch.zeros(truth.shape[:2], dtype=torch.bool, device=truth.device)
    with torch.no_grad():
        found = [
            loss(unroll(step, truth, state=state, forced=mask, own=own))
            for mask in (~free, free)
        ]
    if any(one.numel() != 1 for one in found):
        raise SequenceError(
            f"a loss of shape {tuple(found[0].shape)} came; expected one number"
        )
    return ExposureBias(*(float(one) for one in found))


def forcing_variance(
    loss: Callable[[float], Tensor],
    weights: Iterable[Tensor],
    *,
    epsilons: Iterable[float],
    draws: int = 16,
) -> Mapping[float, float]:
    """The noise that drawing true and own inputs puts into the gradient, for each ε.

    The total variance of the gradient over draws at the same batch: exactly 0 at ε = 0
    and ε = 1, where nothing is drawn.

    Args:
        loss: of a fixed batch at ε, drawing anew at each call. Dropout would add noise
            of its own: switch it off.
        weights: with respect to which; `.grad` is not touched.
        epsilons: shares of true inputs.
        draws: for each ε, 2 or more.

    >>> weight = torch.ones(3, requires_grad=True)
    >>> def loss(epsilon):
    ...     return (weight * forcing_mask((3,), epsilon)).sum()
    >>> found = forcing_variance(loss, [weight], epsilons=(0.0, 1.0))
    >>> found[0.0], found[1.0]
    (0.0, 0.0)

    Raises:
        SequenceError: fewer than two draws, or a share that is not in [0, 1].
    """
    held, shares = list(weights), list(epsilons)
    if draws < 2 or not all(0 <= one <= 1 for one in shares):
        raise SequenceError(
            f"{draws} draws at {shares} came; expected two or more, and shares from 0 "
            "to 1"
        )
    return {share: _variance(loss, held, share, draws) for share in shares}


def _variance(
    loss: Callable[[float], Tensor], weights: list[Tensor], epsilon: float, draws: int
) -> float:
    """Welford's sums, so that no gradient but the mean is kept."""
    means: list[Tensor] = []
    spread = 0.0
    for count in range(1, draws + 1):
        slopes = torch.autograd.grad(loss(epsilon), weights, materialize_grads=True)
        if not means:
            means = [slope.clone() for slope in slopes]
            continue
        for mean, slope in zip(means, slopes, strict=True):
            away = slope - mean
            mean.add_(away, alpha=1 / count)
            spread += float((away * (slope - mean)).sum())
    return max(0.0, spread) / (draws - 1) if math.isfinite(spread) else math.inf
