"""A model, a batch and a loss come in; what its start does to signals goes out.

Weights of gain g before an activation φ multiply the size of a signal by g·√E[φ²],
layer after layer, and gradients on their way back likewise. Over depth a wrong gain
lets both vanish or explode, with no layer being wrong by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import nn

from surefoot.nn.init.activations import BENDS
from surefoot.nn.init.depth_scaled import norms
from surefoot.nn.init.errors import InitError
from surefoot.nn.init.gains import gain
from surefoot.nn.init.layers import Layer, Taps, difference, is_zero, multiplying
from surefoot.restore.still import still
from surefoot.types import LossFunction

STEADY = 0.2
"""Share by which the factor per layer may differ from 1. ReLU networks drawn with their
gain stay within 0.15 at widths 32 to 256 and depths 12 to 50, over 10 seeds, and GELU
within 0.27; the gain of a linear layer before ReLU is off by 0.4."""

KEPT = 3.5
"""Change over all the depth that is steady in any case: those ReLU networks stay below
3 at 5 layers. Four layers of gain 1 before ReLU lose 4."""

DECADES = 1_000.0
"""What the depth makes of any factor per layer: tanh networks of 50 layers drawn with
their gain reach 180."""

FITS = 0.1
"""Logarithm by which the gain of a layer drawn with its gain may differ: the spread
over the entries of a 5 x 5 weight."""

APART = 8.0
"""A layer stands out against the median of the others: healthy ones of
benchmarks/preflight.py stay within this factor."""


@dataclass(frozen=True, slots=True)
class LayerAudit:
    """What one layer with weights, and the activation behind it, do at the start.

    `gain` is √fan_in times the root mean square of its weights, `wanted` the one that
    fits the activation (NaN: no activation module behind it, or a norm). `std` is how
    much its outputs differ between examples, `forward` the size (root mean square) of
    the next layer's input over that of its own, `backward` the norm of the loss's
    gradient at its output over that at the next layer's; NaN at the end.
    """

    name: str
    kind: str
    activation: str
    gain: float
    wanted: float
    std: float
    forward: float
    backward: float


@dataclass(frozen=True, slots=True)
class InitAudit:
    """Layers in forward order, and what they make of the whole.

    `forward` and `backward` are products over the depth. `blamed` names layers that
    stand out; if it is empty and `healthy` is not true, the gain is to blame.
    """

    layers: tuple[LayerAudit, ...]
    forward: float
    backward: float
    blamed: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether neither signal nor gradient vanishes or explodes over the depth."""
        return all(trend == "steady" for trend, _, _, _ in self._directions())

    @property
    def verdict(self) -> str:
        """In words: what happens per layer and in all, and what is to blame."""
        said = [
            f"{way}: {trend} ×{per:.2g} per layer, ×{total:.3g} over {count} layers"
            for way, (trend, per, total, count) in zip(
                ("forward", "backward"), self._directions(), strict=True
            )
        ]
        return "; ".join(said) + ("" if self.healthy else f"; {self._blame()}")

    def _directions(self) -> list[tuple[str, float, float, int]]:
        return [
            _trend([one.forward for one in self.layers], self.forward),
            _trend([one.backward for one in self.layers], self.backward),
        ]

    def _blame(self) -> str:
        if self.blamed:
            return f"{', '.join(self.blamed)} stands out from the other layers"
        known = [one for one in self.layers if not math.isnan(one.wanted)]
        if not known:
            return "the gain of the weights is to blame, no one layer"
        one = max(known, key=lambda each: abs(math.log(each.gain / each.wanted)))
        if abs(math.log(one.gain / one.wanted)) < FITS:
            return (
                f"the weights have the gain that {one.activation} wants: the depth is "
                "to blame; normalise, or add paths around the layers"
            )
        return (
            f"the gain is to blame, no one layer: weights of gain {one.gain:.2f} came, "
            f"{one.activation} wants {one.wanted:.2f}"
        )

    def __str__(self) -> str:
        head = f"{'layer':<20}{'behind it':<12}{'gain':>7}{'wanted':>8}{'std':>9}"
        rows = [head + f"{'forward':>9}{'backward':>9}"]
        for one in self.layers:
            numbers = f"{one.gain:7.2f}{one.wanted:8.2f}{one.std:9.2g}"
            factors = f"{one.forward:9.2f}{one.backward:9.2f}"
            rows.append(f"{one.name:<20}{one.activation:<12}{numbers}{factors}")
        return "\n".join([*rows, self.verdict])


