"""What one update showed comes in as numbers; no rule of the autopilot sees more."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Gradient norms above which an update is skipped, or its gradient clipped.

    None means no limit. A gradient that is not finite is always above both.
    """

    skip: float | None = None
    clip: float | None = None

    def skips(self, norm: float) -> bool:
        """Whether an update with this gradient norm is skipped."""
        return not math.isfinite(norm) or (self.skip is not None and norm > self.skip)

    def clips(self, norm: float) -> bool:
        """Whether this norm is scaled down to the limit."""
        return self.clip is not None and norm > self.clip


@dataclass(frozen=True, slots=True)
class Signal:
    """What is known just before one update is made.

    Attributes:
        step: which update, from 0.
        norm: 2-norm of the whole gradient, unscaled, before any limit.
        loss: the latest loss; None where none is known.
        noise: RMS of first moment over root of second moment, over what pure noise
            would give; None where it was not measured.
        cosine: between the gradient and the previous update downhill; None where it
            was not measured.
        fade: the schedule's learning rate over its highest so far.
        limits: those that were in force for this update.
        late: whether the loss is that of the update before.
        piled: whether the gradient of the update before is still in this one.
        keepable: whether the state before this update can be kept, or was copied.
    """

    step: int
    norm: float
    loss: float | None = None
    noise: float | None = None
    cosine: float | None = None
    fade: float = 1.0
    limits: Limits = Limits()
    late: bool = False
    piled: bool = False
    keepable: bool = True

    @property
    def finite(self) -> bool:
        """Whether gradient and loss are finite, as far as they are known."""
        return math.isfinite(self.norm) and (
            self.loss is None or math.isfinite(self.loss)
        )
