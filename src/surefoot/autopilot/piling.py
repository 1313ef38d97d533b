"""Gradients come in, out goes whether those of the update before are still in them.

Where `zero_grad()` is missing, each update follows the sum of all gradients so far: the
loss rises, and nothing that is done to the weights or the rate can help.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from surefoot.gradients.norms import is_sharded, weights_of
from surefoot.probes.shield import Shield

UPDATES = 64
"""For how many updates it is looked at: a script that clears its gradients once does
so always."""

NAME = "a look at whether gradients are cleared"

LARGEST = 65536
"""Numbers in the tensor that is looked at: comparing more would cost."""


class Piling:
    """Looks at one gradient from after an update until the next gradient comes.

    Whoever accumulates over several batches on purpose clears it after the update, and
    is not meant.
    """

    def __init__(self, optimizer: Optimizer, shield: Shield) -> None:
        self._optimizer, self._shield = optimizer, shield
        self._found: Tensor | None = None
        self._cleared = False
        self._hook: Any = None

    def arm(self, step: int) -> None:
        """Just after an update: what is in the gradient now?"""
        weight = self._chosen() if step < UPDATES else None
        if weight is None or weight.grad is None:
            return
        kept = weight.grad.detach().clone()

        def look(gradient: Tensor) -> None:
            """Called just before the new gradient is added to what is there."""
            self._shield.run(NAME, lambda: self._look(weight, kept))

        self._hook = weight.register_hook(look)

    def seen(self) -> Tensor | float:
        """One where the gradient before is still in this one, else zero."""
        found = 0.0 if self._found is None or self._cleared else self._found
        self.close()
        return found

    def close(self) -> None:
        """Look no more."""
        self._found, self._cleared = None, False
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _look(self, weight: Tensor, kept: Tensor) -> None:
        if weight.grad is None or self._cleared:
            # Perhaps not at once: in a GAN another model's loss may come first.
            self._cleared = True
            return
        with torch.no_grad():
            there = (weight.grad != 0).any()
            if self._found is None:
                there &= (weight.grad == kept).all()
            self._found = there.float() * (1.0 if self._found is None else self._found)

    def _chosen(self) -> Tensor | None:
        """The last tensor that is not large: near the loss, where gradients are."""
        small = [
            weight
            for weight in weights_of(self._optimizer)
            if weight.grad is not None
            and weight.is_leaf
            and weight.requires_grad
            and weight.numel() <= LARGEST
            and weight.grad.layout is torch.strided
            and not is_sharded(weight)
        ]
        return small[-1] if small else None
