"""Checks of normalisation and dropout: a Trial comes in, Notices go out."""

from __future__ import annotations

from torch import nn

from surefoot.nn.init.layers import Layer
from surefoot.nn.norm.variance_error import crossover_batch, variance_error
from surefoot.preflight.report import Notice
from surefoot.preflight.trial import Trial
from surefoot.types import Evidence

WU_HE = "Wu & He 2018, arXiv:1803.08494"

FEW_EXAMPLES = 4
UNSURE_EXAMPLES = 8
"""Wu & He 2018, figure 1: a ResNet-50 loses 11 points with 2 images a batch, 4 with 4
and 1 with 8, against 32."""

FEW_VALUES = 4
UNSURE_VALUES = 8
"""Values a channel: the variance of 4 is off by 0.82 of itself, that of 8 by 0.53."""

SLOW = 0.005
"""Three time constants of it are 600 updates. Published recipes go down to 0.001, for
runs of a hundred thousand."""

STRONG_DROPOUT = 0.9
"""Healthy networks of benchmarks/preflight.py train with up to 0.7."""

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


def few_values(trial: Trial) -> list[Notice]:
    """Batch norms that train see enough examples and values."""
    for one in trial.layers:
        norm = one.module
        if not isinstance(norm, BATCH_NORMS) or not norm.training:
            continue
        examples, error = one.shape[0], variance_error(one.rows)
        seen = (
            Evidence("examples in the batch", examples, UNSURE_EXAMPLES, WU_HE),
            Evidence("values a channel", one.rows, UNSURE_VALUES, WU_HE),
        )
        detail = (
            f"{one.name} has {one.rows} values a channel from {examples} examples: its "
            f"variance is off by {error:.0%}; a group norm of 2 channels a group would "
            f"be better up to batches of {crossover_batch(2, 1)}."
        )
        if examples <= FEW_EXAMPLES or one.rows <= FEW_VALUES:
            return [Notice("SF501", "warning", one.name, detail, seen)]
        if examples <= UNSURE_EXAMPLES or one.rows <= UNSURE_VALUES:
            return [Notice("SF501", "info", one.name, detail, seen)]
    return []


def too_few_to_run(error: ValueError) -> Notice | None:
    """The notice for what torch says when a batch norm gets one value a channel."""
    if "more than 1 value per channel" not in str(error):
        return None
    seen = Evidence("values a channel", 1.0, 2.0, WU_HE)
    detail = f"The forward pass stopped: {error}."
    return Notice("SF501", "error", "run", detail, (seen,))


def modes(trial: Trial) -> list[Notice]:
    """The model is in training mode where that makes a difference."""
    still = [one for one in trial.layers if _matters(one) and not one.module.training]
    if not still:
        return []
    names = tuple(one.name for one in still)
    whole = not trial.subject.model.training
    seen = Evidence("modules in evaluation mode", len(still), 0.0, "training flags")
    detail = f"In evaluation mode: {', '.join(names[:4])}."
    if whole:
        return [Notice("SF502", "warning", "run", detail, (seen,), names)]
    return [Notice("SF502", "info", names[0], detail, (seen,), names)]


def _matters(one: Layer) -> bool:
    """Whether a module does something else in training than in evaluation."""
    module = one.module
    if isinstance(module, BATCH_NORMS):
        return module.track_running_stats and any(
            weight.requires_grad for weight in module.parameters(False)
        )
    return isinstance(module, DROPOUTS) and module.p > 0


def momentum(trial: Trial) -> list[Notice]:
    """Batch norms follow the statistics of their batches."""
    for one in trial.layers:
        norm = one.module
        if not isinstance(norm, BATCH_NORMS) or norm.momentum is None:
            continue
        follows = norm.track_running_stats and norm.training
        if follows and norm.momentum < SLOW:
            still = norm.momentum == 0
            source = "torch.nn.BatchNorm2d"
            seen = Evidence(f"momentum of {one.name}", norm.momentum, SLOW, source)
            detail = (
                f"{one.name} keeps its running statistics as they are."
                if still
                else f"{one.name} needs {3 / norm.momentum:.0f} updates to settle."
            )
            severity = "warning" if still else "info"
            return [Notice("SF503", severity, one.name, detail, (seen,))]
    return []


def dropout(trial: Trial) -> list[Notice]:
    """No dropout drops nearly everything."""
    for one in trial.layers:
        drop = one.module
        if isinstance(drop, DROPOUTS) and drop.training and drop.p >= STRONG_DROPOUT:
            source = "experiment: benchmarks/preflight.py"
            seen = Evidence(f"p of {one.name}", drop.p, STRONG_DROPOUT, source)
            detail = f"{one.name} zeroes {drop.p:.0%} of what it is given."
            return [Notice("SF504", "warning", one.name, detail, (seen,))]
    return []


ALL = (few_values, modes, momentum, dropout)
