"""Batch renormalisation: what training sees is what evaluation will see, on any batch.

A batch that is small, or drawn class by class, has other statistics than the data.
Batch norm trains on the batch's and evaluates with the running ones; this corrects the
first by the second, without a gradient through the correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.masked import BatchNormed
from surefoot.nn.norm.shared import Shared, affine_of, normalised, traced

HOLD, R_STEPS, D_STEPS = 5_000, 40_000, 25_000
"""Steps of the ramp of Ioffe 2017 (arXiv:1702.03275), section 4: plain batch norm at
first, then r to 3 at step 40,000 and d to 5 at 25,000. Its averages had rate 0.01."""


@dataclass(frozen=True, slots=True)
class _Towards:
    """Running statistics and limits, as the correction of a batch."""

    running: tuple[Tensor, Tensor]
    limits: tuple[Tensor | float, Tensor | float]
    eps: float

    def __call__(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        (of, spread), (r_max, d_max) = self.running, self.limits
        inverse = (spread.to(mean.dtype) + self.eps).rsqrt()
        r: Any = (variance + self.eps).sqrt() * inverse
        d: Any = (mean - of) * inverse
        return r.clamp(1 / r_max, r_max), d.clamp(-d_max, d_max)


def batch_renorm(
    values: Tensor,
    *,
    running: tuple[Tensor, Tensor],
    limits: tuple[Tensor | float, Tensor | float],
    affine: tuple[Tensor | None, Tensor | None] = (None, None),
    eps: float = 1e-5,
    synced: bool = False,
) -> BatchNormed:
    """Batch norm of values, corrected by running statistics that it does not change.

    y = γ(x̂ r + d) + β with r = clip(σ_B/σ, 1/r_max, r_max) and
    d = clip((μ_B - μ)/σ, -d_max, d_max), both constants in the backward pass.

    Args:
        values: `[N, C, *]`.
        running: μ and σ² `[C]`, from before the batch.
        limits: r_max, 1 or more, and d_max, 0 or more; both may be infinite.
        affine: γ and β `[C]`.
        eps: ε, added to both variances.
        synced: statistics of the batch over all processes of the default group.

    >>> x, no_limits = torch.tensor([[1.0], [3.0]]), (float("inf"), float("inf"))
    >>> running = (torch.tensor([0.0]), torch.tensor([4.0]))
    >>> batch_renorm(x, running=running, limits=no_limits).values.flatten()
    tensor([0.5000, 1.5000])
    """
    correct = _Towards(running, limits, eps)
    if _in_rows(values) and not (synced or traced()):
        return _of_rows(values, correct, affine)
    shared = Shared(values.shape[1], over_batch=True, synced=synced, eps=eps)
    out, *about = normalised(
        values, None, weight=affine[0], bias=affine[1], shared=shared, correct=correct
    )
    mean, variance, count = (one.flatten() for one in about)
    return BatchNormed(out, mean, variance, count)


def _in_rows(values: Tensor) -> bool:
    """Whether channels lie side by side, where torch's own statistics are fast."""
    last = torch.channels_last
    rows = values.dim() == 2 or values.is_contiguous(memory_format=last)
    return rows and values.device.type == "cpu" and values.element_size() >= 4


