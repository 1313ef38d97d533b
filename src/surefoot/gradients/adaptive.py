"""Clips whose threshold comes from the run's own gradients: three rules, one core.

A norm that is not finite never enters a history.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surefoot.gradients.clipping import (
    ClipError,
    NonFinite,
    NormClip,
    positive,
    whole,
)
from surefoot.gradients.numbers import HOST, Norms
from surefoot.gradients.scaling import shortened
from surefoot.schedules.scheduled import Scheduled, value_at


class QuantileClip(NormClip):
    """AutoClip: clip at a quantile of the norms so far (Seetharaman et al. 2020).

    Args:
        quantile: 0 to 1, which may be scheduled. The paper's 10th percentile shortens
            nine gradients of ten, close to a normalised gradient; 0.9 only the long.
        causal: whether the present norm is left out of its own history. The paper's
            code takes it in (False); its package leaves it out, so that a first spike
            cannot raise its own threshold.
        window: how many norms are kept; the paper keeps all.
        ceiling: a threshold that is never exceeded; may be scheduled.
        nonfinite: see `NormClip`.

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> clips = [QuantileClip(0.9, causal=causal) for causal in (False, True)]
    >>> for clip in clips:
    ...     for norm in (1.0, 2.0, 3.0, 4.0, 100.0):
    ...         weight.grad = torch.tensor([norm])
    ...         _ = clip(weight)
    ...     print(round(weight.grad.item(), 3))
    61.6
    3.7

    Raises:
        ClipError: the quantile is no share, the window no whole number.
    """

    def __init__(
        self,
        quantile: float | Scheduled = 0.1,
        *,
        causal: bool = False,
        window: int = 1_000,
        ceiling: float | Scheduled | None = None,
        nonfinite: NonFinite = "keep",
    ) -> None:
        super().__init__(ceiling, nonfinite=nonfinite)
        positive(quantile, "quantile", most=1.0)
        self.quantile, self.causal = quantile, causal
        self.window = whole(window, "window")
        self.memory["norms"] = torch.full((window,), torch.nan)

    def _threshold(self, norms: Norms) -> Any:
        held = self._recall("norms", norms)
        place = self.step % self.window
        before = self._found(norms.xp, held[: self.step]) if self.causal else None
        held[place] = norms.xp.where(norms.finite(), norms.whole, math.nan)
        return (
            self._found(norms.xp, held[: self.step + 1]) if before is None else before
        )

    def _found(self, xp: Any, held: Any) -> Any:
        q = value_at(self.quantile, self.step)
        if xp is HOST:
            return quantile_on_host(held, q)
        if not len(held):
            return torch.full((), math.inf, device=held.device)
        return torch.nanquantile(held, q).nan_to_num_(nan=math.inf)


def quantile_on_host(values: Any, q: float) -> Any:
    """What `torch.nanquantile` gives, in a tenth of the time; infinite of none.

    >>> float(quantile_on_host(np.array([4.0, np.nan, 1.0, 2.0]), 0.75))
    3.0
    """
    count = len(values) - int(np.isnan(values).sum())
    if not count:
        return np.float32(math.inf)
    place = q * (count - 1)
    low = int(place)
    high = min(low + 1, count - 1)
    parted = np.partition(values, (low, high))  # NaN goes last
    return parted[low] + np.float32(place - low) * (parted[high] - parted[low])


class ZScoreClip(NormClip):
    """ZClip: clip norms that lie many standard deviations above the mean (Kumar 2025).

    A norm with z = (norm − μ)/s above z_t is brought to μ + z_t·s/(z/z_t): the farther
    out, the nearer to the mean. μ and s² are exponential averages of the norms after
    clipping, begun with mean and variance of the first ones.

    Args:
        z: z_t, which may be scheduled; 2.5 (ibid.).
        alpha: share of the past in the averages; 0.97 (ibid.).
        warmup: norms that begin the averages, clipped at the ceiling only; 25 (ibid.).
        ceiling: a threshold that is never exceeded; may be scheduled. Theirs is 1.
        nonfinite: see `NormClip`.

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> clip = ZScoreClip(warmup=4)
    >>> for norm in (1.0, 1.2, 0.8, 1.0, 5.0):
    ...     weight.grad = torch.tensor([norm])
    ...     _ = clip(weight)
    >>> round(weight.grad.item(), 5)
    1.03125

    Raises:
        ClipError: a number is out of its range.
    """

    def __init__(
        self,
        z: float | Scheduled = 2.5,
        *,
        alpha: float = 0.97,
        warmup: int = 25,
        ceiling: float | Scheduled | None = None,
        nonfinite: NonFinite = "keep",
    ) -> None:
        super().__init__(ceiling, nonfinite=nonfinite)
        positive(z, "z")
        share(alpha, "alpha")
        self.z, self.alpha = z, alpha
        self.warmup = whole(warmup, "warmup")
        self.memory["count_mean_variance"] = torch.zeros(3)

    @property
    def mean(self) -> float:
        """μ, the average of the norms; reads it from the device."""
        return self.memory["count_mean_variance"][1].item()

    @property
    def variance(self) -> float:
        """s², their average squared distance from it; reads it from the device."""
        return self.memory["count_mean_variance"][2].item()

    def _threshold(self, norms: Norms) -> Any:
        xp, norm = norms.xp, norms.whole
        held = self._recall("count_mean_variance", norms)
        count, mean, variance = held
        warm = count < self.warmup
        z_t = value_at(self.z, self.step)
        spread = variance**0.5
        # 1e-6 as in the reference code, where all norms were alike.
        z = (norm - mean) / (spread + 1e-6)
        far = (z > z_t) & (count >= self.warmup)
        threshold = xp.where(far, mean + z_t * z_t * spread / z, math.inf)
        used = xp.where(far, threshold, norm)
        fresh = xp.stack(self._averaged(xp, (count, mean, variance), used, warm=warm))
        kept = xp.where(norms.finite(), fresh, held)
        self._remember("count_mean_variance", kept)
        return threshold

    def _averaged(
        self, xp: Any, held: tuple[Any, Any, Any], norm: Any, *, warm: Any
    ) -> list[Any]:
        """Mean and variance of the first norms by Welford's rule, then averages."""
        count, mean, variance = held
        weight = xp.where(warm, 1 / (count + 1), 1 - self.alpha)
        new = mean + weight * (norm - mean)
        after = norm - new
        square = after * xp.where(warm, norm - mean, after)
        return [count + 1, new, variance + weight * (square - variance)]


