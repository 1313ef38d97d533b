"""A model and names of its modules come in; others stand in their places afterwards."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from surefoot.nn.init.errors import InitError

SHOWN = 5
"""Names that an error lists."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Where a model was rebuilt, and how it becomes what it was: `undo()`."""

    names: tuple[str, ...]
    undo: Callable[[], None]

    @property
    def count(self) -> int:
        """In how many places."""
        return len(self.names)


def module_at(model: nn.Module, name: str) -> nn.Module:
    """The module of a name; "" is the model itself.

    Raises:
        InitError: there is none; the message lists some that there are.
    """
    named = dict(model.named_modules(remove_duplicate=False))
    if name in named:
        return named[name]
    near = difflib.get_close_matches(name, named, n=SHOWN) or list(named)[1 : SHOWN + 1]
    raise InitError(
        f"the name {name!r} came; expected a module of the "
        f"{type(model).__name__}, such as {', '.join(near) or 'none: it has no parts'}"
    )


def put(model: nn.Module, new: Mapping[str, nn.Module]) -> Callable[[], None]:
    """Put modules in the places of others; what undoes it goes out.

    A module that stands in several places is replaced in all of them. New ones take the
    mode, training or evaluation, of those they replace.

    Raises:
        InitError: a name is unknown, or is that of the whole model.
    """
    by_old = {id(module_at(model, name)): module for name, module in new.items()}
    if id(model) in by_old:
        raise InitError(
            f"the whole {type(model).__name__} came; expected the name of a part, as "
            "there is no place to put another model into"
        )
    # All places first: a new module may hold the old one.
    places = [
        (owner, key, old)
        for owner in model.modules()
        for key, old in vars(owner)["_modules"].items()
        if old is not None and id(old) in by_old
    ]
    for owner, key, old in places:
        setattr(owner, key, by_old[id(old)].train(old.training))

    def undo() -> None:
        for owner, key, old in places:
            setattr(owner, key, old)

    return undo


def with_weights(model: nn.Module, name: str) -> nn.Module:
    """A part, or the nearest that it stands in that has parameters."""
    while name and next(module_at(model, name).parameters(), None) is None:
        name = name.rpartition(".")[0]
    return module_at(model, name)
