"""Scores and labels come in, losses that wrong labels pull less go out.

Bi-tempered logistic loss is in the pytorch_optimizer package
(`BiTemperedLogisticLoss`); label smoothing is torch's own.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from surefoot.nn.regularize.errors import RegularizeError

Reduction = Literal["mean", "sum", "none"]


def generalized_cross_entropy(
    scores: Tensor,
    targets: Tensor,
    *,
    q: float | Tensor = 0.7,
    reduction: Reduction = "mean",
) -> Tensor:
    """(1 - p^q)/q of the label's probability p; cross-entropy at q = 0, 1 - p at q = 1.

    A label's pull is p^q of what it has in cross-entropy: labels that the network does
    not believe pull little (Zhang & Sabuncu 2018, arXiv:1805.07836, who use 0.7).

    Args:
        scores: logits `[N, classes]`.
        targets: class indices `[N]`.
        q: from 0 to 1; a number, or a tensor of no dimensions that may vary.
        reduction: "mean", "sum" or "none".

    >>> even = torch.zeros(1, 2)
    >>> round(generalized_cross_entropy(even, torch.tensor([0]), q=0.7).item(), 5)
    0.54918

    Raises:
        RegularizeError: q outside 0 to 1, or shapes that do not fit.
    """
    if not isinstance(q, Tensor) and not 0 <= q <= 1:
        raise RegularizeError(f"q={q!r} came; expected a number from 0 to 1")
    told = _log_probability(scores, targets)
    power = torch.as_tensor(q, dtype=told.dtype, device=told.device)
    # expm1 keeps all digits where q is small. Below the least q the limit -log p is
    # exact to rounding, and 1/q would overflow.
    bent = power > torch.finfo(told.dtype).eps ** 2
    safe = torch.where(bent, power, torch.ones_like(power))
    losses = torch.where(bent, -torch.expm1(safe * told) / safe, -told)
    return _reduced(losses, reduction)


def symmetric_cross_entropy(
    scores: Tensor,
    targets: Tensor,
    *,
    alpha: float = 0.1,
    beta: float = 1.0,
    log_zero: float = -4.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """α·CE + β·RCE, RCE being cross-entropy with label and prediction exchanged.

    With one-hot labels log 0 is replaced by A, so that RCE = -A(1 - p): bounded, and
    finite at p = 0 and p = 1 (Wang et al. 2019, arXiv:1908.06112; A = -4, and 0.1 and 1
    for α and β on CIFAR-10).

    Args:
        scores: logits `[N, classes]`.
        targets: class indices `[N]`.
        alpha: weight of cross-entropy.
        beta: weight of reverse cross-entropy.
        log_zero: A, below 0.
        reduction: "mean", "sum" or "none".

    >>> even = torch.zeros(1, 2)
    >>> round(symmetric_cross_entropy(even, torch.tensor([0])).item(), 5)
    2.06931

    Raises:
        RegularizeError: A is not below 0, a weight is, or shapes that do not fit.
    """
    if not (log_zero < 0 and alpha >= 0 and beta >= 0):
        raise RegularizeError(
            f"alpha={alpha}, beta={beta}, log_zero={log_zero} came; expected weights "
            "of 0 or more, and a log of zero below 0"
        )
    told = _log_probability(scores, targets)
    return _reduced(-alpha * told + beta * log_zero * torch.expm1(told), reduction)


def _log_probability(scores: Tensor, targets: Tensor) -> Tensor:
    """Log p of each label, in float32 at least."""
    if scores.dim() != 2 or targets.shape != scores.shape[:1]:
        raise RegularizeError(
            f"scores of shape {tuple(scores.shape)} and targets of "
            f"{tuple(targets.shape)} came; expected [N, classes] and [N]"
        )
    half = scores.dtype in (torch.float16, torch.bfloat16)
    told = functional.log_softmax(scores.float() if half else scores, dim=1)
    return told.gather(1, targets[:, None]).squeeze(1)


def _reduced(losses: Tensor, reduction: Reduction) -> Tensor:
    if reduction not in get_args(Reduction):
        raise RegularizeError(
            f"reduction={reduction!r} came; expected one of "
            f"{', '.join(get_args(Reduction))}"
        )
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()
