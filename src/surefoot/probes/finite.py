"""Is this step finite? Gradient norms come in, a search for the origin goes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from surefoot.probes.nonfinite import Call
from surefoot.probes.ring import Ring
from surefoot.probes.search import Search
from surefoot.probes.shield import Shield
from surefoot.probes.streams import Watched

SEARCH = "search for non-finite values"


class FiniteCheck:
    """Looks at each step for non-finite gradients; `asked` is `Options.check_finite`.

    `skipped` is called where a GradScaler skips the update.
    """

    def __init__(
        self,
        search: Search,
        shield: Shield,
        *,
        asked: bool | None,
        skipped: Callable[[], None],
    ) -> None:
        self._search = search
        self._shield = shield
        self._asked = asked
        self._skipped = skipped

    def wanted(self, watched: Watched) -> bool:
        """Whether the gradients of a step are looked at on the host."""
        if self._asked is not None:
            return self._asked
        return all(weight.is_cpu for weight in watched.weights[:1])

    def step(
        self,
        step: int,
        norms: Ring | None,
        *,
        calls: Sequence[Call],
        watched: Watched,
    ) -> None:
        """Search for the origin where the gradients of this step are not finite."""
        if _skips(watched.optimizer):
            self._skipped()
        elif norms is None or math.inf not in norms.latest:
            self._search.finite()
        else:
            found = list(calls)
            self._shield.run(
                SEARCH, lambda: self._search.gradients(step, found, watched.modules)
            )

    def loss(
        self,
        step: int,
        calls: Sequence[Call],
        modules: Mapping[str, nn.Module],
        *,
        value: torch.Tensor,
        line: str,
    ) -> None:
        """Search for the origin of a non-finite loss; `line` calls backward on it."""
        found = list(calls)
        self._shield.run(
            SEARCH,
            lambda: self._search.loss(step, found, modules, value=value, line=line),
        )

    def told(self, batch: object) -> None:
        """The batch of the update just made, None if it stays unknown."""
        self._shield.run(SEARCH, lambda: self._search.told(batch))


def _skips(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a fused optimizer is about to skip this step by itself."""
    found = getattr(optimizer, "found_inf", None)
    return isinstance(found, torch.Tensor) and bool(found)
