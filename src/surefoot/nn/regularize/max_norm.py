"""Weights come in; each unit's incoming weights go out no longer than a cap.

Srebro and Shraibman 2005; with dropout: Srivastava et al. 2014 (JMLR 15), who capped at
3 to 4. To tie length and direction apart instead, torch has
`torch.nn.utils.parametrizations.weight_norm`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

from surefoot.nn.regularize.errors import RegularizeError
from surefoot.schedules.scheduled import Scheduled, value_at

Units: TypeAlias = nn.Module | Iterable[Tensor]

_FORWARD = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@torch.no_grad()
def max_norm_(weight: Tensor, cap: float | Tensor, *, dim: int = 0) -> Tensor:
    """Shorten, in place, each unit's weights to the length `cap` if they are longer.

    w ← w·cap/‖w‖ where ‖w‖ > cap; all others keep every bit. Lengths are computed in
    float32 at least.

    Args:
        weight: two dimensions or more.
        cap: the largest length, above 0.
        dim: the dimension that counts units: 0 for linear layers and convolutions, 1
            for transposed convolutions.

    Returns:
        The lengths before, shape `[units]`.

    Raises:
        RegularizeError: too few dimensions, or a cap that is not above 0.

    >>> weight = torch.tensor([[3.0, 4.0], [0.6, 0.8]])
    >>> max_norm_(weight, 2.0)
    tensor([5., 1.])
    >>> weight
    tensor([[1.2000, 1.6000], [0.6000, 0.8000]])
    """
    _checked(weight, cap)
    wide = weight.float() if weight.dtype in (torch.float16, torch.bfloat16) else weight
    others = [one for one in range(weight.dim()) if one != dim % weight.dim()]
    norms = torch.linalg.vector_norm(wide, dim=others, keepdim=True)
    # Where an element is not finite nothing is capped, so that it is found, not hidden.
    above = (norms > cap) & norms.isfinite()
    # A length of 0 is never above the cap: what is divided by it is not taken.
    short = torch.where(above, wide * (cap / norms), wide)
    weight.copy_(torch.where(above, short.to(weight.dtype), weight))
    return norms.flatten()


class MaxNorm:
    """A post-step action: after each update no unit's weights are longer than the cap.

    Args:
        target: a model, whose linear layers and (transposed) convolutions are capped,
            or weights, with units in dimension 0.
        cap: the largest length; may vary with the step. 3 to 4 beside dropout
            (Srivastava et al. 2014).
        quiet: say nothing in the log. To say how many units were capped, the host
            waits for the device.

    >>> from surefoot.schedules import after_step
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.constant_(layer.weight, 3.0)
    >>> sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
    >>> handle = after_step(sgd, MaxNorm(layer, cap=1.0))
    >>> layer.weight.grad = torch.zeros(1, 2)
    >>> sgd.step()
    >>> layer.weight.norm().item(), handle.log[-1].body["capped"]
    (1.0, 1)

    Raises:
        RegularizeError: no weights to cap, one that is no unit's, or a cap that is
            not above 0.
    """

    def __init__(
        self, target: Units, *, cap: float | Scheduled, quiet: bool = False
    ) -> None:
        found = _of(target) if isinstance(target, nn.Module) else _given(target)
        self.weights = tuple(found)
        self.cap = cap
        self.quiet = quiet
        if not self.weights:
            raise RegularizeError(
                "no weights to cap came; expected a model with linear layers or "
                "convolutions whose weights are parameters, or weights themselves"
            )
        for weight, _ in self.weights:
            _checked(weight, value_at(cap, 0))

    def __call__(self, step: int) -> Mapping[str, float | int]:
        """Cap all weights; say how many units were longer, and the longest."""
        cap = value_at(self.cap, step)
        norms = [max_norm_(weight, cap, dim=dim) for weight, dim in self.weights]
        if self.quiet:
            return {}
        longest = max(float(one.max()) for one in norms)
        capped = sum(int((one > cap).sum()) for one in norms)
        return {"capped": capped, "longest": longest, "cap": cap} if capped else {}


def _of(model: nn.Module) -> Iterator[tuple[Tensor, int]]:
    """Weights of a model's layers that are parameters, and where units are counted."""
    seen: set[int] = set()
    for name, module in model.named_modules():
        weight = vars(module)["_parameters"].get("weight")
        kinds = (*_FORWARD, *_TRANSPOSED)
        if weight is None or id(weight) in seen or not isinstance(module, kinds):
            continue
        seen.add(id(weight))
        transposed = isinstance(module, _TRANSPOSED)
        if transposed and module.groups > 1:
            raise RegularizeError(
                f"{name} is a transposed convolution of {module.groups} groups, whose "
                "units do not lie along one dimension; give the other weights"
            )
        yield weight, int(transposed)


def _given(weights: Iterable[Tensor]) -> Iterator[tuple[Tensor, int]]:
    yield from ((weight, 0) for weight in weights)


def _checked(weight: Tensor, cap: float | Tensor) -> None:
    if weight.dim() < 2:
        raise RegularizeError(
            f"a weight of shape {tuple(weight.shape)} came; expected two dimensions or "
            "more, as gains and biases are not weights that come into a unit"
        )
    if not isinstance(cap, Tensor) and not cap > 0:
        raise RegularizeError(f"cap={cap!r} came; expected a length above 0")
