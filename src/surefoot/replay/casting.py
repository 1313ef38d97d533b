"""Who plays whom: live models and optimizers come in, under their recorded names out.

A script that is run again may have other names for the same parts, such as the numbers
that tell two optimizers apart; what they hold is what they are known by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from surefoot.blackbox.in_models import tensors_of
from surefoot.blackbox.state import State
from surefoot.replay.errors import ReplayError


def cast(
    state: State,
    roots: Mapping[str, nn.Module],
    optimizers: Sequence[torch.optim.Optimizer],
) -> tuple[dict[str, nn.Module], dict[str, torch.optim.Optimizer]]:
    """Models and optimizers by the names of a state.

    Raises:
        ReplayError: one that was recorded is not there; the message says what is.
    """
    free = dict(roots)
    models: dict[str, nn.Module] = {}
    for key, packed in state.rest["models"].items():
        wanted = {n: state.tensors[t].shape for n, t in packed["tensors"].items()}
        fits = [name for name, model in free.items() if _shapes(model) == wanted]
        name = key if key in fits else next(iter(fits), None)
        if name is None:
            raise ReplayError(_no_model(key, wanted, free))
        models[key] = free.pop(name)
    return models, _optimizers(state, optimizers)


def _optimizers(
    state: State, there: Sequence[torch.optim.Optimizer]
) -> dict[str, torch.optim.Optimizer]:
    free = list(there)
    found: dict[str, torch.optim.Optimizer] = {}
    for key, packed in state.rest["optimizers"].items():
        sizes = [group["size"] for group in packed["groups"]]
        fits = [
            one
            for one in free
            if type(one).__name__ == packed["class"] and _sizes(one) == sizes
        ]
        if not fits:
            known = ", ".join(f"{type(o).__name__} {_sizes(o)}" for o in there)
            raise ReplayError(
                f"the incident's optimizer {key!r} is {packed['class']} with groups of "
                f"{sizes} parameters; the script has {known or 'none'}; replay it with "
                "the script and the arguments that were recorded"
            )
        found[key] = fits[0]
        free = [one for one in free if one is not fits[0]]
    return found


def _no_model(
    key: str, wanted: Mapping[str, Any], there: Mapping[str, nn.Module]
) -> str:
    """What differs between a recorded model and the likest one that is there."""
    best: list[str] = []
    for name, model in there.items():
        shapes = _shapes(model)
        odd = [
            f"{n} was {list(wanted[n]) if n in wanted else 'absent'} and is "
            f"{list(shapes[n]) if n in shapes else 'absent'}"
            for n in sorted({*wanted, *shapes})
            if wanted.get(n) != shapes.get(n)
        ]
        if not best or len(odd) < len(best):
            best = [f"in {name}: {odd[0]}", *odd[1:]] if odd else []
    differs = "; ".join(best[:4]) or "the script has no model when it first updates"
    return (
        f"the incident comes from another model than the script trains ({key}): "
        f"{differs}; replay it with the script and the arguments that were recorded"
    )


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: one.shape for name, one in tensors_of(model).items()}


def _sizes(optimizer: torch.optim.Optimizer) -> list[int]:
    return [len(group["params"]) for group in optimizer.param_groups]
