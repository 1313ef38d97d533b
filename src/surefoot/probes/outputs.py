"""Outputs and targets of a pass come in, how right and sure they were goes out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

from surefoot.types import RUN, Moment, Reading

FEWEST_CLASSES = 2
MOST_CLASSES = 65_536
MOST_SHARES = 64
"""Classes up to here have a share of the batch each."""
QUANTILES: Mapping[str, float] = {
    "q25": 0.25,
    "q50": 0.5,
    "q75": 0.75,
    "q90": 0.9,
    "max": 1.0,
}
IGNORED = -100
"""The target of `cross_entropy` that counts for nothing, unless told otherwise."""

SCORED = ("LogSoftmax", "NllLoss", "NllLoss2D", "Logsumexp", "CrossEntropyLoss")
"""Operations of a loss that take the output for scores of classes."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Sampled rows of scores and what they should have said.

    `scores` has shape `[rows, classes]`, float32; `targets` shape `[rows]`, integers;
    rows with the target `ignored` count for nothing.
    """

    scores: torch.Tensor
    targets: torch.Tensor
    ignored: int = IGNORED


@dataclass(frozen=True, slots=True)
class Output:
    """What the model put out in the first training pass of a step.

    `largest` is the largest magnitude, shape `[1]`; `scores` are sampled rows, shape
    `[rows, classes]`, float32, None where the output is not scores of classes.
    `judged` is there where integer targets are known.
    """

    step: int
    largest: torch.Tensor
    scores: torch.Tensor | None = None
    judged: Judged | None = None


def output_statistics(moment: Moment) -> list[Reading]:
    """Size of the outputs; for scores of classes how sure, and how right they are.

    Reads `moment.seen["output"]`. The square of log Z is what z-loss keeps small
    (Chowdhery et al. 2022, arXiv:2204.02311).
    """
    output: Output | None = moment.seen.get("output")
    if output is None:
        return []
    step = output.step
    readings = [Reading(step, "output_absmax", RUN, output.largest)]
    if output.scores is not None:
        readings += _certainty(step, output.scores)
    if output.judged is not None:
        readings += _correctness(step, output.judged)
    return readings


def _certainty(step: int, scores: torch.Tensor) -> list[Reading]:
    """Square of log Z, and entropy over ln C: means over rows."""
    log_z = scores.logsumexp(1)
    logs = scores - log_z[:, None]
    entropy = torch.special.entr(logs.exp()).sum(1).mean() / math.log(scores.shape[1])
    return [
        Reading(step, "log_z_square", RUN, log_z.square().mean().reshape(1)),
        Reading(step, "output_entropy", RUN, entropy.reshape(1)),
    ]


def _correctness(step: int, judged: Judged) -> list[Reading]:
    """Accuracy, confidence, loss by row, and shares of classes.

    All are NaN where a target is no class: then these are not the scores of it.
    """
    scores, targets = judged.scores, judged.targets
    classes = scores.shape[1]
    counts = targets != judged.ignored
    known = counts & (targets >= 0) & (targets < classes)
    fits = (known == counts).all() & known.any()
    place = torch.where(known, targets, 0)
    logs = functional.log_softmax(scores, 1)
    top, predicted = logs.max(1)
    loss = -logs.gather(1, place[:, None])[:, 0]
    right = known & (predicted == targets)
    rows = known.sum()
    means = {
        "accuracy": right.sum() / rows,
        "confidence": torch.where(known, top.exp(), 0.0).sum() / rows,
    }
    lost = torch.where(known, loss, torch.nan)
    levels = torch.tensor(list(QUANTILES.values()), device=loss.device)
    values = {RUN: means, tuple(QUANTILES): {"example_loss": lost.nanquantile(levels)}}
    if classes <= MOST_SHARES:
        each = (place[:, None] == torch.arange(classes, device=place.device)) & (
            known[:, None]
        )
        values[tuple(str(i) for i in range(classes))] = {
            "target_share": each.sum(0) / rows,
            "target_right": (each & right[:, None]).sum(0) / rows,
        }
    return [
        Reading(step, name, layers, torch.where(fits, value, torch.nan).reshape(-1))
        for layers, named in values.items()
        for name, value in named.items()
    ]
