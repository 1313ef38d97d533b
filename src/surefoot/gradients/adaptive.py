"""Clips whose threshold comes from the run's own gradients: three rules, one core.

A norm that is not finite never enters a history.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from surefoot.gradients.clipping import (
    ClipError,
    NonFinite,
    NormClip,
    positive,
    shortened,
    whole,
)
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

    def _threshold(self, norm: Tensor) -> Tensor:
        norms = self._remembered("norms", norm.device)
        if self.causal:
            found = self._found(norms[: self.step])
            self._note(norms, norm)
            return found
        self._note(norms, norm)
        return self._found(norms[: self.step + 1])

    def _note(self, norms: Tensor, norm: Tensor) -> None:
        norms[self.step % self.window] = torch.where(norm < math.inf, norm, torch.nan)

    def _found(self, norms: Tensor) -> Tensor:
        if not len(norms):
            return torch.full((), math.inf, device=norms.device)
        share = value_at(self.quantile, self.step)
        return torch.nanquantile(norms, share).nan_to_num_(nan=math.inf)


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

    def _threshold(self, norm: Tensor) -> Tensor:
        held = self._remembered("count_mean_variance", norm.device)
        count, mean, variance = held.unbind()
        warm = count < self.warmup
        z_t = value_at(self.z, self.step)
        spread = variance.sqrt()
        # 1e-6 as in the reference code, where all norms were alike.
        z = (norm - mean) / (spread + 1e-6)
        threshold = torch.where(
            (z > z_t) & ~warm, mean + z_t * z_t * spread / z, math.inf
        )
        fresh = self._averaged(held, torch.minimum(norm, threshold), warm)
        kept = torch.where(norm < math.inf, fresh, held)
        self.memory["count_mean_variance"] = kept
        return threshold

    def _averaged(self, held: Tensor, norm: Tensor, warm: Tensor) -> Tensor:
        """Mean and variance of the first norms by Welford's rule, then averages."""
        count, mean, variance = held.unbind()
        weight = torch.where(warm, 1 / (count + 1), 1 - self.alpha)
        new = torch.lerp(mean, norm, weight)
        after = norm - new
        square = after * torch.where(warm, norm - mean, after)
        return torch.stack([count + 1, new, torch.lerp(variance, square, weight)])


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

    def _factor(self, norm: Tensor, row: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """One factor for each gradient that is there."""
        past = self._past(len(weights), row.device)
        here = [place for place, one in enumerate(weights) if one.grad is not None]
        whole_row = len(here) == len(weights)
        own = past if whole_row else past[here]
        factor = self._factors(norm, row, own)
        fresh = self._averaged(own, row * factor)
        fresh = torch.where(norm < math.inf, fresh, own)
        self.memory["averages"] = fresh if whole_row else _put(past, here, values=fresh)
        return factor

    def _factors(self, norm: Tensor, row: Tensor, own: Tensor) -> Tensor:
        """By the own average where there is one, by the whole norm where not."""
        together = super()._factor(norm, row, ())
        if self.step < self.warmup:
            return together.expand_as(row)
        relative = value_at(self.relative, self.step)
        # 1e-8 as in the reference code: a tensor that had no gradient may get one.
        alone = shortened(row, relative * own.clamp_min(1e-8))
        factor = torch.where(own.isnan(), together, alone)
        return torch.where(norm < math.inf, factor, 1.0)

    def _averaged(self, own: Tensor, clipped: Tensor) -> Tensor:
        if self.step < self.warmup:
            return torch.fmin(own, clipped)
        known = torch.where(own.isnan(), clipped, own)
        return torch.lerp(known, clipped, 1 - self.beta)

    def _past(self, parameters: int, device: torch.device) -> Tensor:
        if "averages" not in self.memory:
            self.memory["averages"] = torch.full((parameters,), torch.nan)
        held = self._remembered("averages", device)
        if len(held) != parameters:
            raise ClipError(
                f"{parameters} parameters came to an EmaClip that knows {len(held)}; "
                "expected the same ones at each call, as each has its own average; "
                "make another one for others"
            )
        return held


def _put(row: Tensor, places: Sequence[int], *, values: Tensor) -> Tensor:
    fresh = row.clone()
    fresh[list(places)] = values
    return fresh


def share(value: float, name: str) -> None:
    """Refuse a number outside of 0 to 1, 1 not included.

    Raises:
        ClipError: it is such a number.
    """
    if not 0 <= value < 1:
        raise ClipError(f"{name}={value!r} came; expected a number in [0, 1)")