def _of_rows(
    values: Tensor, correct: _Towards, affine: tuple[Tensor | None, Tensor | None]
) -> BatchNormed:
    with torch.no_grad():
        mean, variance = torch.batch_norm_update_stats(values, None, None, 0.0)
        r, d = correct(mean, variance)
    weight, bias = affine_of(*affine, r=r, d=d)
    out = functional.batch_norm(
        values, None, None, weight, bias, training=True, eps=correct.eps
    )
    number = variance.new_full((1,), values.numel() // values.shape[1])
    return BatchNormed(out, mean, variance, number)


class _BatchRenorm(nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage]
    """What batch renormalisation of all dimensions shares."""

    r_max: Tensor
    d_max: Tensor

    def __init__(
        self,
        num_features: int,
        *,
        limits: tuple[float, float] = (3.0, 5.0),
        ramp: tuple[int, int, int] = (HOLD, R_STEPS, D_STEPS),
        synced: bool = False,
        momentum: float | None = 0.01,
        **of: Any,
    ) -> None:
        _check(limits, ramp, tracks=of.get("track_running_stats", True))
        super().__init__(num_features, momentum=momentum, **of)
        self.ramp, self.synced, self.ends = ramp, synced, limits
        for name in ("r_max", "d_max"):
            value = torch.zeros((), device=of.get("device"))
            self.register_buffer(name, value, persistent=False)
        self.reset_running_stats()

    def reset_running_stats(self) -> None:
        """Statistics of nothing, and the ends of the limits as they were given."""
        super().reset_running_stats()
        if "r_max" in self._buffers:  # not yet while torch's own is made
            self.r_max.fill_(self.ends[0])
            self.d_max.fill_(self.ends[1])

    def limits(self) -> tuple[Tensor, Tensor]:
        """r_max and d_max at the present step of the ramp."""
        assert self.num_batches_tracked is not None
        hold, *ends = self.ramp
        past = (self.num_batches_tracked - hold).clamp(min=0)
        r, d = ((past / max(1, end - hold)).clamp(max=1) for end in ends)
        most = torch.finfo(self.r_max.dtype).max  # infinity times 0 would be NaN
        one = torch.ones_like(self.r_max)
        return one.lerp(self.r_max.clamp(max=most), r), self.d_max.clamp(max=most) * d

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `[N, C, *]`."""
        self._check_input_dim(input)
        mean, variance = self.running_mean, self.running_var
        assert mean is not None
        assert variance is not None
        if not self.training:
            return functional.batch_norm(
                input, mean, variance, self.weight, self.bias, eps=self.eps
            )
        if input.numel() == input.shape[1] and not self.synced:
            raise NormError(
                f"one value a channel came, {list(input.shape)}, in training mode; "
                "batch statistics need two or more: use a larger batch, or eval()"
            )
        batch = batch_renorm(
            input, running=(mean, variance), limits=self.limits(),
            affine=(self.weight, self.bias), eps=self.eps, synced=self.synced,
        )  # fmt: skip
        self._follow(batch, mean, variance)
        return batch.values

    @torch.no_grad()
    def _follow(self, batch: BatchNormed, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None
        batches = self.num_batches_tracked.add_(1)
        rate: Any = self.momentum
        if rate is None:
            rate = (1 / batches).to(mean.dtype)
        unbiased = batch.variance * (batch.valid / (batch.valid - 1))
        mean.lerp_(batch.mean.to(mean.dtype), rate)
        variance.lerp_(unbiased.to(variance.dtype), rate)

    def extra_repr(self) -> str:
        """The settings."""
        limits = (self.r_max.item(), self.d_max.item())
        told = f"{super().extra_repr()}, limits={limits}, ramp={self.ramp}"
        return told + (", synced=True" if self.synced else "")


class BatchRenorm1d(_BatchRenorm):
    """Batch renormalisation of `[N, C]` or `[N, C, L]`, for small or uneven batches.

    In training y = γ(x̂ r + d) + β, where x̂ is what batch norm would make,
    r = σ_B/σ within 1/r_max to r_max and d = (μ_B - μ)/σ within ±d_max, from the
    running statistics before the batch and without a gradient. Without limits it is
    what evaluation would give with them; with (1, 0) it is `nn.BatchNorm1d`. In
    evaluation it always is, and the state dicts are the same.

    Args:
        num_features: C.
        limits: r_max and d_max at the end of the ramp; 3 and 5 as in the paper.
        ramp: steps `(hold, r_steps, d_steps)`: both limits are those of batch norm
            until `hold`, then r_max and d_max grow to their ends at the other two, as
            counted by `num_batches_tracked`. With (0, 0, 0) they hold from the second
            batch on.
        synced: statistics of the batch over all processes of the default group.
        momentum: rate of the running averages, 0.01 as in the paper.
        of: `eps`, `affine`, `device`, `dtype`, as of `nn.BatchNorm1d`.

    `r_max` and `d_max` are buffers, not saved: `surefoot.schedules.Vary` may vary them.

    Raises:
        NormError: limits or a ramp that cannot be; one value a channel in training.

    S. Ioffe 2017, arXiv:1702.03275.

    >>> norm = BatchRenorm1d(4, ramp=(100, 400, 250))
    >>> _ = norm(torch.randn(2, 4))
    >>> [limit.item() for limit in norm.limits()]
    [1.0, 0.0]
    """

    def _check_input_dim(self, input: Tensor) -> None:
        _check_dimensions(input, (2, 3), "[N, C] or [N, C, L]")


class BatchRenorm2d(_BatchRenorm):
    """Batch renormalisation of `[N, C, H, W]`; see `BatchRenorm1d`."""

    def _check_input_dim(self, input: Tensor) -> None:
        _check_dimensions(input, (4,), "[N, C, H, W]")


class BatchRenorm3d(_BatchRenorm):
    """Batch renormalisation of `[N, C, D, H, W]`; see `BatchRenorm1d`."""

    def _check_input_dim(self, input: Tensor) -> None:
        _check_dimensions(input, (5,), "[N, C, D, H, W]")


def _check(
    limits: tuple[float, float], ramp: tuple[int, int, int], *, tracks: bool
) -> None:
    if not (limits[0] >= 1 and limits[1] >= 0):
        raise NormError(
            f"limits={limits} came; expected r_max of 1 or more and d_max of 0 or more"
        )
    if not (ramp[0] >= 0 and min(ramp[1:]) >= ramp[0]):
        raise NormError(
            f"ramp={ramp} came; expected (hold, r_steps, d_steps) of which the last "
            "two are no less than the first"
        )
    if not tracks:
        raise NormError(
            "track_running_stats=False came; the running statistics are what batches "
            "are corrected by; use a batch norm"
        )


def _check_dimensions(values: Tensor, known: tuple[int, ...], shapes: str) -> None:
    if values.dim() not in known:
        raise NormError(f"values {list(values.shape)} came; expected {shapes}")
