"""A model and a batch come in, the gradient of each of its blocks goes out.

At initialisation, post-norm transformers have their larger gradients near the output
and pre-norm ones near the input (Xiong et al. 2020): which way the profile leans, and
which block departs from it, is read here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from surefoot.nn.flow.errors import FlowError
from surefoot.restore.still import still
from surefoot.types import LossFunction


@dataclass(frozen=True, slots=True)
class DepthProfile:
    """Gradient norms of blocks in their order, over all weights of each.

    `blocks` are names as in `model.named_modules()`; `gradients` are ℓ2 norms.
    """

    blocks: tuple[str, ...]
    gradients: tuple[float, ...]

    @property
    def last_over_first(self) -> float:
        """Above 1: the gradients are larger near the output, as with post-norm."""
        first, last = self.gradients[0], self.gradients[-1]
        return last / first if first else math.inf

    @property
    def per_block(self) -> float:
        """The factor from a block to the next, of the geometric trend through all."""
        return math.exp(_trend(self.gradients)[0])

    @property
    def distortion(self) -> tuple[float, ...]:
        """By what factor each block's gradient departs from the trend of the others.

        1 on the trend. Blocks without a gradient are infinitely far below: 0.
        """
        return tuple(_departure(self.gradients, i) for i in range(len(self.blocks)))

    @property
    def early_distortion(self) -> float:
        """The distortion of the first quarter of the blocks that is furthest from 1.

        Attention that collapses shows there first: gradients of early blocks spike
        (Chen et al. 2021, section 4) while the others stay in line.

        >>> DepthProfile(tuple("abcde"), (9.0, 1.0, 1.0, 1.0, 1.0)).early_distortion
        9.0
        """
        count = max(1, len(self.blocks) // 4)
        return max(self.distortion[:count], key=_distance)


def depth_profile(
    model: nn.Module,
    batch: Any,
    *,
    loss_fn: LossFunction,
    blocks: Sequence[str] | None = None,
) -> DepthProfile:
    """Norms of the gradients of a model's blocks, from the first to the last.

    The model, its `.grad` and all random streams stay as they are, bit for bit.

    Args:
        model: in the mode in which it is to be judged.
        batch: what `loss_fn` takes.
        loss_fn: `loss_fn(model, batch)`, the loss.
        blocks: names of modules, in order; None: the children of the largest
            ModuleList or Sequential that holds two or more modules of one class.

    Raises:
        FlowError: a name is unknown, a block has no weights that are trained, or no
            blocks are found.

    >>> net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
    >>> found = depth_profile(net, torch.ones(2, 4), loss_fn=lambda m, x: m(x).sum())
    >>> found.blocks, len(found.gradients)
    (('0', '1', '2'), 3)
    """
    names = tuple(blocks) if blocks is not None else blocks_of(model)
    weights = [_weights(model, name) for name in names]
    if not names:
        raise FlowError("blocks=() came; expected names of modules, in their order")
    flat = [weight for own in weights for weight in own]
    with still(model):
        loss = loss_fn(model, batch)
        found = torch.autograd.grad(loss, flat, allow_unused=True)
    norms = [
        weight.new_zeros(()) if grad is None else grad.detach().float().norm()
        for weight, grad in zip(flat, _some(found), strict=True)
    ]
    sizes = [len(own) for own in weights]
    groups = torch.stack([norm.to(norms[0].device) for norm in norms]).split(sizes)
    return DepthProfile(names, tuple(float(group.norm()) for group in groups))


def blocks_of(model: nn.Module) -> tuple[str, ...]:
    """Names of a model's repeated blocks, in order.

    They are the children of the ModuleList or Sequential with most weights that holds
    two or more modules of one class with weights; only those of that class.

    Raises:
        FlowError: there is none.
    """
    found: dict[tuple[str, ...], int] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList | nn.Sequential):
            prefix = f"{name}." if name else ""
            by_kind: dict[type[nn.Module], list[str]] = {}
            for child, inner in module.named_children():
                if any(weight.requires_grad for weight in inner.parameters()):
                    by_kind.setdefault(type(inner), []).append(prefix + child)
            for names in by_kind.values():
                if len(names) > 1:
                    found[tuple(names)] = sum(
                        w.numel() for n in names for w in _weights(model, n)
                    )
    if not found:
        raise FlowError(
            "no ModuleList or Sequential with two blocks of one class was found; give "
            "blocks=, the names of the modules in their order"
        )
    return max(found, key=lambda names: found[names])


def _some(found: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """What `grad(allow_unused=True)` gives, as it is: None for what was not used."""
    return found


def _weights(model: nn.Module, name: str) -> list[nn.Parameter]:
    modules = dict(model.named_modules())
    if name not in modules:
        some = ", ".join(list(modules)[1:6])
        raise FlowError(f"no module is called {name!r}; there are {some} and others")
    weights = [w for w in modules[name].parameters() if w.requires_grad]
    if not weights:
        raise FlowError(f"{name!r} has no weights that are trained; leave it out")
    return weights


def _trend(gradients: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept of the logarithms, over blocks that have a gradient."""
    places = [i for i, one in enumerate(gradients) if one > 0]
    if not places:
        return 0.0, -math.inf
    logs = [math.log(gradients[i]) for i in places]
    if len(places) == 1:
        return 0.0, logs[0]
    slope, start = np.polyfit(places, logs, 1)
    return float(slope), float(start)


def _departure(gradients: Sequence[float], place: int) -> float:
    others = [0.0 if i == place else one for i, one in enumerate(gradients)]
    slope, start = _trend(others)
    expected = math.exp(start + slope * place)
    return round(gradients[place] / expected, 12) if expected else math.inf


def _distance(factor: float) -> float:
    return abs(math.log(factor)) if 0 < factor < math.inf else math.inf
