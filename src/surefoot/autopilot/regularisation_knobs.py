"""Changes to what holds a model in, and to its running statistics, with their undo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from surefoot.autopilot.live import (
    Applied,
    KnobError,
    Live,
    Strength,
    modules_of,
    number_of,
    word_of,
)
from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.recalibrate import recalibrate_bn, tracked_norms
from surefoot.types import Change
from surefoot.wording import counted, number

DROPOUTS = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)


def set_penalty(live: Live, change: Change) -> Applied:
    """Give the penalties that are named, or all, another weight."""
    value = number_of(change)
    chosen = _strengths(live, change)
    before = [one.weight for one in chosen]
    for one in chosen:
        one.weight = value

    def undo() -> None:
        for one, old in zip(chosen, before, strict=True):
            one.weight = old

    return Applied(f"weight {number(before[0])}", f"weight {number(value)}", undo)


def scale_dropout(live: Live, change: Change) -> Applied:
    """Multiply the odds p/(1 - p) of each dropout among the layers.

    Odds, so that no rate reaches 1, and scaling back gives the rate of before.
    """
    factor = number_of(change)
    found = [
        module
        for module in modules_of(live, change.layers).values()
        if isinstance(module, DROPOUTS) and 0 < module.p < 1
    ]
    if not found:
        raise KnobError(
            f"the change dropout scale {factor:g} came for a model without a dropout "
            "module whose rate lies between 0 and 1; expected one as nn.Dropout(0.1)"
        )
    before = [module.p for module in found]
    for module in found:
        odds = factor * module.p / (1 - module.p)
        module.p = odds / (1 + odds)

    def undo() -> None:
        for module, old in zip(found, before, strict=True):
            module.p = old

    return Applied(f"dropout {before[0]:g}", f"dropout {found[0].p:g}", undo)


def recalibrate(live: Live, change: Change) -> Applied:
    """Set the running statistics of batch norms to those of the latest batches.

    Each passes once through the model, with the statistics of its own batch, as in
    training; nothing else changes. The amount is "recent".
    """
    word_of(change, ("recent",))
    norms = {
        f"{key}.{name}" if len(live.models) > 1 else name: norm
        for key, model in live.models.items()
        for name, norm in tracked_norms(model).items()
    }
    undo = _kept(list(norms.values()))
    try:
        done = [
            name
            for model in live.models.values()
            if tracked_norms(model)
            for name in recalibrate_bn(model, live.batches, forward=called)
        ]
    except NormError as error:
        undo()
        raise KnobError(str(error)) from error
    if not done:
        raise KnobError(
            "the change norm_statistics recalibrate came for a model without batch "
            "norms that track statistics; expected one at least"
        )
    after = f"the {len(live.batches)} latest batches, in {counted(len(done), 'norm')}"
    return Applied("running averages", after, undo)


def called(model: nn.Module, batch: Any) -> Any:
    """A model on the arguments `(args, kwargs)` that it was called with before."""
    args, named = batch
    return model(*args, **named)


@torch.no_grad()
def _kept(norms: list[nn.Module]) -> Callable[[], None]:
    """Copies of the buffers of modules; what puts them back goes out."""
    held = [(one, one.detach().clone()) for norm in norms for one in norm.buffers()]

    def undo() -> None:
        with torch.no_grad():
            for buffer, old in held:
                buffer.copy_(old)

    return undo


def _strengths(live: Live, change: Change) -> list[Strength]:
    known = live.strengths
    missing = [name for name in change.layers if name not in known]
    if missing or not known:
        raise KnobError(
            f"the change penalty set came for {', '.join(missing) or 'a run'}; "
            f"expected one of the penalties {', '.join(known) or '(there is none)'}; "
            "add one with surefoot.autopilot.AdaptivePenalty"
        )
    return [known[name] for name in change.layers or known]
