"""Reinforcement learning: scale of rewards, variance of gradients, exploration."""

from surefoot.tasks.rl.bellman import (
    Contraction,
    bellman_contraction,
    bellman_update,
    potential_shaping,
)
from surefoot.tasks.rl.errors import RLError
from surefoot.tasks.rl.exploration import (
    EntropyBonus,
    EntropyFloor,
    EpsilonGreedy,
    epsilon_greedy,
    policy_entropy,
)
from surefoot.tasks.rl.policy_gradient import (
    PolicyGradientVariance,
    mean_baseline,
    optimal_baseline,
    policy_gradient,
    policy_scores,
    softmax_scores,
)
from surefoot.tasks.rl.reward_scale import RewardScaler

__all__ = [
    "Contraction",
    "EntropyBonus",
    "EntropyFloor",
    "EpsilonGreedy",
    "PolicyGradientVariance",
    "RLError",
    "RewardScaler",
    "bellman_contraction",
    "bellman_update",
    "epsilon_greedy",
    "mean_baseline",
    "optimal_baseline",
    "policy_entropy",
    "policy_gradient",
    "policy_scores",
    "potential_shaping",
    "softmax_scores",
]
