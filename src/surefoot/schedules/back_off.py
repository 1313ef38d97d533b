"""A metric comes in, step by step; rates that back off and recover go out."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable
from typing import Any, SupportsFloat

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from surefoot.schedules.errors import ScheduleError
from surefoot.types import Event

KEPT = 1_000
"""Changes that are kept in memory."""


class BackOffLR(ReduceLROnPlateau):
    """torch's `ReduceLROnPlateau` that also recovers, and says when it cannot act.

    After more than `patience` steps without improvement the rates are multiplied by
    `factor`. After `recovery` improvements in a row they are divided by it, up to what
    they were at the start. Each change is an `Event` in `log`, with before, after and
    why, and goes to `tell`.

    A floor above the present rate makes reduction do nothing at all, in torch as in the
    schedulers of others (a floor of 1e-3 and a rate of 5e-5): that is warned of.

    Args:
        optimizer: whose rates.
        factor: between 0 and 1.
        patience: steps without improvement that are borne.
        recovery: improvements in a row that raise the rates again; None for never.
        tell: who hears of each change, such as `run.event`.
        settings: those of `ReduceLROnPlateau`: mode, threshold, cooldown, min_lr, eps.

    >>> import torch
    >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> rates = BackOffLR(sgd, factor=0.5, patience=2, recovery=2)
    >>> for loss in (1.0, 1.0, 1.0, 1.0, 0.8, 0.6):
    ...     rates.step(loss)
    >>> [(event.step, event.body["after"]) for event in rates.log]
    [(4, [0.05]), (6, [0.1])]

    Raises:
        ScheduleError: `recovery` is not a positive number, or what torch refuses.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        factor: float = 0.5,
        patience: int = 10,
        recovery: int | None = None,
        tell: Callable[[Event], None] | None = None,
        **settings: Any,
    ) -> None:
        if (
            not 0 < factor < 1
            or patience < 0
            or (recovery is not None and recovery < 1)
        ):
            raise ScheduleError(
                f"factor={factor!r}, patience={patience!r} and recovery={recovery!r} "
                "came; expected a factor between 0 and 1, a patience of 0 or more, and "
                "a recovery after 1 or more improvements"
            )
        super().__init__(optimizer, factor=factor, patience=patience, **settings)
        self.recovery = recovery
        self.tops = [float(group["lr"]) for group in optimizer.param_groups]
        self.improved = 0
        self.log: deque[Event] = deque(maxlen=KEPT)
        self.tell = tell
        self._warned = False
        self._check_floor()

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take the metric of a step; lower or raise the rates where it is time."""
        self._check_floor()
        better = self._is_better(float(metrics), self.best)
        self.improved = self.improved + 1 if better else 0
        before = self._rates()
        super().step(metrics, epoch)
        if self._rates() != before:
            self.improved = 0
            self._say(before, f"{self.patience + 1} steps without improvement")
        elif self.recovery is not None and self.improved >= self.recovery:
            self._recover(before)

    def state_dict(self) -> dict[str, Any]:
        """All but the optimizer, the log and who hears of it."""
        told = super().state_dict()
        return {k: v for k, v in told.items() if k not in ("log", "tell")}

    def _recover(self, before: list[float]) -> None:
        self.improved = 0
        for group, top in zip(self.optimizer.param_groups, self.tops, strict=True):
            old = float(group["lr"])
            _set_rate(group, max(old, min(top, old / self.factor)))
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
        if self._rates() != before:
            self._say(before, f"{self.recovery} improvements in a row")

    def _say(self, before: list[float], why: str) -> None:
        body = {"before": before, "after": self._rates(), "why": why}
        event = Event(self.last_epoch, "learning_rate", body)
        self.log.append(event)
        if self.tell is not None:
            self.tell(event)

    def _rates(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def _check_floor(self) -> None:
        """Warn once of a floor above the rate: no reduction could ever happen."""
        pairs = zip(self.min_lrs, self._rates(), strict=False)
        above = [pair for pair in pairs if pair[0] > pair[1]]
        if above and not self._warned:
            self._warned = True
            floor, rate = above[0]
            warnings.warn(
                f"the floor min_lr={floor:g} is above the rate {rate:g}: the rate will "
                "never be lowered; set min_lr below it",
                stacklevel=3,
            )


def _set_rate(group: dict[str, Any], rate: float) -> None:
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
