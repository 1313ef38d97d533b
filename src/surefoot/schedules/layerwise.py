"""A model comes in, parameter groups whose rates grow with the layer go out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from surefoot.schedules.errors import ScheduleError

STACKS = (nn.Sequential, nn.ModuleList)


def layerwise_lr(
    model: nn.Module,
    lr: float,
    *,
    decay: float = 0.75,
    layers: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Parameter groups with the rate lr·ξ^(L-l) for layer l of L, for any optimizer.

    For fine-tuning: layers near the input change less (Clark et al. 2020,
    arXiv 2003.10555; Bao et al. 2022, arXiv 2106.08254, ξ 0.65 to 0.95). The rate is
    the group's own `lr`, so that every optimizer reads it and every scheduler that
    scales keeps the ratios: torch's own, or `ScheduledLR`. Each group has the name of
    its layer as "layer".

    A weight that stands in several places counts once, in the layer nearest the input.
    Frozen weights are left out.

    Args:
        model: whose weights.
        lr: the rate of the last layer.
        decay: ξ, in (0, 1].
        layers: names of modules or of parameters from input to output; they must hold
            every trained weight. None: children of the model in the order in which they
            were registered, with `Sequential` and `ModuleList` taken apart. What has
            vectors only, such as a norm, belongs to the layer before it; weights of the
            model itself, such as position embeddings, to the first.

    >>> model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)))
    >>> [group["lr"] for group in layerwise_lr(model, 0.1, decay=0.5)]
    [0.0125, 0.025, 0.05, 0.1]

    Raises:
        ScheduleError: a rate or ξ out of range; all weights fell into one layer; a name
            is not in the model, or a weight in none of the layers.
    """
    if not (math.isfinite(lr) and lr > 0 and 0 < decay <= 1):
        raise ScheduleError(
            f"lr={lr!r} and decay={decay!r} came; expected a positive rate, and a "
            "decay above 0 and at most 1"
        )
    found = _named(model, layers) if layers is not None else _split(model)
    seen: set[int] = set()
    groups: list[dict[str, Any]] = []
    for name, weights in found:
        new = {id(w): w for w in weights if w.requires_grad and id(w) not in seen}
        seen.update(new)
        own = list(new.values())
        if own:
            groups.append({"params": own, "layer": name})
    if len(groups) < 2:
        raise ScheduleError(
            f"{type(model).__name__} has {len(groups)} layer with trained weights of "
            "its own; expected two or more, as one group would give every weight the "
            "same rate; say with layers= which names are the layers, input first"
        )
    for place, group in enumerate(reversed(groups)):
        group["lr"] = lr * decay**place
    return groups


def _named(
    model: nn.Module, layers: Sequence[str]
) -> list[tuple[str, Iterable[Tensor]]]:
    """The weights below each name; none may be left over, no name may be empty."""
    left = dict(model.named_parameters(remove_duplicate=False))
    found: list[tuple[str, Iterable[Tensor]]] = []
    for layer in layers:
        own = [name for name in left if name == layer or name.startswith(f"{layer}.")]
        if not own:
            raise ScheduleError(
                f"the layer {layer!r} came; expected the name of a module or parameter "
                f"that no other layer holds; the model's children are "
                f"{', '.join(name for name, _ in model.named_children())}"
            )
        found.append((layer, [left.pop(name) for name in own]))
    held = {id(weight) for _, weights in found for weight in weights}
    lost = [n for n, w in left.items() if w.requires_grad and id(w) not in held]
    if lost:
        raise ScheduleError(
            f"{len(lost)} trained weights are in none of the layers, such as "
            f"{', '.join(lost[:3])}; name their modules in layers= as well"
        )
    return found


def _split(model: nn.Module) -> list[tuple[str, Iterable[Tensor]]]:
    """Layers as the order of registration has them."""
    loose: list[Tensor] = []
    layers: list[tuple[str, list[Tensor]]] = []
    for name, module in _pieces(model, "", loose):
        weights: list[Tensor] = list(module.parameters())
        if not weights:
            continue
        if layers and all(weight.dim() < 2 for weight in weights):
            layers[-1][1].extend(weights)
        else:
            layers.append((name, weights))
    if layers:
        layers[0][1].extend(loose)
    return [(name, weights) for name, weights in layers]


def _pieces(
    module: nn.Module, prefix: str, loose: list[Tensor]
) -> Iterator[tuple[str, nn.Module]]:
    """Modules that are a layer each; weights of those taken apart go to `loose`."""
    loose.extend(module.parameters(recurse=False))
    for name, child in module.named_children():
        whole = f"{prefix}{name}"
        part_of_stack = isinstance(module, STACKS) and not isinstance(child, STACKS)
        if part_of_stack or not _holds_a_stack(child):
            yield whole, child
        else:
            yield from _pieces(child, f"{whole}.", loose)


def _holds_a_stack(module: nn.Module) -> bool:
    """Whether it is a stack with several members that have weights, or contains one."""
    return any(
        isinstance(one, STACKS)
        and sum(next(child.parameters(), None) is not None for child in one) > 1
        for one in module.modules()
    )
