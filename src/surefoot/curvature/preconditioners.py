"""An optimizer comes in, the diagonal by which it scales its steps goes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.linear import Operator
from surefoot.curvature.space import Space
from surefoot.curvature.wrappers import whole

State = Mapping[str, Any]
"""What an optimizer keeps of one weight, or the settings of its group."""


def diagonal_of(optimizer: Optimizer, space: Space) -> torch.Tensor:
    """P [n], where the optimizer steps along P⁻¹ times its mean of gradients.

    Cohen et al. 2022, "Adaptive gradient methods at the edge of stability" (equation 2,
    with the correction of the first moment's bias): for Adam
    P = (1 − β₁ᵗ)(√(v / (1 − β₂ᵗ)) + ε), at the state after t updates.

    Raises:
        CurvatureError: an optimizer of a kind that has no known diagonal, one that
            has made no update yet, or one that does not hold a weight of the space.
    """
    known = {
        id(weight): group
        for group in optimizer.param_groups
        for weight in group["params"]
    }
    rule = _rule(optimizer)
    pieces: list[torch.Tensor | None] = []
    for name, weight, like in zip(
        space.names, space.origins, space.tensors, strict=True
    ):
        if id(weight) not in known:
            raise CurvatureError(
                f"the optimizer does not hold {name}; give the optimizer of this "
                "model, or leave that weight out with where="
            )
        state = {
            key: whole(one) if isinstance(one, torch.Tensor) else one
            for key, one in optimizer.state.get(weight, {}).items()
        }
        if rule is not _plain and not state:
            raise CurvatureError(
                f"the optimizer has made no update of {name} yet, so its scale is not "
                "known; make the operator after the first optimizer.step()"
            )
        pieces.append(rule(like, state, known[id(weight)]))
    return space.flat(pieces)


def _rule(optimizer: Optimizer) -> Callable[[torch.Tensor, State, State], torch.Tensor]:
    for kinds, rule in RULES:
        if isinstance(optimizer, kinds):
            return rule
    names = (kind.__name__ for kinds, _ in RULES for kind in kinds)
    raise CurvatureError(
        f"no preconditioner is known for {type(optimizer).__name__}; expected one of "
        f"torch.optim: {', '.join(names)}"
    )


def _plain(weight: torch.Tensor, state: State, group: State) -> torch.Tensor:
    """Gradient descent: momentum moves the line of stability, not the scale."""
    del state, group
    return torch.ones_like(weight)


def _adam(weight: torch.Tensor, state: State, group: State) -> torch.Tensor:
    first, second = group["betas"]
    squares = state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"]
    root = (squares / _unbiased(second, state)).sqrt()
    return ((root + group["eps"]) * _unbiased(first, state)).view_as(weight)


def _adamax(weight: torch.Tensor, state: State, group: State) -> torch.Tensor:
    scale = state["exp_inf"] * _unbiased(group["betas"][0], state)
    return scale.view_as(weight)


def _rmsprop(weight: torch.Tensor, state: State, group: State) -> torch.Tensor:
    squares = state["square_avg"]
    if group["centered"]:
        squares = squares - state["grad_avg"].square()
    return (squares.sqrt() + group["eps"]).view_as(weight)


def _adagrad(weight: torch.Tensor, state: State, group: State) -> torch.Tensor:
    return (state["sum"].sqrt() + group["eps"]).view_as(weight)


def _unbiased(decay: Any, state: State) -> torch.Tensor:
    """1 − βᵗ, in double precision: at t = 1 it is small."""
    step = torch.as_tensor(state["step"], dtype=torch.float64)
    return 1 - torch.as_tensor(decay, dtype=torch.float64, device=step.device) ** step


RULES = (
    ((torch.optim.SGD,), _plain),
    ((torch.optim.Adam, torch.optim.AdamW), _adam),
    ((torch.optim.Adamax,), _adamax),
    ((torch.optim.RMSprop,), _rmsprop),
    ((torch.optim.Adagrad,), _adagrad),
)
"""Kinds of optimizers and the diagonal of each."""


class Preconditioned(Operator):
    """P^(-1/2) A P^(-1/2) with the diagonal P of an optimizer.

    Attributes:
        scale: P^(-1/2) [n].
    """

    def __init__(self, inner: Operator, optimizer: Optimizer) -> None:
        super().__init__(inner.space)
        self._inner: Operator | None = inner
        diagonal = diagonal_of(optimizer, inner.space)
        self.scale = diagonal.clamp_min(torch.finfo(diagonal.dtype).tiny).rsqrt()
        self.notes = (*inner.notes, f"scaled by {type(optimizer).__name__}")

    def _columns(self, columns: list[torch.Tensor]) -> list[torch.Tensor]:
        assert self._inner is not None
        if len(columns) == 1:
            return [self.scale * (self._inner @ (self.scale * columns[0]))]
        scaled = torch.stack([self.scale * one for one in columns], dim=1)
        return [self.scale * one for one in (self._inner @ scaled).unbind(1)]

    def close(self) -> None:
        """Let go of the operator; it stays open for whoever else holds it."""
        super().close()
        self._inner = None
