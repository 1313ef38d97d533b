"""What mattered for earlier tasks comes in, a penalty on leaving it goes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.schedules.scheduled import Scheduled, value_at
from surefoot.tasks.continual.errors import ContinualError
from surefoot.tasks.continual.importance import Importance


def quadratic_penalty(
    weights: Mapping[str, Tensor],
    centre: Mapping[str, Tensor],
    importance: Mapping[str, Tensor],
) -> Tensor:
    """½ Σ F (θ - θ*)², over the parameters that the importance names.

    >>> one = {"w": torch.tensor([3.0])}
    >>> quadratic_penalty(one, {"w": torch.tensor([1.0])}, {"w": torch.tensor([0.5])})
    tensor(1.)
    """
    terms = [
        (factor * (weights[name] - centre[name]).square()).sum()
        for name, factor in importance.items()
    ]
    return torch.stack([term.to(terms[0]) for term in terms]).sum() / 2


class EWC:
    """Elastic weight consolidation: λ/2 Σ_k Σ F_k (θ - θ_k*)² over earlier tasks k.

    Kirkpatrick et al. 2017. The sum over tasks is kept as one quadratic with its
    constant, so that memory does not grow with their number. Any importance will do:
    with that of `mas_importance` it is the penalty of MAS.

    Args:
        model: whose weights are held.
        weight: λ; a number or a `Scheduled`. With a mean of per-sample gradients it is
            the number of old samples that one new sample is to be weighed against.
        decay: what the importance of earlier tasks is multiplied by when one is added;
            1 is EWC, below 1 forgets (online EWC, Schwarz et al. 2018).

    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(model.weight, 1.0)
    >>> ewc = EWC(model, weight=2.0)
    >>> ewc.penalty()
    tensor(0.)
    >>> ewc.add(Importance({"weight": torch.tensor([[0.5]])}, 1, "Fisher", ()))
    >>> _ = nn.init.constant_(model.weight, 3.0)
    >>> ewc.penalty().item()
    2.0

    Raises:
        ContinualError: `decay` is not between 0 and 1.
    """

    def __init__(
        self, model: nn.Module, *, weight: float | Scheduled = 1.0, decay: float = 1.0
    ) -> None:
        if not 0 <= decay <= 1:
            raise ContinualError(f"decay={decay} came; expected a number from 0 to 1")
        self.model, self.weight, self.decay = model, weight, decay
        self.tasks = 0
        self.constant = 0.0
        self.importance: dict[str, Tensor] = {}
        self.centre: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, importance: Importance) -> None:
        """Hold the weights as they are now, after a task, as far as they matter.

        Raises:
            ContinualError: names or shapes are not the model's, or values are negative
                or not finite; nothing is changed then.
        """
        weights = dict(self.model.named_parameters())
        self._check(importance, weights)
        self.constant *= self.decay
        for name, new in importance.values.items():
            here = weights[name].detach()
            old = self.importance.get(name, torch.zeros_like(new)) * self.decay
            centre = self.centre.get(name, here)
            both = old + new
            share = torch.where(both > 0, new / torch.where(both > 0, both, 1.0), 0.0)
            apart = (here - centre).square() * old * share
            self.constant += float(apart.double().sum()) / 2
            self.importance[name] = both
            self.centre[name] = centre + share * (here - centre)
        for name in self.importance.keys() - importance.values.keys():
            self.importance[name] = self.importance[name] * self.decay
        self.tasks += 1

    def penalty(self, step: int = 0) -> Tensor:
        """The penalty at the model's weights, `[]`, to be added to a task's loss.

        Args:
            step: where `weight` is scheduled, of the schedule.
        """
        weights = dict(self.model.named_parameters())
        if not self.importance:
            return next(iter(weights.values())).new_zeros(())
        moved = quadratic_penalty(weights, self.centre, self.importance)
        return value_at(self.weight, step) * (moved + self.constant)

    def state_dict(self) -> dict[str, Any]:
        """What it holds, as tensors and numbers."""
        return {
            "tasks": self.tasks,
            "constant": self.constant,
            "importance": dict(self.importance),
            "centre": dict(self.centre),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back, onto the devices of the model's weights.

        Raises:
            ContinualError: names or shapes are not the model's; nothing is changed.
        """
        weights = dict(self.model.named_parameters())
        found = Importance(state["importance"], 0, "saved", ())
        self._check(found, weights)
        for part in ("importance", "centre"):
            own = {n: t.to(weights[n].device).clone() for n, t in state[part].items()}
            setattr(self, part, own)
        self.tasks, self.constant = int(state["tasks"]), float(state["constant"])

    def _check(
        self, importance: Importance, weights: Mapping[str, nn.Parameter]
    ) -> None:
        for name, value in importance.values.items():
            if name not in weights or value.shape != weights[name].shape:
                raise ContinualError(
                    f"an importance {list(value.shape)} of {name!r} came; expected the "
                    "names and shapes of model.named_parameters()"
                )
            if not (torch.isfinite(value).all() and (value >= 0).all()):
                raise ContinualError(
                    f"the importance of {name!r} is negative or not finite; expected 0 "
                    "or more; check the data it was measured on"
                )

    def __repr__(self) -> str:
        return f"EWC(weight={self.weight}, decay={self.decay}, tasks={self.tasks})"
