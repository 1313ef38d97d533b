"""A model comes in with one activation, with another it goes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from surefoot.nn.init.errors import InitError
from surefoot.nn.init.gains import ACTIVATIONS, gain
from surefoot.nn.init.places import Rebuilt, module_at, put

BENDS = (*(kind for kind in ACTIVATIONS.values() if kind is not nn.Identity), nn.PReLU)
"""What counts as an activation module."""


@dataclass(frozen=True, slots=True)
class Swapped(Rebuilt):
    """What was swapped for what, and what follows for the weights before it.

    `gain` fits the new activation, `factor` is by how much it is above that of the old.
    """

    before: tuple[str, ...]
    after: str
    gain: float
    factor: float


def activations_of(
    model: nn.Module, within: Sequence[str] = ()
) -> dict[str, nn.Module]:
    """The activation modules of a model, or of parts of it, by name.

    An activation that is called as a function has no module and is not seen.
    """
    parts = [(name, module_at(model, name)) for name in within] or [("", model)]
    return {
        f"{part}.{name}".strip("."): module
        for part, root in parts
        for name, module in root.named_modules()
        if isinstance(module, BENDS)
    }


@torch.no_grad()
def replace_activation(
    model: nn.Module,
    to: str | Callable[[], nn.Module],
    *,
    within: Sequence[str] = (),
    rescale: Sequence[str] = (),
) -> Swapped:
    """Put another activation into the place of each one.

    Args:
        model: changed in place.
        to: a name ("leaky_relu", "gelu", ...), or what makes a module, such as
            `lambda: nn.LeakyReLU(0.2)`.
        within: names of modules to look in, or of the activations; all if empty.
        rescale: names of layers whose weights are multiplied by the ratio of the gains,
            so that a network just initialised for the old activation fits the new one.

    Returns:
        How many were swapped (`count`), where (`names`), which, the matching `gain`
        and its ratio to the old one (`factor`); `undo()` puts all back.

    Raises:
        InitError: the name is unknown, there is no activation module to swap, or
            weights are to be rescaled though several kinds were swapped.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), nn.ReLU())
    >>> swapped = replace_activation(model, lambda: nn.LeakyReLU(0.2))
    >>> swapped.count, swapped.before, round(swapped.gain, 4)
    (2, ('ReLU',), 1.3868)
    """
    old = activations_of(model, within)
    if not old:
        raise InitError(
            f"{type(model).__name__} came without activation modules there; expected "
            "modules such as nn.Sigmoid(); a function that is called in forward() can "
            "only be changed in the script"
        )
    make = _maker(to)
    new = {name: make() for name in old}
    first = next(iter(new.values()))
    gains = {gain(module) for module in old.values()}
    factor = gain(first) / gains.pop() if len(gains) == 1 else float("nan")
    if rescale and factor != factor:
        raise InitError(
            "weights are to be rescaled, but activations of several gains were found; "
            "swap one kind at a time with within="
        )
    weights = [module_at(model, name).get_parameter("weight") for name in rescale]
    kept = [weight.clone() for weight in weights]
    for weight in weights:
        weight.mul_(factor)
    put_back = put(model, new)

    def undo() -> None:
        put_back()
        with torch.no_grad():
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)

    before = tuple(sorted({type(module).__name__ for module in old.values()}))
    return Swapped(tuple(old), undo, before, type(first).__name__, gain(first), factor)


def _maker(to: str | Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    if not isinstance(to, str):
        return to
    if to not in ACTIVATIONS:
        raise InitError(
            f"the activation {to!r} came; expected one of {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[to]
