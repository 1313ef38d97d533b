"""A critic and its inputs come in; its slope there, and penalties on it, go out.

The slope of a sample is the length of the gradient of its score with respect to its
input, over all of the input's numbers. It is the gradient of the summed scores, taken
apart by sample: a critic that mixes samples, by batch norm in training, has no slope
of a sample, and needs layer or group norm (Gulrajani et al. 2017). A compiled critic
cannot be differentiated twice; give the module that was compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from surefoot.restore.still import still
from surefoot.tasks.gan.errors import GameError
from surefoot.tasks.gan.losses import wide

Critic = Callable[[Tensor], Tensor]
"""A network, or a function of the inputs alone: bind labels with a lambda."""


def input_gradient(
    critic: Critic, inputs: Tensor, *, create_graph: bool = False
) -> Tensor:
    """The gradient of each sample's score with respect to the sample.

    Args:
        critic: from `[batch, ...]` to scores `[batch, ...]`, which are summed a sample.
        inputs: `[batch, ...]`; no gradient flows back through them.
        create_graph: so that it can be differentiated with respect to the weights.

    Returns:
        The shape of the inputs; zeros where a score does not depend on them.

    Raises:
        GameError: no samples or no floating-point numbers, scores of another number of
            samples, or a critic without a graph.

    >>> critic = nn.Linear(2, 1)
    >>> _ = critic.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> input_gradient(critic, torch.zeros(1, 2))
    tensor([[3., 4.]])
    """
    if inputs.ndim < 2 or not inputs.numel() or not inputs.is_floating_point():
        raise GameError(
            f"inputs of shape {tuple(inputs.shape)} and type {inputs.dtype} came; "
            "expected floating-point samples, [batch, ...] with at least one number"
        )
    with torch.enable_grad():
        at = inputs.detach().requires_grad_()
        scores = critic(at)
        if scores.shape[:1] != inputs.shape[:1]:
            raise GameError(
                f"scores of shape {tuple(scores.shape)} came for {len(inputs)} "
                "samples; expected one or more a sample, batch first"
            )
        if not scores.requires_grad:
            raise GameError(
                "the scores have no graph; expected a critic that does not detach "
                "them, and computes them outside torch.no_grad()"
            )
        (found,) = torch.autograd.grad(
            wide(scores).sum(), at, create_graph=create_graph, materialize_grads=True
        )
    return found


def input_slopes(
    critic: Critic, inputs: Tensor, *, create_graph: bool = False
) -> Tensor:
    """‖∇ₓ D‖ of each sample, `[batch]`, in float32 at least; as `input_gradient`.

    >>> critic = nn.Linear(2, 1)
    >>> _ = critic.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> input_slopes(critic, torch.zeros(2, 2))
    tensor([5., 5.])
    """
    found = input_gradient(critic, inputs, create_graph=create_graph)
    return torch.linalg.vector_norm(wide(found).flatten(1), dim=1)


# --- penalties ------------------------------------------------------------------


def gradient_penalty(
    critic: Critic,
    real: Tensor,
    fake: Tensor,
    *,
    weight: float | Tensor = 10.0,
    target: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """λ E (‖∇ₓ D‖ − 1)² between real and made samples (Gulrajani et al. 2017).

    The points are u·real + (1 − u)·fake, with one u from [0, 1) for each pair.

    Args:
        critic: from `[batch, ...]` to scores, batch first.
        real: real samples `[batch, ...]`.
        fake: made ones of the same shape; the generator gets no gradient.
        weight: λ, 10 in the paper.
        target: the slope that is asked for; 0 pulls it to nothing.
        generator: of u; torch's own stream if none is given.

    Raises:
        GameError: as `input_gradient`, or real and made samples of different shapes.

    >>> critic = nn.Linear(1, 1)
    >>> _ = critic.weight.data.fill_(3.0)
    >>> gradient_penalty(critic, torch.zeros(2, 1), torch.ones(2, 1))
    tensor(40., grad_fn=<MulBackward0>)
    """
    if real.shape != fake.shape:
        raise GameError(
            f"real samples {tuple(real.shape)} and made ones {tuple(fake.shape)} came; "
            "expected one shape, as points between pairs are taken"
        )
    shape = (len(real), *[1] * (real.ndim - 1))
    share = torch.rand(shape, device=real.device, dtype=real.dtype, generator=generator)
    between = torch.lerp(fake.detach(), real.detach(), share)
    slopes = input_slopes(critic, between, create_graph=True)
    return weight * (slopes - target).square().mean()


def r1_penalty(critic: Critic, real: Tensor, *, gamma: float | Tensor = 10.0) -> Tensor:
    """γ/2 E ‖∇ₓ D‖² at real samples (Mescheder et al. 2018).

    Args:
        critic: from `[batch, ...]` to scores, batch first.
        real: real samples `[batch, ...]`.
        gamma: γ, 10 in the paper's image experiments. Where it is added at each k-th
            update only, k·γ.

    Raises:
        GameError: as `input_gradient`.

    >>> critic = nn.Linear(1, 1)
    >>> _ = critic.weight.data.fill_(3.0)
    >>> r1_penalty(critic, torch.zeros(2, 1))
    tensor(45., grad_fn=<MulBackward0>)
    """
    found = input_gradient(critic, real, create_graph=True)
    return gamma / 2 * wide(found).square().flatten(1).sum(1).mean()


def r2_penalty(critic: Critic, fake: Tensor, *, gamma: float | Tensor = 10.0) -> Tensor:
    """γ/2 E ‖∇ₓ D‖² at made samples (Mescheder et al. 2018); as `r1_penalty`."""
    return r1_penalty(critic, fake, gamma=gamma)


# --- a probe --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Smoothness:
    """Mean slope of a discriminator at real and at made samples, with standard errors.

    What the generator is given is the slope at made samples: a remedy that lowers the
    other one alone has not made its gradient smoother.
    """

    real: float
    fake: float
    real_error: float
    fake_error: float

    def __str__(self) -> str:
        """Both, with their errors."""
        return (
            f"mean slope {self.real:.3g} ± {self.real_error:.1g} at real samples, "
            f"{self.fake:.3g} ± {self.fake_error:.1g} at made ones"
        )


def discriminator_smoothness(critic: Critic, real: Tensor, fake: Tensor) -> Smoothness:
    """E ‖∇ₓ D‖ at real and at made samples: measure it before and after a remedy.

    Nothing of the passes remains in a critic that is a module: buffers, modes and
    random streams are put back, and weights and their `.grad` are not touched.

    Raises:
        GameError: as `input_gradient`.

    >>> critic = nn.Linear(2, 1)
    >>> _ = critic.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> print(discriminator_smoothness(critic, torch.zeros(4, 2), torch.ones(4, 2)))
    mean slope 5 ± 0 at real samples, 5 ± 0 at made ones
    """
    found = list[Tensor]()
    for samples in (real, fake):
        with still(critic) if isinstance(critic, nn.Module) else nullcontext():
            slopes = input_slopes(critic, samples)
        error = slopes.std(correction=0) / max(1, len(slopes) - 1) ** 0.5
        found += [slopes.mean(), error]
    mean, error, other, other_error = torch.stack(found).tolist()
    return Smoothness(mean, other, error, other_error)
