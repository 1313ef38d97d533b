"""An optimizer comes in and makes one update that nobody else hears of."""

from __future__ import annotations

from torch.optim import Optimizer


def bare_step(optimizer: Optimizer) -> None:
    """One update, past all hooks: nothing that watches the optimizer sees it."""
    step = type(optimizer).step
    # torch wraps step() once with the calls of its hooks.
    bare = getattr(step, "__wrapped__", step) if hasattr(step, "hooked") else step
    bare(optimizer)