def audit_init(model: nn.Module, batch: Any, loss_fn: LossFunction) -> InitAudit:
    """Follow one batch through a model as it is, forward and back.

    The model, its `.grad`, buffers and all random streams stay bit for bit.

    Args:
        model: before its first update.
        batch: what `loss_fn` takes.
        loss_fn: `loss_fn(model, batch)`, a loss with one element.

    Layers that are zero, and those before them that no gradient reaches yet, are left
    out: the branches of residual blocks that start as the identity.

    Raises:
        InitError: fewer than two layers with weights were called, or the loss has no
            gradient or is not finite.

    >>> layers = [nn.Linear(256, 256, bias=False) for _ in range(5)]
    >>> for layer in layers:
    ...     _ = nn.init.xavier_normal_(layer.weight)
    >>> net = nn.Sequential(*(part for one in layers for part in (one, nn.ReLU())))
    >>> found = audit_init(net, torch.randn(64, 256), lambda net, x: net(x).sum())
    >>> 0.12 < found.forward < 0.25, found.healthy, found.blamed
    (True, False, ())
    """
    with still(model):
        with Taps(model) as taps:
            loss = loss_fn(model, batch)
        trained = [p for p in model.parameters() if p.requires_grad]
        if not (loss.requires_grad and trained and bool(torch.isfinite(loss).all())):
            raise InitError(
                f"a loss of {float(loss.detach().sum()):g} came, with "
                f"{len(trained)} weights that are trained; expected a finite loss that "
                "depends on them"
            )
        torch.autograd.grad(loss, trained, allow_unused=True)
    seen = taps.layers
    weighted = _lit(multiplying(seen))
    if len(weighted) < 2:
        raise InitError(
            f"{len(weighted)} layers with weights were called; expected 2 or more, as "
            "an audit compares layers over the depth"
        )
    layers = tuple(_audited(model, seen, weighted))
    forward = [one.forward for one in layers]
    backward = [one.backward for one in layers]
    blamed = {n for values in (forward, backward) for n in _outliers(layers, values)}
    return InitAudit(
        layers,
        math.prod(_known(forward)),
        math.prod(_known(backward)),
        tuple(one.name for one in layers if one.name in blamed),
    )


def _lit(weighted: Sequence[Layer]) -> list[Layer]:
    """All but layers at zero, and those before them that no gradient reaches yet."""
    kept: list[Layer] = []
    dark = False
    for one in reversed(weighted):
        dark = is_zero(one.module) or (dark and one.gradient == 0)
        if not dark:
            kept.append(one)
    return kept[::-1]


def _audited(
    model: nn.Module, seen: Sequence[Layer], weighted: Sequence[Layer]
) -> list[LayerAudit]:
    places = [seen.index(one) for one in weighted]
    kinds = {type(m).__name__: m for m in model.modules() if isinstance(m, BENDS)}
    found: list[LayerAudit] = []
    wanted: dict[str, float] = {}
    for i, (one, place) in enumerate(zip(weighted, places, strict=True)):
        last = i + 1 == len(weighted)
        behind = seen[place + 1 : None if last else places[i + 1]]
        bend = next((b.module for b in behind if isinstance(b.module, BENDS)), None)
        if bend is None and len(kinds) == 1 and not last:
            bend = next(iter(kinds.values()))  # one module, called in several places
        normed = any(norms(b.module) for b in behind)
        if bend is not None and repr(bend) not in wanted:
            wanted[repr(bend)] = _wanted(bend)
        size = seen[-1].rms if last else weighted[i + 1].input_rms
        after = math.nan if last else weighted[i + 1].gradient
        found.append(
            LayerAudit(
                name=one.name,
                kind=one.kind,
                activation="" if bend is None else type(bend).__name__,
                gain=_gain_of(one.module),
                wanted=math.nan if normed else wanted.get(repr(bend), math.nan),
                std=difference(one),
                forward=_over(size, one.input_rms),
                backward=_over(one.gradient, after),
            )
        )
    return found


def _gain_of(module: nn.Module) -> float:
    """√fan_in times the root mean square of the weights."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.dim() < 2:
        return math.nan
    rms = weight.detach().float().square().mean().sqrt().item()
    return rms * weight[0].numel() ** 0.5


def _wanted(bend: nn.Module) -> float:
    try:
        return gain(bend)
    except InitError:
        return math.nan


def _over(above: float, below: float) -> float:
    return above / below if below > 0 else math.nan


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _trend(values: Sequence[float], total: float) -> tuple[str, float, float, int]:
    """What a product does over its factors, per factor, in all, of how many."""
    count = len(_known(values))
    per = total ** (1 / count) if count and total > 0 else 0.0
    far = max(total, 1 / total) if total > 0 else math.inf
    off = max(per, 1 / per) if per > 0 else math.inf
    steady = far <= KEPT or (off <= 1 + STEADY and far <= DECADES)
    trend = "steady" if steady else "vanishing" if total < 1 else "exploding"
    return trend, per, total, count


def _outliers(layers: Sequence[LayerAudit], values: Sequence[float]) -> list[str]:
    """Layers whose factor is far from the median of the others."""
    found: list[str] = []
    for i, value in enumerate(values):
        others = _known([*values[:i], *values[i + 1 :]])
        usual = median(others) if len(others) > 1 else math.nan
        if not (usual > 0 and value >= 0):
            continue
        if value > APART * usual or value * APART < usual:
            found.append(layers[i].name)
    return found
