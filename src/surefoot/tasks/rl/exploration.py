"""Values or logits come in; actions that explore, entropies and an alarm go out.

How much is explored is a buffer of a module, which `surefoot.schedules.Vary` lets
follow any schedule.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.schedules.scheduled import Scheduled, value_at
from surefoot.tasks.rl.errors import RLError

LOG = logging.getLogger("surefoot.rl")


def policy_entropy(logits: Tensor) -> Tensor:
    """-Σ p ln p over the last dimension, in nats; `[...]`.

    Actions that are ruled out by a logit of -inf add nothing.

    >>> policy_entropy(torch.zeros(4))
    tensor(1.3863)
    """
    return torch.special.entr(logits.softmax(-1)).sum(-1)


def epsilon_greedy(
    values: Tensor, epsilon: float | Tensor, *, generator: torch.Generator | None = None
) -> Tensor:
    """The best action, or with probability ε any of them; `[...]` of integers.

    Args:
        values: `[..., actions]`.
        epsilon: 0 to 1.
        generator: of the draws; torch's own if not given.

    >>> epsilon_greedy(torch.tensor([[0.0, 2.0, 1.0]]), 0.0)
    tensor([1])
    """
    best = values.argmax(-1)
    shape, device = best.shape, values.device
    explores = torch.rand(shape, generator=generator, device=device) < epsilon
    any_one = torch.randint(values.shape[-1], shape, generator=generator, device=device)
    return torch.where(explores, any_one, best)


class EpsilonGreedy(nn.Module):
    """Chooses the best action, or with probability ε any of them.

    `epsilon` is a buffer: `Vary(greedy, "epsilon", schedule=Linear(1.0, 0.05, ...))`
    lowers it with the updates (Mnih et al. 2015: from 1 to 0.1 over a million frames).

    >>> EpsilonGreedy(0.0)(torch.tensor([[0.0, 2.0, 1.0]]))
    tensor([1])

    Raises:
        RLError: ε is no probability.
    """

    epsilon: Tensor

    def __init__(
        self, epsilon: float, *, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        if not 0 <= epsilon <= 1:
            raise RLError(f"epsilon={epsilon} came; expected a probability, 0 to 1")
        self.register_buffer("epsilon", torch.tensor(float(epsilon), device=device))

    def forward(self, values: Tensor) -> Tensor:
        """Actions `[...]` for values `[..., actions]`."""
        return epsilon_greedy(values, self.epsilon)

    def extra_repr(self) -> str:
        """The present ε."""
        return f"epsilon={self.epsilon:g}"


class EntropyBonus(nn.Module):
    """Weight times the mean entropy of a policy, to be subtracted from its loss.

    `weight` is a buffer that may follow a schedule; 0.01 as in A3C (Mnih et al. 2016,
    arXiv:1602.01783).

    >>> EntropyBonus(0.5)(torch.zeros(3, 4))
    tensor(0.6931)
    """

    weight: Tensor

    def __init__(
        self, weight: float = 0.01, *, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(float(weight), device=device))

    def forward(self, logits: Tensor) -> Tensor:
        """A scalar, for logits `[..., actions]`."""
        return self.weight * policy_entropy(logits).mean()

    def extra_repr(self) -> str:
        """The present weight."""
        return f"weight={self.weight:g}"


class EntropyFloor:
    """An alarm: the entropy of a policy was below a floor for so many updates in a row.

    Policies that collapse become certain long before returns show it.

    Args:
        floor: in nats, a number or a schedule over the updates.
        patience: so many updates in a row.

    >>> alarm = EntropyFloor(0.5, patience=2)
    >>> [alarm.update(entropy) for entropy in (0.4, 0.6, 0.4, 0.3, 0.2)]
    [False, False, False, True, True]

    Raises:
        RLError: the patience is not positive, or an entropy is no number.
    """

    def __init__(self, floor: float | Scheduled, *, patience: int = 10) -> None:
        if patience < 1:
            raise RLError(f"patience={patience} came; expected 1 update or more")
        self.floor = floor
        self.patience = patience
        self.updates = 0
        self.below = 0

    def update(self, entropy: float | Tensor) -> bool:
        """Count an update with this mean entropy; whether it is time for an alarm."""
        value = float(entropy)
        floor = value_at(self.floor, self.updates)
        if math.isnan(value):
            raise RLError(
                f"an entropy that is no number came at update {self.updates}; expected "
                "nats: the logits are not finite"
            )
        self.updates += 1
        self.below = self.below + 1 if value < floor else 0
        alarm = self.below >= self.patience
        if self.below == self.patience:
            LOG.warning(
                "update %d: entropy %.3g below %.3g for %d updates: the policy "
                "collapses; raise the entropy bonus or lower the rate",
                self.updates, value, floor, self.below,
            )  # fmt: skip
        return alarm

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        return {"updates": self.updates, "below": self.below}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.updates, self.below = int(state["updates"]), int(state["below"])
