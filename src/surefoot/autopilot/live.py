"""What a change acts on: the live models and optimizers, and how to put them back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from surefoot.autopilot.brake import Brake
from surefoot.gradients.norms import weights_of
from surefoot.probes.streams import unwrapped
from surefoot.types import Change, Event


class KnobError(ValueError):
    """A change that is unknown, or that does not fit the run it was meant for."""


def seeded() -> torch.Generator:
    """Randomness of the changes, apart from the run's own streams.

    All ranks of a distributed run draw alike, although each has a seed of its own.
    """
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.Generator().manual_seed(0 if ready else torch.initial_seed())


class Strength(Protocol):
    """A penalty or another term whose weight may be changed."""

    weight: float


@dataclass(slots=True)
class Live:
    """A run that may be changed; `step` is the update that comes next."""

    models: Mapping[str, nn.Module]
    optimizers: Sequence[torch.optim.Optimizer]
    step: int = 0
    generator: torch.Generator = field(default_factory=seeded)
    tell: Callable[[Event], None] = lambda event: None
    """Who hears of what a change does later; `apply_changes` sets it."""
    brake: Brake | None = None
    """What an autopilot holds back single updates with; None without one."""
    strengths: Mapping[str, Strength] = field(default_factory=dict[str, Strength])
    """Penalties that are added to the loss, by name."""
    batches: Sequence[Any] = ()
    """The latest training passes of the model, oldest first: `(args, kwargs)` each."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A change that was carried out: in words before and after, and its undo."""

    before: str
    after: str
    undo: Callable[[], None]


def modules_of(live: Live, layers: Sequence[str]) -> dict[str, nn.Module]:
    """Modules by layer name: those listed, or all without a list.

    Names are the ones of the record; "<layer> (input)" stands for the layer itself,
    and the name of a parameter for the module that owns it.

    Raises:
        KnobError: a listed layer is in no model.
    """
    named: dict[str, nn.Module] = {}
    for key, model in live.models.items():
        prefix = f"{key}." if len(live.models) > 1 else ""
        rows = unwrapped(model).named_modules()
        named |= {(prefix + name).rstrip("."): module for name, module in rows}
    if not layers:
        return named
    wanted = [_owner(layer.removesuffix(" (input)"), named) for layer in layers]
    missing = [layer for layer in wanted if layer not in named]
    if missing:
        raise KnobError(
            f"a change came for the layers {', '.join(missing)}; expected modules of "
            f"the model, such as {', '.join(list(named)[1:6])}; check that the script "
            "builds the same model as the diagnosed run"
        )
    return {layer: named[layer] for layer in wanted}


def _owner(layer: str, named: Mapping[str, nn.Module]) -> str:
    """The module that a name belongs to: itself, or the owner of a parameter."""
    owner, _, own = layer.rpartition(".")
    if layer in named or owner not in named:
        return layer
    return owner if own in dict(named[owner].named_parameters(recurse=False)) else layer


def optimizer_of(live: Live, part: nn.Module) -> torch.optim.Optimizer | None:
    """The optimizer that holds parameters of a part; the only one if none does."""
    own = {id(parameter) for parameter in part.parameters()}
    for optimizer in live.optimizers:
        if any(id(weight) in own for weight in weights_of(optimizer)):
            return optimizer
    return live.optimizers[0] if len(live.optimizers) == 1 else None


def number_of(change: Change, *, above: bool = False) -> float:
    """The amount as a finite number that is not negative, or that is above zero.

    Raises:
        KnobError: it is none.
    """
    amount = change.amount
    low = 0.0 if not above else math.ulp(0.0)
    if isinstance(amount, str) or not (math.isfinite(amount) and amount >= low):
        kind = "above zero" if above else "that is not negative"
        raise KnobError(
            f"the change {change.knob} {change.op} came with the amount {amount!r}; "
            f"expected a finite number {kind}"
        )
    return float(amount)


def word_of(change: Change, words: Sequence[str]) -> str:
    """The amount as one of some words.

    Raises:
        KnobError: it is none of them.
    """
    if change.amount not in words:
        raise KnobError(
            f"the change {change.knob} {change.op} {change.amount!r} came; expected "
            f"{' or '.join(repr(word) for word in words)}"
        )
    return str(change.amount)
