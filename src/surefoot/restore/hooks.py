"""Hooks that leave no trace: models and optimizers with hooks become plain again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Self

from torch.utils.hooks import RemovableHandle

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


class Hooked:
    """Something that hooks hang on, until `remove()` or the end of a `with` block."""

    def __init__(self, hooks: Iterable[RemovableHandle]) -> None:
        self._hooks = tuple(hooks)

    def remove(self) -> None:
        """Take the hooks off; what was done and counted stays."""
        for hook in self._hooks:
            hook.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()
