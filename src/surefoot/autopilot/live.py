"""What a change acts on: the live models and optimizers, and how to put them back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn


class KnobError(ValueError):
    """A change that is unknown, or that does not fit the run it was meant for."""


@dataclass(slots=True)
class Live:
    """A run that may be changed; `step` is the update that comes next."""

    models: Mapping[str, nn.Module]
    optimizers: Sequence[torch.optim.Optimizer]
    step: int = 0
    generator: torch.Generator = field(
        default_factory=lambda: torch.Generator().manual_seed(torch.initial_seed())
    )
    """Randomness of the changes, apart from the run's own streams."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A change that was carried out: in words before and after, and its undo."""

    before: str
    after: str
    undo: Callable[[], None]


def modules_of(live: Live, layers: Sequence[str]) -> dict[str, nn.Module]:
    """Modules by layer name: those listed, or all without a list.

    Names are the ones of the record; "<layer> (input)" stands for the layer itself.

    Raises:
        KnobError: a listed layer is in no model.
    """
    named: dict[str, nn.Module] = {}
    for key, model in live.models.items():
        prefix = f"{key}." if len(live.models) > 1 else ""
        named |= {prefix + name: module for name, module in model.named_modules()}
    if not layers:
        return named
    wanted = [layer.removesuffix(" (input)") for layer in layers]
    missing = [layer for layer in wanted if layer not in named]
    if missing:
        raise KnobError(
            f"a change came for the layers {', '.join(missing)}; expected modules of "
            f"the model, such as {', '.join(list(named)[1:6])}; check that the script "
            "builds the same model as the diagnosed run"
        )
    return {layer: named[layer] for layer in wanted}
