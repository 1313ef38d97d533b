"""Hooks that vanish: a model with hooks is copied or pickled, a plain one comes out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

_NAME = "surefoot.detached"
_silent = logging.getLogger(_NAME).debug


class VanishingHook:
    """A hook that acts on the model it was put on, and nowhere else.

    In a copied or unpickled model it is a callable of the standard library that
    does nothing, so copies are not recorded and a checkpoint opens where Surefoot
    is absent.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        return _silent

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (logging.getLogger(_NAME), "debug")
