"""Checks of the optimizer: a Trial comes in, Notices go out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from statistics import median
from typing import Any

import torch
from torch import nn

from surefoot.nn.regularize.decay import is_gain_or_bias
from surefoot.preflight.report import Notice
from surefoot.preflight.signs import EXPERIMENT, LITTLE
from surefoot.preflight.trial import Trial
from surefoot.types import Evidence

DECOUPLED = ("AdamW", "SGDW", "Lion", "LAMB", "Muon")

DECAY_A_STEP = 0.01
"""Share of a weight that decay may take at one update. The weights turn by
sqrt(2 lr decay) an update in balance (Kosson et al. 2024, arXiv:2305.17212): 0.14 rad
here, ten times the usual 0.0141 of lr 1e-3 and decay 0.1."""

OVER_LOSS, OVER_GRADIENT = 1.0, 2.0
"""Penalty over loss, and decay over gradient, from which decay rules the training.
The usual 1e-4 to 5e-4 of SGD gives 0.1 or less of each at the start."""

EPSILON_OVER_GRADIENT = 10.0
"""Above it, epsilon makes the update a tenth of the learning rate or less."""


def belongs(trial: Trial) -> list[Notice]:
    """The optimizer holds weights of this model, each once, and some can train."""
    weights = dict(trial.subject.model.named_parameters())
    if not any(weight.requires_grad for weight in weights.values()):
        seen = Evidence("weights that ask for a gradient", 0.0, 1.0, "requires_grad")
        detail = f"None of {len(weights)} parameters has requires_grad."
        return [Notice("SF203", "error", "run", detail, (seen,))]
    if trial.subject.optimizer is None:
        return []
    held = trial.subject.held()
    if not any(id(weight) in held for weight in weights.values()):
        seen = Evidence("weights of the model in the optimizer", 0.0, 1.0, "identity")
        detail = f"It holds {len(held)} tensors, none of them the model's."
        return [Notice("SF202", "error", "run", detail, (seen,))]
    return [*_left_out(trial), *_twice(trial)]


def _left_out(trial: Trial) -> Iterator[Notice]:
    """Trainable weights in no optimizer, behind ones that are in it, or fresh."""
    held, names = trial.subject.held(), trial.names
    inside, missing = False, list[str]()
    for one in trial.layers:
        own = [w for w in one.module.parameters(False) if w.requires_grad]
        if any(id(w) in held for w in own):
            inside = True
        elif inside or is_fresh(one.module):
            got = [names[id(w)] for w in own if id(w) in names]
            missing += [n for n in got if trial.gradients.get(n) is not None]
    missing = [name for name in missing if name not in trial.elsewhere]
    if missing:
        layer = missing[0].rpartition(".")[0] or missing[0]
        seen = Evidence("trainable weights left out", len(missing), 0.0, "identity")
        detail = f"No optimizer holds {', '.join(missing[:4])}."
        yield Notice("SF201", "error", layer, detail, (seen,), tuple(missing))


def is_fresh(module: nn.Module) -> bool:
    """Whether all matrices are just as torch draws them: a trained backbone is not.

    torch draws linear, convolution and recurrent weights evenly from ±1/sqrt(n), with
    n the inputs of a unit, or the units of a recurrent layer.

    >>> is_fresh(nn.Linear(64, 64))
    True
    """
    matrices = [w.detach() for w in module.parameters(False) if w.dim() >= 2]
    known = isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.RNNBase))
    if not known or not matrices:
        return False
    return all(_drawn_evenly(w, _fan(module, w)) for w in matrices)


def _fan(module: nn.Module, weight: torch.Tensor) -> int:
    if isinstance(module, nn.RNNBase):
        return module.hidden_size
    return weight[0].numel()


FEWEST_WEIGHTS = 64


def _drawn_evenly(weight: torch.Tensor, fan: int) -> bool:
    """Whether the largest weight and the spread are those of ±1/sqrt(fan)."""
    bound = fan**-0.5
    if weight.numel() < FEWEST_WEIGHTS or float(weight.abs().max()) > 1.0001 * bound:
        return False
    # Four standard errors of the deviation of even numbers, 0.45 / sqrt(n).
    allowed = 1.8 * weight.numel() ** -0.5
    return abs(float(weight.std()) * math.sqrt(3) / bound - 1) < allowed


def _twice(trial: Trial) -> Iterator[Notice]:
    optimizer = trial.subject.optimizer
    groups = [] if optimizer is None else optimizer.param_groups
    counts = Counter(id(w) for group in groups for w in group["params"])
    twice = [trial.names.get(key, "?") for key, n in counts.items() if n > 1]
    if twice:
        seen = Evidence("weights held more than once", len(twice), 0.0, "identity")
        detail = f"Held more than once: {', '.join(twice[:4])}."
        yield Notice("SF204", "error", twice[0], detail, (seen,), tuple(twice))


# --- settings -------------------------------------------------------------------


def rate(trial: Trial) -> list[Notice]:
    """Some group has a learning rate; schedules may begin at zero."""
    groups = _groups(trial)
    known = any("initial_lr" in group for group in groups)
    if not groups or known or any(float(group.get("lr", 1)) != 0 for group in groups):
        return []
    seen = Evidence("largest lr of all groups", 0.0, 0.0, "arithmetic")
    detail = "The learning rate of every group is 0."
    return [Notice("SF209", "error", "run", detail, (seen,))]


def decay(trial: Trial) -> list[Notice]:
    """Decay neither rules the training nor acts where it has no use."""
    found: list[Notice] = []
    for group in _groups(trial):
        strength, lr = float(group.get("weight_decay") or 0), float(group.get("lr", 0))
        if strength <= 0:
            continue
        weak = [w for w in group["params"] if w.requires_grad and is_gain_or_bias(w)]
        if weak and not found:
            names = tuple(trial.names.get(id(w), "?") for w in weak)
            seen = Evidence("norms and biases that decay", len(weak), 0.0, "He 2019")
            detail = f"weight_decay {strength:g} acts on {', '.join(names[:3])}."
            found.append(Notice("SF205", "info", names[0], detail, (seen,), names))
        share = lr * trial.subject.peak * strength
        if share > DECAY_A_STEP:
            source = "Kosson et al. 2024, arXiv:2305.17212"
            seen = Evidence("lr x weight_decay", share, DECAY_A_STEP, source)
            detail = f"Each update takes {share:.1%} off every weight."
            found.append(Notice("SF206", "warning", "run", detail, (seen,)))
        elif not _decoupled(trial, group):
            found += _outweighs(trial, group, strength)
    return found


def _outweighs(trial: Trial, group: dict[str, Any], strength: float) -> list[Notice]:
    """Decay that is added to the gradient, larger than gradient and loss."""
    matrices = [w for w in group["params"] if w.dim() >= 2 and id(w) in trial.names]
    sizes = [(float(w.detach().float().norm()), _norm(trial, w)) for w in matrices]
    ratios = [strength * size / grad for size, grad in sizes if grad > 0]
    penalty = 0.5 * strength * sum(size**2 for size, _ in sizes)
    over = penalty / max(abs(trial.loss), 1e-12)
    if not ratios or median(ratios) <= OVER_GRADIENT or not over > OVER_LOSS:
        return []
    seen = (
        Evidence("decay over gradient", median(ratios), OVER_GRADIENT, EXPERIMENT),
        Evidence("decay penalty over first loss", over, OVER_LOSS, EXPERIMENT),
    )
    detail = f"weight_decay {strength:g} outweighs what the loss asks for."
    return [Notice("SF206", "warning", "run", detail, seen)]


def epsilon(trial: Trial) -> list[Notice]:
    """Adam's epsilon is small beside the gradients, and not zero in their format."""
    found: list[Notice] = []
    for group in _groups(trial):
        eps = float(group.get("eps") or 0)
        if "betas" not in group:
            continue
        found += _vanishing(group["params"], eps)
        ratios = [eps / size for w in group["params"] if (size := _rms(trial, w)) > 0]
        fit = trial.fit
        slow = fit is not None and fit.fall < LITTLE
        if ratios and median(ratios) > EPSILON_OVER_GRADIENT and eps > 1e-7 and slow:
            seen = Evidence(
                "eps over RMS gradient, median", median(ratios), EPSILON_OVER_GRADIENT,
                EXPERIMENT,
            )  # fmt: skip
            detail = f"eps is {eps:g}; trial updates take {_percent(fit)} off the loss."
            found.append(Notice("SF207", "warning", "run", detail, (seen,)))
    return found


