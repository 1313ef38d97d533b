"""Signs that several checks go by: a Trial comes in, plain answers go out."""

from __future__ import annotations

import math
from statistics import median

from torch import nn
from torch.nn import functional as F  # noqa: N812

from surefoot.nn.init.layers import Layer, difference, multiplying
from surefoot.preflight.tape import LossCall
from surefoot.preflight.trial import Trial

EXPERIMENT = "experiment: benchmarks/preflight.py"

FAR_ABOVE = 8.0
"""First loss over that of a guess. Healthy runs of benchmarks/preflight.py stay below
2; a reset head on trained features starts at 1.7."""

LARGE_INPUT = 20.0
"""Root mean square of inputs that are far from unit size: standardised data has 1,
pixels in 0..255 about 100."""

LITTLE = 0.1
"""Healthy networks of benchmarks/preflight.py take a tenth off the loss of one batch
at some rate within 40 updates, and most take half."""

HALF = 0.5

ALIKE = 1e-4
"""Share of the mean square of the outputs that differs between rows, after a fit.
Healthy networks of benchmarks/preflight.py have 4e-4 to 1; those that could not learn
had 1e-13 or less."""

BLIND = 1e-9
"""The same where a constant output took more off the loss, as class shares do."""

OUTLIER = 20.0
"""What a layer makes of differences in its input, against the median layer. Healthy
layers of benchmarks/preflight.py stay within a factor of 8."""


SATURATED = 0.5
"""Share of a layer's outputs at the ends of its range. N(0, 3^2) before a tanh has
0.44; healthy layers of benchmarks/preflight.py have 0.02 or less."""


def guess_ratio(trial: Trial) -> tuple[float, LossCall | None]:
    """The largest first loss of a classification over that of a uniform guess."""
    found = [(ratio, call) for call in trial.calls if (ratio := _ratio(call)) > 0]
    return max(found, key=lambda one: one[0], default=(math.nan, None))


def _ratio(call: LossCall) -> float:
    """Mean loss over ln C, 0 where it is no classification or has other shapes."""
    out, target = call.output.detach().float(), call.target.detach()
    if call.name == "binary_cross_entropy_with_logits" and out.shape == target.shape:
        return float(F.binary_cross_entropy_with_logits(out, target.float())) / LN2
    if call.name != "cross_entropy" or out.dim() < 2 or out.shape[1] < 2:
        return 0.0
    ignored = int(call.settings.get("ignore_index", -100))
    if target.is_floating_point() or not bool((target != ignored).any()):
        return 0.0
    mean = F.cross_entropy(out, target.long(), ignore_index=ignored)
    return float(mean) / math.log(out.shape[1])


LN2 = math.log(2)


def explodes(trial: Trial) -> bool:
    """Whether the first loss, or all trial updates, are out of all proportion."""
    broken = bool(trial.fits) and not any(fit.finite for fit in trial.fits)
    return guess_ratio(trial)[0] > FAR_ABOVE or broken or not math.isfinite(trial.loss)


def overshoots(trial: Trial) -> bool:
    """Whether the first update raises the loss at half its length already."""
    return trial.line is not None and trial.line.critical < 0.5


def learns_nothing(trial: Trial) -> bool:
    """Whether no trial update taught the network to tell its examples apart."""
    if not trial.fits or trial.output is None or inputs_equal(trial):
        return False
    apart = [f.between for f in trial.fits if not math.isnan(f.between)]
    fallen = max((f.fall for f in trial.fits if f.finite), default=-math.inf)
    if not apart or max(apart) >= ALIKE:
        return False
    return fallen < LITTLE or (max(apart) < BLIND and fallen < HALF)


def weighted(trial: Trial) -> list[Layer]:
    """The layers that multiply by a matrix, embeddings left out, in forward order."""
    return multiplying(trial.layers)


def first_input(trial: Trial) -> Layer | None:
    """The first layer that is given numbers."""
    return next((o for o in trial.layers if not math.isnan(o.input_rms)), None)


def inputs_equal(trial: Trial) -> bool:
    """Whether all examples of the batch are the same, as far as can be seen."""
    first = first_input(trial)
    embeds = any(isinstance(one.module, nn.Embedding) for one in trial.layers)
    return first is not None and not embeds and first.input_between == 0


def inputs_large(trial: Trial) -> bool:
    """Whether the network is given inputs far above unit size."""
    first = first_input(trial)
    embeds = bool(trial.layers) and isinstance(trial.layers[0].module, nn.Embedding)
    return first is not None and not embeds and first.input_rms > LARGE_INPUT


def gains(trial: Trial) -> dict[str, float]:
    """Differences in the output over differences in the input of weighted layers."""
    return {
        one.name: difference(one) / (one.input_rms * math.sqrt(one.input_between))
        for one in weighted(trial)
        if one.input_rms > 0 and one.input_between > 0 and math.isfinite(one.rms)
    }


def outlier(trial: Trial) -> tuple[str, float] | None:
    """The layer that enlarges its input far more than the others, and how much more."""
    sizes = gains(trial)
    if len(sizes) < 2:
        return None
    name = max(sizes, key=lambda one: sizes[one])
    usual = median(size for other, size in sizes.items() if other != name)
    if usual <= 0 or sizes[name] < OUTLIER or sizes[name] < OUTLIER * usual:
        return None
    return name, sizes[name] / usual
