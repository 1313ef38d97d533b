"""Scores of real and made samples come in, the losses of both players go out.

A critic's score is any number; a discriminator's is a logit, and D = σ(logit) the
probability that a sample is real. Scores have the batch first; whatever follows, such
as the patches of a PatchGAN, is averaged too. Half precision is averaged in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from surefoot.tasks.gan.errors import GameError


def wasserstein_critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E D(fake) − E D(real), which the critic minimises (Arjovsky et al. 2017).

    Its negative estimates the Wasserstein-1 distance, times the critic's Lipschitz
    constant, which must be held: `ClipWeights` or `gradient_penalty`.

    Args:
        real: the critic's scores of real samples, `[batch, ...]`.
        fake: its scores of made samples, `[batch, ...]`, detached from the generator.

    Raises:
        GameError: no scores, or scores that are no floating-point numbers.

    >>> wasserstein_critic_loss(torch.tensor([3.0, 1.0]), torch.tensor([0.0, 1.0]))
    tensor(-1.5000)
    """
    return _checked(fake).mean() - _checked(real).mean()


def wasserstein_generator_loss(fake: Tensor) -> Tensor:
    """−E D(fake), which the generator minimises (Arjovsky et al. 2017).

    >>> wasserstein_generator_loss(torch.tensor([0.0, 1.0]))
    tensor(-0.5000)
    """
    return -_checked(fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """−E log D(real) − E log(1 − D(fake)) of logits (Goodfellow et al. 2014).

    >>> discriminator_loss(torch.zeros(2), torch.zeros(2))
    tensor(1.3863)
    """
    return F.softplus(-_checked(real)).mean() + F.softplus(_checked(fake)).mean()


def minimax_generator_loss(fake: Tensor) -> Tensor:
    """E log(1 − D(fake)) of logits: its slope is D(fake), and vanishes with it.

    >>> logit = torch.tensor([-5.0], requires_grad=True)
    >>> minimax_generator_loss(logit).backward()
    >>> logit.grad
    tensor([-0.0067])
    """
    return -F.softplus(_checked(fake)).mean()


def non_saturating_generator_loss(fake: Tensor) -> Tensor:
    """−E log D(fake) of logits: its slope is 1 − D(fake) (Goodfellow et al. 2014).

    >>> logit = torch.tensor([-5.0], requires_grad=True)
    >>> non_saturating_generator_loss(logit).backward()
    >>> logit.grad
    tensor([-0.9933])
    """
    return F.softplus(-_checked(fake)).mean()


FLOOR = 0.01
"""A minimax generator below this slope learns a fiftieth of what it does at D = 1/2.
By theorem 2.4 of Arjovsky and Bottou 2017 (arXiv 1701.04862) its gradient is bounded by
D(fake) / (1 − D(fake)) times the generator's own slope, for a discriminator near the
perfect one. In tests/tasks/test_gan.py a fair game stays above 0.1."""


@dataclass(frozen=True, slots=True)
class GeneratorSignal:
    """How much of the discriminator's direction reaches the generator, mean a sample.

    `minimax` is D(fake), `non_saturating` is 1 − D(fake): the slopes of both losses in
    the logit. `floor` is what the first is held against.
    """

    minimax: float
    non_saturating: float
    floor: float

    @property
    def too_strong(self) -> bool:
        """Whether a minimax generator gets no direction from this discriminator."""
        return self.minimax < self.floor

    def __str__(self) -> str:
        """Both slopes, and what they mean."""
        slopes = (
            f"the generator gets {self.minimax:.2g} of a unit slope (minimax), "
            f"{self.non_saturating:.2g} (non-saturating)"
        )
        if not self.too_strong:
            return slopes
        return (
            f"{slopes}: the discriminator is too strong for the minimax loss; use the "
            "non-saturating one, or weaken the discriminator: a lower rate, "
            "r1_penalty, noise on its inputs"
        )


def generator_signal(fake: Tensor, *, floor: float = FLOOR) -> GeneratorSignal:
    """Whether the discriminator is too strong for the generator to learn from it.

    The minimax loss log(1 − D) has the slope −D in the logit, which is nothing where
    the discriminator is sure: 0.5, 0.0067 and 4.5e-5 at logits of 0, −5 and −10.

    Args:
        fake: logits of made samples, `[batch, ...]`; not the scores of a Wasserstein
            critic, whose slope is always 1.
        floor: the mean slope below which it is too strong.

    Raises:
        GameError: no logits, or logits that are no floating-point numbers.

    >>> generator_signal(torch.tensor([-10.0])).too_strong
    True
    """
    logits = _checked(fake.detach())
    shares = torch.stack([logits.sigmoid().mean(), (-logits).sigmoid().mean()])
    minimax, other = shares.tolist()
    return GeneratorSignal(minimax, other, floor)


def wide(values: Tensor) -> Tensor:
    """Half precision as float32; the rest as it is."""
    return values.float() if values.dtype in (torch.half, torch.bfloat16) else values


def _checked(scores: Tensor) -> Tensor:
    if not scores.numel() or not scores.is_floating_point():
        raise GameError(
            f"scores of shape {tuple(scores.shape)} and type {scores.dtype} came; "
            "expected at least one floating-point number"
        )
    return wide(scores)
