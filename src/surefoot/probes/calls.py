"""The forward calls of a step: hooks on the models come in, calls to repeat go out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from surefoot.probes.activations import in_training_pass
from surefoot.probes.meter import Meter
from surefoot.probes.nonfinite import Call
from surefoot.probes.shield import Shield
from surefoot.probes.streams import unwrapped
from surefoot.restore.hooks import VanishingHook

MOST_CALLS = 32
"""Calls kept for one update: micro-batches beyond it push out the oldest."""


class Calls:
    """What the models of a stream were called with since the last update.

    `passes` counts all calls so far. References to detached inputs, nothing is
    copied but the state of the random stream. Calls without gradients (evaluation)
    are left out.
    """

    def __init__(
        self, roots: Iterable[nn.Module], meter: Meter, shield: Shield
    ) -> None:
        self.meter = meter
        self.shield = shield
        self.passes = 0
        self._ungraded: bool | None = None
        self._told: bool | None = None
        self.latest: deque[Call] = deque(maxlen=MOST_CALLS)
        self._inner = {root: unwrapped(root) for root in roots}
        self._handles = [
            root.register_forward_pre_hook(_CallHook(self), with_kwargs=True)
            for root in self._inner
        ]

    def see(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Remember one call."""
        if not torch.is_grad_enabled():
            self._ungraded = self._inner[module].training
        if not in_training_pass():
            return
        if kwargs or not all(isinstance(a, torch.Tensor) for a in args):
            args, kwargs = pytree.tree_map_only(torch.Tensor, _free, (args, kwargs))
        else:
            args = tuple(_free(a) for a in args)
        self.passes += 1
        inner = self._inner[module]
        device = "cuda" if torch.is_autocast_enabled("cuda") else "cpu"
        self.latest.append(
            Call(
                module=inner,
                args=args,
                kwargs=kwargs,
                rng=torch.get_rng_state(),
                autocast=(
                    device,
                    torch.is_autocast_enabled(device),
                    torch.get_autocast_dtype(device),
                ),
                training=inner.training,
            )
        )

    def evaluated(self, names: Iterable[str]) -> dict[str, Any] | None:
        """The mode of the last call without gradients, told once for each change.

        `names` are the metrics that were logged after it.
        """
        mode, self._ungraded = self._ungraded, None
        if mode is None or mode == self._told:
            return None
        self._told = mode
        return {"training": mode, "metrics": list(names)}

    def remove(self) -> None:
        """Take the hooks off and forget the calls."""
        self.latest.clear()
        for handle in self._handles:
            handle.remove()


def _free(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor without the graph that it may hold on to."""
    return tensor.detach() if tensor.requires_grad else tensor


class _CallHook(VanishingHook):
    """The hook of one model."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling():
            return
        calls = self._calls
        with calls.meter:
            calls.shield.run("model calls", lambda: calls.see(module, args, kwargs))