def _vanishing(weights: list[torch.Tensor], eps: float) -> list[Notice]:
    """Epsilon is below what the format of some weights can hold."""
    for weight in weights:
        format_ = torch.finfo(weight.dtype)
        # Half precision keeps numbers below its normal ones; float32 may flush them.
        least = format_.smallest_normal * (2**-10 if format_.bits == 16 else 1)
        if eps < least:
            seen = Evidence("eps", eps, least, f"IEEE 754, {format_.dtype}")
            detail = f"Weights are in {format_.dtype}, where {eps:g} is zero."
            return [Notice("SF208", "error", "run", detail, (seen,))]
    return []


def _percent(fit: Any) -> str:
    return "nothing" if fit is None or fit.fall <= 0 else f"{fit.fall:.1%}"


def _groups(trial: Trial) -> list[dict[str, Any]]:
    optimizer = trial.subject.optimizer
    return [] if optimizer is None else optimizer.param_groups


def _decoupled(trial: Trial, group: dict[str, Any]) -> bool:
    kind = type(trial.subject.optimizer).__name__
    return kind in DECOUPLED or bool(group.get("decoupled_weight_decay"))


def _norm(trial: Trial, weight: torch.Tensor) -> float:
    gradient = trial.gradients.get(trial.names.get(id(weight), ""))
    return math.nan if gradient is None else gradient.norm


def _rms(trial: Trial, weight: torch.Tensor) -> float:
    gradient = trial.gradients.get(trial.names.get(id(weight), ""))
    return 0.0 if gradient is None else gradient.rms


# --- warm-up --------------------------------------------------------------------

DEEP_POST_NORM = 6
"""Layers of a post-norm transformer that train without a warm-up: Xiong et al. 2020,
arXiv:2002.04745, need one at 6 + 6."""


def post_norm(trial: Trial) -> list[Notice]:
    """A deep post-norm transformer has a warm-up, as far as can be seen."""
    kinds = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
    late = [
        name
        for name, module in trial.subject.model.named_modules()
        if isinstance(module, kinds) and not module.norm_first
    ]
    scheduled = any("initial_lr" in group for group in _groups(trial))
    if len(late) <= DEEP_POST_NORM or scheduled:
        return []
    source = "Xiong et al. 2020, arXiv:2002.04745"
    seen = Evidence("post-norm layers", len(late), DEEP_POST_NORM, source)
    detail = f"{len(late)} post-norm layers and a learning rate without a schedule."
    return [Notice("SF309", "info", late[0], detail, (seen,), tuple(late))]


ALL = (belongs, rate, decay, epsilon, post_norm)
