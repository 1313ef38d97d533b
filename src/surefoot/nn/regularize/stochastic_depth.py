"""Residual branches come in; some are dropped while training, all are kept after it.

Stochastic depth (Huang et al. 2016, arXiv:1603.09382). Branches are scaled by 1/(1-p)
while training, so that the mean is the full block's and evaluation needs no scaling;
the paper scales at evaluation by 1-p instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from surefoot.nn.regularize.errors import RegularizeError, checked_share, shown
from surefoot.schedules.scheduled import Scheduled, value_at

Rule = Literal["paper", "timm"]


def stochastic_depth(
    branch: Tensor,
    p: float | Tensor,
    *,
    training: bool = True,
    per_sample: bool = True,
) -> Tensor:
    """A residual branch, dropped with probability p and scaled by 1/(1-p) if kept.

    Args:
        branch: `[N, ...]`, what the branch puts out before it is added.
        p: the probability of dropping it.
        training: False gives the branch as it is.
        per_sample: a draw for each sample, else one for the batch.

    >>> stochastic_depth(torch.ones(2, 3), 1.0)
    tensor([[0., 0., 0.], [0., 0., 0.]])
    """
    if not training:
        return branch
    ones = [1] * (branch.dim() - 1)
    shape = [len(branch), *ones] if per_sample and branch.dim() else [1] * branch.dim()
    drop = torch.as_tensor(p, device=branch.device, dtype=torch.float32)
    kept = torch.rand(shape, device=branch.device) >= drop
    # Where nothing is kept, at p = 1, nothing is divided by 0.
    factor = torch.where(kept, 1 / (1 - drop).clamp(min=1e-12), torch.zeros_like(drop))
    return branch * factor.to(branch.dtype)


class StochasticDepth(nn.Module):
    """Drops what a residual branch puts out, sample by sample, while training.

    Put it at the end of the branch: `x + drop(branch(x))`.

    Args:
        p: the probability of dropping; the buffer `p` may follow a schedule.
        per_sample: a draw for each sample, else one for the batch.

    Shape:
        `[N, ...]`, as it came.

    >>> StochasticDepth(0.2)
    StochasticDepth(p=0.2, per_sample=True)

    Raises:
        RegularizeError: p does not lie between 0 and 1.
    """

    p: Tensor

    def __init__(
        self,
        p: float = 0.0,
        *,
        per_sample: bool = True,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.per_sample = per_sample
        self.register_buffer("p", torch.tensor(checked_share(p, "p"), device=device))

    def forward(self, branch: Tensor) -> Tensor:
        """The branch, or zeros."""
        return stochastic_depth(
            branch, self.p, training=self.training, per_sample=self.per_sample
        )

    def extra_repr(self) -> str:
        """The settings."""
        return f"p={shown(self.p)}, per_sample={self.per_sample}"


def stochastic_depth_rates(
    depth: int, *, last: float = 0.5, rule: Rule = "paper"
) -> tuple[float, ...]:
    """How often each block is dropped, from the first to the last.

    Args:
        depth: the number of blocks, L.
        last: how often the last one is dropped, 1 - p_L; 0.5 in the paper.
        rule: "paper": l/L·last for l = 1 … L, so that the first is dropped too;
            "timm": (l-1)/(L-1)·last, so that the first is not.

    >>> stochastic_depth_rates(4, last=0.5)
    (0.125, 0.25, 0.375, 0.5)
    >>> stochastic_depth_rates(3, last=0.4, rule="timm")
    (0.0, 0.2, 0.4)

    Raises:
        RegularizeError: no block, an unknown rule, or a rate outside 0 to 1.
    """
    if depth < 1 or rule not in get_args(Rule):
        raise RegularizeError(
            f"depth={depth!r} and rule={rule!r} came; expected one block or more, and "
            f"one of {', '.join(get_args(Rule))}"
        )
    checked_share(last, "last")
    if rule == "paper":
        return tuple(last * place / depth for place in range(1, depth + 1))
    return tuple(last * place / max(depth - 1, 1) for place in range(depth))


def expected_depth(rates: Iterable[float]) -> float:
    """How many blocks are kept on average: Σ (1 - p_l).

    >>> expected_depth(stochastic_depth_rates(54, last=0.5))
    40.25
    """
    return math.fsum(1 - checked_share(rate, "rate") for rate in rates)


class DepthRates:
    """A post-step action: the rates of all `StochasticDepth` of a model, by a rule.

    Args:
        model: its blocks are taken in the order in which it lists them.
        last: how often the last block is dropped; may vary with the step.
        rule: see `stochastic_depth_rates`.

    Raises:
        RegularizeError: the model has none, or a rate lies outside 0 to 1.

    >>> net = nn.Sequential(StochasticDepth(), StochasticDepth())
    >>> from surefoot.schedules import Linear
    >>> rates = DepthRates(net, Linear(0.0, 0.4, steps=10))
    >>> rates.begin(5)
    >>> [round(float(drop.p), 6) for drop in net]
    [0.1, 0.2]
    """

    def __init__(
        self, model: nn.Module, last: float | Scheduled, *, rule: Rule = "paper"
    ) -> None:
        self.drops = [
            one for one in model.modules() if isinstance(one, StochasticDepth)
        ]
        self.last = last
        self.rule: Rule = rule
        if not self.drops:
            raise RegularizeError(
                f"{type(model).__name__} has no StochasticDepth; put one at the end of "
                "each residual branch"
            )
        stochastic_depth_rates(len(self.drops), last=value_at(last, 0), rule=rule)

    @torch.no_grad()
    def begin(self, step: int) -> None:
        """Set the rates for the update after `step` others."""
        last = value_at(self.last, step)
        rates = stochastic_depth_rates(len(self.drops), last=last, rule=self.rule)
        for drop, rate in zip(self.drops, rates, strict=True):
            drop.p.fill_(rate)

    def __call__(self, step: int) -> Mapping[str, float]:
        """Set the rates for the next update, and say the last one."""
        self.begin(step)
        return {"last": value_at(self.last, step)}
