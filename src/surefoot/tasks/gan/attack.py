"""A critic and samples come in; the nearby samples that mislead it most go out.

A discriminator that is trained on such samples is robust to small changes of them
(Liu and Hsieh 2019, arXiv 1807.10454; Zhong et al. 2020, arXiv 2003.07849). Whether
its slope is smaller is to be measured: `discriminator_smoothness`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from surefoot.tasks.gan.errors import GameError
from surefoot.tasks.gan.slopes import Critic, input_gradient

REACH = 2.5
"""Steps together are so many times as long as the ball is wide, so that they can reach
its border and walk along it (the code of Madry et al. 2018)."""


@dataclass(frozen=True, slots=True)
class Attack:
    """The change of each sample, at most ε long, that moves its score the most.

    One step is FGSM (Goodfellow et al. 2015): ε·sign(∇) in ℓ∞, ε·∇/‖∇‖ in ℓ2, which
    is the worst case for a linear critic. More are PGD (Madry et al. 2018): after each
    step the sample is put back into the ball of radius ε, and between `bounds`.

    Args:
        epsilon: the length, in units of the inputs.
        norm: `math.inf` or 2; of ℓ2, over all numbers of a sample.
        steps: 1 is FGSM.
        step_size: ε for one step, 2.5 ε / steps for more if not given.
        bounds: smallest and largest number that an input may have.
        random_start: begin somewhere in the ball, drawn from torch's own stream.

    Raises:
        GameError: a length, norm, number of steps or bounds that cannot be.

    >>> critic = torch.nn.Linear(2, 1)
    >>> _ = critic.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> Attack(0.1, norm=2)(critic, torch.zeros(1, 2), raising=True)
    tensor([[0.0600, 0.0800]])
    """

    epsilon: float
    norm: float = math.inf
    steps: int = 1
    step_size: float | None = None
    bounds: tuple[float, float] | None = None
    random_start: bool = False

    def __post_init__(self) -> None:
        told = (
            (self.epsilon >= 0 and math.isfinite(self.epsilon), "epsilon", "0 or more"),
            (self.norm in (2, math.inf), "norm", "2 or math.inf"),
            (self.steps >= 1, "steps", "1 or more"),
            (self.step_size is None or self.step_size > 0, "step_size", "above 0"),
            (self.bounds is None or self.bounds[0] < self.bounds[1], "bounds", "two "
             "numbers, the smaller first"),
        )  # fmt: skip
        for fine, name, expected in told:
            if not fine:
                raise GameError(
                    f"{name}={getattr(self, name)!r} came; expected {expected}"
                )

    def __call__(self, critic: Critic, inputs: Tensor, *, raising: bool) -> Tensor:
        """Samples near the inputs whose scores are higher, or lower if not `raising`.

        The critic runs as it is, in training mode with its dropout and batch
        statistics; its weights get no gradient. The result is detached.

        Raises:
            GameError: as `input_gradient`.
        """
        first = inputs.detach()
        size = self.step_size or (
            self.epsilon if self.steps == 1 else REACH * self.epsilon / self.steps
        )
        size = size if raising else -size
        at = first + self._drawn(first) if self.random_start else first
        for _ in range(self.steps):
            moved = at + size * self._direction(input_gradient(critic, at))
            at = self._inside(first + self._in_ball(moved - first))
        return at

    def _direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign() if self.norm == math.inf else _unit(gradient)

    def _in_ball(self, change: Tensor) -> Tensor:
        if self.norm == math.inf:
            return change.clamp(-self.epsilon, self.epsilon)
        return change * (self.epsilon / _length(change)).clamp(max=1)

    def _inside(self, samples: Tensor) -> Tensor:
        return samples if self.bounds is None else samples.clamp(*self.bounds)

    def _drawn(self, like: Tensor) -> Tensor:
        if self.norm == math.inf:
            return self.epsilon * (2 * torch.rand_like(like) - 1)
        share = torch.rand(len(like), *[1] * (like.ndim - 1)).to(like)
        radius = share ** (1 / like[0].numel())  # even over the ball
        return self.epsilon * radius * _unit(torch.randn_like(like))


def robust_inputs(
    critic: Critic,
    real: Tensor,
    fake: Tensor,
    *,
    attack: Callable[..., Tensor],
    on: Literal["real", "fake", "both"] = "both",
) -> tuple[Tensor, Tensor]:
    """Samples for a robust discriminator's update: real ones lowered, made ones raised.

    Args:
        critic: the discriminator.
        real: real samples `[batch, ...]`.
        fake: made ones `[batch, ...]`.
        attack: an `Attack`.
        on: which of them to change; of the others the discriminator sees what came.

    Returns:
        Both, detached.

    Raises:
        GameError: `on` is none of these; else as `input_gradient`.

    >>> critic = torch.nn.Linear(1, 1)
    >>> _ = critic.weight.data.fill_(3.0)
    >>> pair = torch.zeros(1, 1), torch.ones(1, 1)
    >>> robust_inputs(critic, *pair, attack=Attack(0.1))
    (tensor([[-0.1000]]), tensor([[1.1000]]))
    """
    if on not in ("real", "fake", "both"):
        raise GameError(f"on={on!r} came; expected 'real', 'fake' or 'both'")
    real = real.detach() if on == "fake" else attack(critic, real, raising=False)
    fake = fake.detach() if on == "real" else attack(critic, fake, raising=True)
    return real, fake


def _length(values: Tensor) -> Tensor:
    """Of each sample, and not zero, so that one can divide by it."""
    found = torch.linalg.vector_norm(values.flatten(1), dim=1)
    tiny = torch.finfo(values.dtype).tiny
    return found.clamp(min=tiny).view(-1, *[1] * (values.ndim - 1))


def _unit(values: Tensor) -> Tensor:
    return values / _length(values)
