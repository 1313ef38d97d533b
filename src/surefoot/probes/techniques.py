"""Modules and their optimizer come in, the techniques that steady them go out.

Known by class, whoever wrote it: torch's own, this library's, timm's, the user's. What
is called as a function leaves no object behind, and is not seen here; clipping and
warm-up are read from the record (`diagnosis/in_use.py`).
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from surefoot.types import Technique

MODULES: tuple[tuple[str, str, re.Pattern[str]], ...] = tuple(
    (family, name, re.compile(pattern))
    for family, name, pattern in (
        ("normalisation", "batch renormalisation", "BatchRenorm"),
        ("normalisation", "masked normalisation", "Masked.*Norm"),
        ("normalisation", "normalised recurrence", "Norm(LSTM|GRU|RNN)"),
        ("normalisation", "filter response normalisation", "FilterResponseNorm|^FRN"),
        ("normalisation", "EvoNorm", "^EvoNorm"),
        ("normalisation", "global response normalisation", "GlobalResponseNorm|^GRN"),
        ("normalisation", "weight standardisation", "StdConv|^WSConv"),
        ("normalisation", "QK-norm", "(?i)qk_?norm"),
        ("normalisation", "batch norm", "BatchNorm"),
        ("normalisation", "instance norm", "InstanceNorm"),
        ("normalisation", "group norm", "GroupNorm"),
        ("normalisation", "RMS norm", "(?i)rms_?norm"),
        ("normalisation", "layer norm", "LayerNorm"),
        ("dropout and noise", "alpha dropout", "AlphaDropout"),
        ("dropout and noise", "DropConnect", "DropConnect|WeightDrop"),
        ("dropout and noise", "stochastic depth", "StochasticDepth|DropPath"),
        ("dropout and noise", "Gaussian noise", "GaussianNoise"),
        ("dropout and noise", "dropout", "Dropout|DropBlock|ModalityDrop"),
        ("weights", "spectral norm", "^_?SpectralNorm"),
        ("weights", "weight norm", "^_?WeightNorm"),
        ("weights", "orthogonal weights", "^_?Orthogonal$"),
        ("weights", "σReparam", "SigmaReparam"),
        ("residual path", "scaled branch", "LayerScale|ReZero|SkipInit"),
        ("residual path", "gated skip", "Skip"),
    )
)
"""Family and name by class name; the first that fits."""

FLAT = re.compile("SAM$|^SWA$|^Lookahead")
"""Optimizers that look for flat regions, by class name."""

DECOUPLED = re.compile("W$|^Lion|^Muon|^Lamb|^LARS|ScheduleFree")
"""Optimizers whose weight decay is not part of the gradient, by class name."""

BESIDE: tuple[tuple[str, str, str], ...] = (
    ("CrossEntropyLoss", "loss", "label smoothing"),
    ("PCGrad", "gradients", "gradient surgery on conflict"),
)
"""Classes of objects beside a model that are looked for by name."""


def techniques(
    modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> tuple[Technique, ...]:
    """What steadies a model, its optimizer, and what was made for both.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Dropout(0.1))
    >>> adam = torch.optim.AdamW(net.parameters())
    >>> for one in techniques(dict(net.named_modules()), adam):
    ...     if one.family != "loss":  # of whatever else this process trains
    ...         print(one.family, "|", one.name, one.where, dict(one.settings))
    dropout and noise | dropout ('2',) {'p': 0.1}
    normalisation | layer norm ('1',) {}
    optimizer | AdamW () {}
    weights | decoupled weight decay () {'weight_decay': 0.01}
    """
    found = [*_in_modules(modules), *_of_optimizer(optimizer), *_beside(optimizer)]
    return tuple(sorted(found, key=lambda one: (one.family, one.name)))


def _in_modules(modules: Mapping[str, nn.Module]) -> Iterator[Technique]:
    """Techniques by the classes of modules, parametrizations and old-style hooks."""
    where: dict[tuple[str, str], dict[str, float]] = {}
    for place, module in modules.items():
        layer = place.partition(".parametrizations.")[0]
        layer = "model" if layer.startswith("parametrizations.") else layer
        hooks = module._forward_pre_hooks.values()  # pyright: ignore[reportPrivateUsage]
        for thing in (module, *hooks):
            key = _known(type(thing).__name__)
            if key is not None:
                where.setdefault(key, {})[layer] = _rate(thing)
    for (family, name), rates in where.items():
        seen = [rate for rate in rates.values() if rate >= 0]
        settings = {"p": max(seen)} if seen else dict[str, float]()
        yield Technique(family, name, tuple(rates), settings)


def _known(kind: str) -> tuple[str, str] | None:
    """Family and name of a class; None if it is none of these."""
    for family, name, pattern in MODULES:
        if pattern.search(kind):
            return family, name
    return None


def _rate(thing: object) -> float:
    """The drop rate of a module, -1 if it has none."""
    rate = getattr(thing, "p", None)
    return float(rate) if isinstance(rate, int | float | torch.Tensor) else -1.0


def _of_optimizer(optimizer: torch.optim.Optimizer) -> Iterator[Technique]:
    """The optimizer, its weight decay, and what acts around its step."""
    kind = type(optimizer).__name__
    yield Technique("optimizer", kind)
    if FLAT.search(kind):
        yield Technique("optimizer", "search for flat regions")
    groups = optimizer.param_groups
    decays = [float(group.get("weight_decay", 0.0)) for group in groups]
    if any(decays):
        own = [bool(group.get("decoupled_weight_decay", False)) for group in groups]
        decoupled = any(own) or bool(DECOUPLED.search(kind))
        name = "decoupled weight decay" if decoupled else "weight decay as an L2 term"
        exempt = sum(
            len(g["params"]) for g, d in zip(groups, decays, strict=True) if not d
        )
        settings = {"weight_decay": max(decays)}
        if exempt:
            settings["exempt"] = float(exempt)
        yield Technique("weights", name, (), settings)
    for clip in optimizer.__dict__.get("clips", ()):
        yield Technique("gradients", f"clipping by {clip}")
    for action in optimizer.__dict__.get("post_steps", ()):
        yield Technique("after the update", action.name, (), {"every": action.every})


def _beside(optimizer: torch.optim.Optimizer) -> Iterator[Technique]:
    """Schedulers, averages and losses among all live objects."""
    names = {kind: (family, name) for kind, family, name in BESIDE}
    held = [weight for group in optimizer.param_groups for weight in group["params"]]
    for thing in _live((LRScheduler, AveragedModel), names):
        kind = type(thing).__name__
        if isinstance(thing, LRScheduler):
            if getattr(thing, "optimizer", None) is optimizer:
                yield Technique("schedule", kind)
        elif isinstance(thing, AveragedModel):
            if _shapes(thing.parameters()) == _shapes(held):
                yield Technique("weights", "weight averaging")
        elif kind == "CrossEntropyLoss":
            smoothing = float(getattr(thing, "label_smoothing", 0.0))
            if smoothing > 0:
                yield Technique(*names[kind], (), {"label_smoothing": smoothing})
        elif getattr(thing, "optimizer", None) is optimizer:
            yield Technique(*names[kind])


def _shapes(weights: Iterable[torch.Tensor]) -> list[torch.Size]:
    return sorted(weight.shape for weight in weights)


def _live(types: tuple[type, ...], names: Iterable[str]) -> list[object]:
    """Live objects of some classes, one of a kind where they are alike.

    By type, not isinstance: lazy proxies of other libraries run code when asked.
    """
    wanted: dict[type, bool] = {}
    found: list[object] = []
    for thing in gc.get_objects():
        kind = type(thing)
        if kind not in wanted:
            wanted[kind] = issubclass(kind, types) or kind.__name__ in set(names)
        if wanted[kind]:
            found.append(thing)
    return found
