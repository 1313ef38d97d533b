"""Rewards of several environments come in, rewards of a steady scale go out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from surefoot.nn.norm.standardize import Standardize
from surefoot.tasks.rl.errors import RLError

PRIOR = 1e-4
"""The statistics begin as if so many returns of variance 1 had been seen, as those of
Stable-Baselines3 do."""


class RewardScaler(nn.Module):
    """Divides rewards by the running deviation of the discounted return.

    R ← γR + r for each environment; the deviation is that of all R seen so far;
    r' = clip(r/√(var + eps), ±clip); R ← 0 where an episode ended. No mean is taken
    off: that would change which policies are good. The rule and the defaults are those
    of `VecNormalize` in Stable-Baselines3 (Engstrom et al. 2020, arXiv:2005.12729, show
    how much it does in PPO). In evaluation mode nothing is counted.

    State: `returns` `[environments]` and the statistics, in float64; `clip` is a buffer
    that may follow a schedule.

    Args:
        environments: how many run beside each other.
        discount: γ, that of the agent; 0.99.
        clip: bound of what goes out, 10.
        eps: added to the variance, 1e-8.
        synced: count the returns of all processes, not only of this one.
        device: of the state.

    >>> scaler = RewardScaler(environments=2)
    >>> ended = torch.tensor([False, True])
    >>> scaler(torch.tensor([100.0, 300.0]), ended)
    tensor([0.9999, 2.9998])

    Raises:
        RLError: a setting makes no sense, or rewards do not fit the environments.
    """

    returns: Tensor
    clip: Tensor

    def __init__(
        self,
        environments: int,
        *,
        discount: float = 0.99,
        clip: float = 10.0,
        eps: float = 1e-8,
        synced: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if environments < 1 or not 0 <= discount <= 1 or clip <= 0:
            raise RLError(
                f"environments={environments}, discount={discount}, clip={clip} came; "
                "expected one environment or more, a discount from 0 to 1, and a "
                "positive clip"
            )
        self.environments, self.discount, self.eps = environments, discount, eps
        self.statistics = Standardize(1, synced=synced, device=device)
        self.register_buffer("clip", torch.tensor(clip, device=device))
        zeros = torch.zeros(environments, dtype=torch.float64, device=device)
        self.register_buffer("returns", zeros)
        self.reset_running_stats()

    def reset_running_stats(self) -> None:
        """Forget all returns."""
        self.returns.zero_()
        self.statistics.total.fill_(PRIOR)
        self.statistics.mean.zero_()
        self.statistics.squares.fill_(PRIOR)

    @property
    def scale(self) -> Tensor:
        """What rewards are divided by now."""
        variance = self.statistics.squares / self.statistics.total
        return (variance + self.eps).sqrt()[0]

    @torch.no_grad()
    def forward(self, rewards: Tensor, ended: Tensor) -> Tensor:
        """Scaled rewards of one step of all environments; in training mode counted.

        Args:
            rewards: `[environments]`.
            ended: `[environments]` of booleans: the episode ended with this reward.
        """
        shape = (self.environments,)
        if rewards.shape != shape or ended.shape != shape or ended.dtype != torch.bool:
            raise RLError(
                f"rewards {list(rewards.shape)} and ended {list(ended.shape)} of "
                f"{ended.dtype} came; expected [{self.environments}] of both, ended of "
                "torch.bool"
            )
        if self.training:
            self.returns.mul_(self.discount).add_(rewards)
            self.statistics.add(self.returns[:, None])
        scaled = (rewards / self.scale).clamp(-self.clip, self.clip)
        self.returns.masked_fill_(ended, 0.0)
        return scaled.to(rewards.dtype)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.environments}, discount={self.discount}, clip={self.clip:g}"
