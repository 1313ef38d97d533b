"""A function of torch comes in, calls of it go through an action; its undo goes out."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


def around(owner: Any, name: str, action: Callable[..., Any]) -> Callable[[], None]:
    """Let an action stand around a function, until the undo that goes out is called.

    The action is called with the function itself and what that was called with.

    >>> import math
    >>> undo = around(math, "floor", lambda floor, x: floor(x) + 100)
    >>> math.floor(1.5)
    101
    >>> undo()
    >>> math.floor(1.5)
    1
    """
    original = getattr(owner, name)

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return action(original, *args, **kwargs)

    setattr(owner, name, call)
    return lambda: setattr(owner, name, original)
