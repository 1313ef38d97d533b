"""When a plan acts and when it ends: counts the updates of an optimizer.

An optimizer and a function come in; the function is called once, between two updates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def after_updates(
    optimizer: torch.optim.Optimizer, updates: int, act: Callable[[], None]
) -> None:
    """Call `act` once after so many updates of the optimizer; at once for none.

    >>> weight = torch.nn.Parameter(torch.ones(1))
    >>> sgd = torch.optim.SGD([weight], lr=0.1)
    >>> after_updates(sgd, 2, lambda: print("now"))
    >>> sgd.step(); sgd.step()
    now
    """
    if updates <= 0:
        act()
        return
    left = [updates]

    def count(one: Any, args: Any, kwargs: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            handle.remove()
            act()

    handle = optimizer.register_step_post_hook(count)


def end_script() -> None:
    """End the script as `sys.exit(0)` does, so that what it cleans up is cleaned up.

    Raises:
        SystemExit: always.
    """
    raise SystemExit(0)