class EmaClip(NormClip):
    """AdaGC: clip each tensor at a multiple of the average of its own norms (2025).

    A tensor with a norm above λγ is scaled to it, alone: one layer that spikes does
    not shorten the gradients of all others. γ is an exponential average of its norms
    after clipping (Wang et al. 2025, arXiv:2502.11034). While it warms up, the whole
    gradient is clipped at `ceiling`, and γ is the smallest norm so far.

    Args:
        relative: λ, which may be scheduled; 1.05 (ibid.).
        beta: share of the past in the average; 0.98 (ibid.).
        warmup: updates that begin it; 100 (ibid.).
        ceiling: of the whole gradient during them, 1 (ibid.); may be scheduled.
        nonfinite: see `NormClip`.

    The parameters must be the same, in the same order, at each call.

    >>> weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    >>> clip = EmaClip(warmup=1, ceiling=None)
    >>> for norm in (1.0, 10.0):
    ...     for weight, own in zip(weights, (norm, 1.0)):
    ...         weight.grad = torch.tensor([own])
    ...     _ = clip(weights)
    >>> [round(weight.grad.item(), 4) for weight in weights]
    [1.05, 1.0]

    Raises:
        ClipError: a number is out of its range; or other parameters come later.
    """

    def __init__(
        self,
        relative: float | Scheduled = 1.05,
        *,
        beta: float = 0.98,
        warmup: int = 100,
        ceiling: float | Scheduled | None = 1.0,
        nonfinite: NonFinite = "keep",
    ) -> None:
        super().__init__(ceiling, nonfinite=nonfinite)
        positive(relative, "relative")
        share(beta, "beta")
        self.relative, self.beta = relative, beta
        self.warmup = whole(warmup, "warmup")

    @property
    def averages(self) -> Tensor:
        """γ of each parameter, NaN where there was no gradient yet, `[parameters]`."""
        return self.memory.get("averages", torch.empty(0))

    def _factor(self, norms: Norms) -> Any:
        """One factor for each gradient that is there."""
        past = self._past(norms)
        here = [i for i in range(len(past)) if i not in norms.absent]
        own = past[here] if norms.absent else past
        factor = self._factors(norms, own)
        fresh = self._averaged(norms.xp, own, norms.row * factor)
        fresh = norms.xp.where(norms.finite(), fresh, own)
        if norms.absent:
            past[here] = fresh
        else:
            self._remember("averages", fresh)
        return factor

    def _factors(self, norms: Norms, own: Any) -> Any:
        """By the own average where there is one, by the whole norm where not."""
        xp = norms.xp
        if self.step < self.warmup:
            return xp.ones_like(norms.row) * super()._factor(norms)
        relative = value_at(self.relative, self.step)
        # 1e-8 as in the reference code: a tensor that had no gradient may get one.
        most = relative * xp.where(own < 1e-8, 1e-8, own)
        alone = shortened(xp, norms.row, most)
        unknown = xp.isnan(own)
        if xp is torch or unknown.any():
            alone = xp.where(unknown, super()._factor(norms), alone)
        return xp.where(norms.finite(), alone, 1.0)

    def _averaged(self, xp: Any, own: Any, clipped: Any) -> Any:
        if self.step < self.warmup:
            return xp.fmin(own, clipped)
        known = xp.where(xp.isnan(own), clipped, own)
        return known + (1 - self.beta) * (clipped - known)

    def _past(self, norms: Norms) -> Any:
        parameters = len(norms.row) + len(norms.absent)
        if "averages" not in self.memory:
            self.memory["averages"] = torch.full((parameters,), torch.nan)
        held = self._recall("averages", norms)
        if len(held) != parameters:
            raise ClipError(
                f"{parameters} parameters came to an EmaClip that knows {len(held)}; "
                "expected the same ones at each call, as each has its own average; "
                "make another one for others"
            )
        return held


def share(value: float, name: str) -> None:
    """Refuse a number outside of 0 to 1, 1 not included.

    Raises:
        ClipError: it is such a number.
    """
    if not 0 <= value < 1:
        raise ClipError(f"{name}={value!r} came; expected a number in [0, 1)")
