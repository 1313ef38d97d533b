"""Games between two networks: losses, turns, penalties, attacks, stability."""

from surefoot.tasks.gan.attack import Attack, robust_inputs
from surefoot.tasks.gan.clip import ClipWeights, clip_weights_
from surefoot.tasks.gan.errors import GameError
from surefoot.tasks.gan.losses import (
    GeneratorSignal,
    discriminator_loss,
    generator_signal,
    minimax_generator_loss,
    non_saturating_generator_loss,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from surefoot.tasks.gan.slopes import (
    Smoothness,
    discriminator_smoothness,
    gradient_penalty,
    input_gradient,
    input_slopes,
    r1_penalty,
    r2_penalty,
)
from surefoot.tasks.gan.stability import GameStability, game_jacobian, game_stability
from surefoot.tasks.gan.turns import CriticSteps, two_rates

__all__ = [
    "Attack",
    "ClipWeights",
    "CriticSteps",
    "GameError",
    "GameStability",
    "GeneratorSignal",
    "Smoothness",
    "clip_weights_",
    "discriminator_loss",
    "discriminator_smoothness",
    "game_jacobian",
    "game_stability",
    "generator_signal",
    "gradient_penalty",
    "input_gradient",
    "input_slopes",
    "minimax_generator_loss",
    "non_saturating_generator_loss",
    "r1_penalty",
    "r2_penalty",
    "robust_inputs",
    "two_rates",
    "wasserstein_critic_loss",
    "wasserstein_generator_loss",
]
