"""A row of numbers on its way from the device comes in, a Signal goes out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surefoot.autopilot.gauges import cosine_of, noise_of
from surefoot.autopilot.signal import Limits, Signal

LAG = 4
"""Updates after which numbers from a device are read: by then they have arrived, and
nobody waits. All ranks read them at the same update."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured of one update: `[loss, losses, norm, piled]`, and five sums.

    `losses` is whether there was a loss, `piled` whether the gradient before is still
    in this one; `looked` says whether the sums of `gauges` were taken. `scaled` is
    whether a GradScaler decides by itself about a gradient that is not finite.
    """

    step: int
    row: Tensor
    arrived: Any
    looked: bool
    scaled: bool
    fade: float
    limits: Limits
    late: bool
    keepable: bool

    def signal(self) -> Signal | None:
        """The numbers, waited for; None where a GradScaler skips the update."""
        if self.arrived is not None:
            self.arrived.synchronize()
        loss, losses, norm, piled, *sums = self.row.tolist()
        if self.scaled and not math.isfinite(norm):
            return None
        return Signal(
            step=self.step,
            norm=norm,
            loss=loss / losses if losses > 0 else None,
            noise=noise_of(sums) if self.looked else None,
            cosine=cosine_of(sums) if self.looked else None,
            fade=self.fade,
            limits=self.limits,
            late=self.late,
            piled=piled > 0,
            keepable=self.keepable,
        )


def on_host(row: Tensor) -> tuple[Tensor, Any]:
    """A copy of a row on the host, and the event at which it has arrived."""
    if not row.is_cuda:
        return row, None
    copy = torch.empty_like(row, device="cpu", pin_memory=True)
    copy.copy_(row, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return copy, event
