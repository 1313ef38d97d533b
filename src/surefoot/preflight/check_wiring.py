"""Checks of what lies between weights and loss: a Trial comes in, Notices go out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from surefoot.nn.init.layers import Layer
from surefoot.preflight.check_loss import OUTSIDE, outside
from surefoot.preflight.report import Notice
from surefoot.preflight.trial import Trial
from surefoot.types import Evidence

GRAPH = "the autograd graph of the first loss"

SQUASHING: Mapping[str, tuple[float, float]] = {
    "Sigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Softmax": (0.0, 1.0),
    "Relu": (0.0, math.inf), "Softplus": (0.0, math.inf), "HardTanh": (-1.0, 1.0),
}  # fmt: skip
"""Operations that limit the range of their output."""

NUMBERS = ("MseLoss", "SmoothL1Loss", "HuberLoss")


def before_the_loss(trial: Trial) -> list[Notice]:
    """What stands right before a loss function is what it asks for."""
    found: dict[str, Notice] = {}
    for path in trial.wiring.heads:
        notice = _of_path(path, trial)
        if notice is not None:
            found.setdefault(notice.id, notice)
    return list(found.values())


def _of_path(path: tuple[str, ...], trial: Trial) -> Notice | None:
    """The notice for one path from the loss to the last weights."""
    for i, name in enumerate(path[:-1]):
        rest = path[i + 1 :]
        if name.startswith("NllLoss"):
            return _classes(rest, trial)
        if name == "BinaryCrossEntropyWithLogits":
            return _logit(rest, trial)
        if name == "BinaryCrossEntropy":
            return _probability(rest, trial)
        if name in NUMBERS:
            return _number(rest, trial)
    return None


def _classes(rest: tuple[str, ...], trial: Trial) -> Notice | None:
    """Behind the negative log-likelihood: log_softmax of logits, and nothing else."""
    if rest[0] == "LogSoftmax":
        second = rest[1] if len(rest) > 1 else ""
        if second == "Softmax":
            return _notice("SF103", "error", rest, trial)
        if second in ("Sigmoid", "Relu", "Tanh", "LogSigmoid"):
            return _notice("SF104", "error", rest[1:], trial)
        return None
    if rest[0] == "Softmax" or rest[0] in WEIGHTS or rest[0] in ("Sigmoid", "Relu"):
        return _notice("SF105", "error", rest, trial)
    return None


WEIGHTS = ("Addmm", "Mm", "Linear", "Convolution", "MkldnnLinear", "Add", "Bmm")


def _logit(rest: tuple[str, ...], trial: Trial) -> Notice | None:
    if rest[0] in ("Sigmoid", "Softmax", "LogSigmoid", "Relu", "Tanh"):
        return _notice("SF104", "error", rest, trial)
    return None


def _probability(rest: tuple[str, ...], trial: Trial) -> Notice | None:
    if rest[0] in WEIGHTS or rest[0] == "LogSoftmax":
        return _notice("SF105", "error", rest, trial)
    return None


def _number(rest: tuple[str, ...], trial: Trial) -> Notice | None:
    """A regression whose last activation cannot reach the targets."""
    limits = SQUASHING.get(rest[0])
    calls = [
        c for c in trial.calls if c.name in ("mse_loss", "smooth_l1_loss", "huber_loss")
    ]
    if limits is None or len(calls) != 1:
        return None
    share = outside(calls[0], *limits)
    if rest[0] == "Sigmoid" and is_one_hot(calls[0].target):
        return _squares(trial)
    if share <= OUTSIDE:
        return None
    seen = Evidence(f"targets outside of {rest[0]}'s range", share, OUTSIDE, GRAPH)
    detail = (
        f"The last operation is {rest[0]}, but {share:.0%} of the targets lie outside "
        f"of {limits[0]:g} to {limits[1]:g}."
    )
    return Notice("SF104", "error", _last(rest[0], trial), detail, (seen,))


def is_one_hot(target: torch.Tensor) -> bool:
    """Whether each row marks one of three or more classes.

    >>> is_one_hot(torch.eye(3)), is_one_hot(torch.eye(2))
    (True, False)
    """
    if target.dim() < 2 or target.shape[-1] < 3:
        return False
    marks = ((target == 0) | (target == 1)).all() & (target.sum(-1) == 1).all()
    return bool(marks)


def _squares(trial: Trial) -> Notice:
    source = "Bishop 2006, section 5.2: cross-entropy is the loss of classes"
    seen = Evidence("one-hot classes under squared error of sigmoids", 1.0, 0.0, source)
    detail = "Squared error of sigmoids fades where a prediction is confidently wrong."
    return Notice("SF105", "warning", _last("Sigmoid", trial), detail, (seen,))


def _notice(id: str, severity: str, rest: tuple[str, ...], trial: Trial) -> Notice:
    named = next((n for n in rest if n in SQUASHING), rest[0])
    seen = Evidence(f"{named} before the loss", 1.0, 0.0, GRAPH)
    detail = f"From the loss back to the weights: {' ← '.join(rest)}."
    return Notice(id, "error", _last(named, trial), detail, (seen,))


def _last(operation: str, trial: Trial) -> str:
    """The last module of the kind that does an operation; the run if there is none."""
    kinds = {operation, {"Relu": "ReLU", "HardTanh": "Hardtanh"}.get(operation, "")}
    for one in reversed(trial.layers):
        if one.kind in kinds:
            return one.name or "run"
    return "run"


# --- which weights the loss reaches ---------------------------------------------


def reached(trial: Trial) -> list[Notice]:
    """The loss depends on what is to be trained."""
    if trial.wiring.whole and not any(g is not None for g in trial.gradients.values()):
        if not trial.gradients:
            return []
        seen = Evidence("weights in the graph of the loss", 0.0, 1.0, GRAPH)
        detail = f"None of {len(trial.gradients)} trainable weights gets a gradient."
        return [Notice("SF107", "error", "run", detail, (seen,))]
    return [*_cut(trial), *_loose(trial)]


def _cut(trial: Trial) -> list[Notice]:
    """The first layers that ran are not in the graph, although later ones are."""
    names = {id(w): n for n, w in trial.subject.model.named_parameters()}
    held, lost = trial.subject.held(), set(trial.wiring.unreached)
    ran = [(one, _own(one, names, held)) for one in trial.layers]
    ran = [(one, own) for one, own in ran if own]
    prefix = 0
    while prefix < len(ran) and set(ran[prefix][1]) <= lost:
        prefix += 1
    if 0 < prefix < len(ran):
        name = ran[prefix - 1][0].name
        layers = tuple(n for _, own in ran[:prefix] for n in own)
        seen = Evidence("layers that no gradient reaches", prefix, 0.0, GRAPH)
        detail = (
            f"The graph is cut behind {name}: {prefix} of {len(ran)} layers that an "
            "optimizer holds get no gradient."
        )
        return [Notice("SF108", "error", name, detail, (seen,), layers)]
    if not lost:
        return []
    seen = Evidence("weights without a gradient", len(lost), 0.0, GRAPH)
    some = ", ".join(sorted(lost)[:3])
    detail = f"{len(lost)} weights get no gradient from this batch: {some}."
    return [Notice("SF110", "info", sorted(lost)[0], detail, (seen,), tuple(lost))]


def _own(
    one: Layer, names: dict[int, str], held: Mapping[int, torch.Tensor]
) -> list[str]:
    """Names of a layer's own trainable weights that the optimizer holds."""
    return [
        names[id(w)]
        for w in one.module.parameters(False)
        if w.requires_grad and id(w) in names and (not held or id(w) in held)
    ]


def _loose(trial: Trial) -> list[Notice]:
    shapes = trial.wiring.loose
    if not shapes:
        return []
    seen = Evidence("parameters that nobody holds", len(shapes), 0.0, GRAPH)
    some = ", ".join(str(list(shape)) for shape in shapes[:4])
    detail = f"{len(shapes)} parameters of the graph are nobody's; shapes: {some}."
    return [Notice("SF109", "error", "run", detail, (seen,))]


ALL = (before_the_loss, reached)
