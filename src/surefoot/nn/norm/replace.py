"""A model comes in, its norms are replaced by others that keep their weights.

γ and β of the new norms are the same parameters, not copies: an optimizer that was made
before goes on with them and with what it remembers of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from surefoot.nn.norm.channels import ChannelLayerNorm, ChannelRMSNorm
from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.masked import check_groups
from surefoot.nn.norm.renorm import (
    D_STEPS,
    HOLD,
    R_STEPS,
    BatchRenorm1d,
    BatchRenorm2d,
    BatchRenorm3d,
)

Norm = Literal["batch", "renorm", "group", "layer", "rms"]

RULES: Mapping[str, Norm] = {
    "small_batch": "group",
    "variable_length": "layer",
    "streaming": "renorm",
}
"""Which norm for which trouble: statistics of one example know no batch (Wu & He
2018, arXiv:1803.08494), those of one position do not know padding (Ba et al. 2016,
arXiv:1607.06450), and corrected ones do not know the order of the data (Ioffe 2017,
arXiv:1702.03275)."""

BATCH: Mapping[type[nn.Module], int] = {
    nn.BatchNorm1d: 1,
    nn.BatchNorm2d: 2,
    nn.BatchNorm3d: 3,
    nn.SyncBatchNorm: 0,
    BatchRenorm1d: 1,
    BatchRenorm2d: 2,
    BatchRenorm3d: 3,
}
"""Norms with running statistics, and their dimensions; 0 where any will do."""

OTHERS = (nn.GroupNorm, ChannelLayerNorm, ChannelRMSNorm)
GROUPS = 32
"""Wu & He 2018, table 3: 32 groups are best, and 2 to 64 lose up to 0.6 points."""
CHANNELS_A_GROUP = (16, 2)
"""At least so many without positions, and with them: a group of one value has no
variance, and of two has only signs. With 16 each Wu & He 2018 do best (table 3)."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """One norm that was replaced, in words.

    Attributes:
        name: of the module.
        before: what it was.
        after: what it is.
        note: what to do next, where there is something.
    """

    name: str
    before: str
    after: str
    note: str = ""


def replace_norm(
    model: nn.Module,
    to: str,
    *,
    groups: int | None = None,
    dimensions: Literal[1, 2, 3] | None = None,
    eps: float | None = None,
    ramp: tuple[int, int, int] | None = None,
) -> tuple[Replaced, ...]:
    """Replace the batch, group and channel norms of a model, in place.

    Norms over the last dimensions, such as `nn.LayerNorm`, know neither batch nor
    padding and stay; so do subclasses, such as masked norms, whose inputs are others.
    What a trained model computes changes: train it on, or replace before training.

    Args:
        model: is changed; γ and β are kept, as the same parameters.
        to: "batch", "renorm" (batch renormalisation), "group", "layer" or "rms" (both
            over channels); or what troubles: "small_batch", "variable_length",
            "streaming", for which `RULES` names the norm.
        groups: for "group"; the largest number up to 32 that divides the channels and
            leaves enough in each if not given.
        dimensions: of the maps, to go back to batch norms from those that do not know.
        eps: ε of the new norms; that of each old one if not given.
        ramp: of batch renormalisation, which is plain batch norm for its first 5,000
            updates if not given: shorten it for short runs.

    Returns:
        What was replaced, in the order of the model's modules.

    Raises:
        NormError: a norm that is not known, groups that do not divide the channels,
            dimensions that are not known, or a model that is itself a norm. Nothing
            was replaced.

    >>> net = nn.Sequential(nn.Conv2d(3, 48, 3), nn.BatchNorm2d(48), nn.ReLU())
    >>> for one in replace_norm(net, "small_batch"):
    ...     one.name, one.before, one.after
    ('1', 'BatchNorm2d', 'GroupNorm(24, 48)')
    """
    kind = _kind(to)
    asked = _Asked(kind, groups, dimensions, eps, ramp or (HOLD, R_STEPS, D_STEPS))
    found = {name: m for name, m in _norms(model).items() if not _is(m, kind)}
    if "" in found:
        raise NormError(
            f"the model is itself a {type(model).__name__}; expected a model that "
            "holds its norms, as nn.Sequential(norm) does"
        )
    new: dict[int, nn.Module] = {}
    for old in found.values():
        if id(old) not in new:
            new[id(old)] = _made(old, asked)
    told: list[Replaced] = []
    for name, old in found.items():
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, new[id(old)])
        told.append(_told(name, old, new[id(old)]))
    return tuple(told)


def groups_for(channels: int, *, positions: bool = True) -> int:
    """How many groups of a group norm: up to 32 that divide, with enough in each.

    >>> groups_for(64), groups_for(48), groups_for(7), groups_for(64, positions=False)
    (32, 24, 1, 4)
    """
    most = min(GROUPS, channels // CHANNELS_A_GROUP[positions])
    return max(g for g in range(1, max(1, most) + 1) if channels % g == 0)


@dataclass(frozen=True, slots=True)
class _Asked:
    kind: Norm
    groups: int | None
    dimensions: int | None
    eps: float | None
    ramp: tuple[int, int, int]


def _kind(to: str) -> Norm:
    known: tuple[Norm, ...] = ("batch", "renorm", "group", "layer", "rms")
    for kind in known:
        if RULES.get(to, to) == kind:
            return kind
    raise NormError(
        f"{to!r} came; expected a norm, {', '.join(known)}, or a trouble, "
        f"{', '.join(RULES)}"
    )


def _norms(model: nn.Module) -> dict[str, nn.Module]:
    """Norms by every name that they have: a shared one has several."""
    return {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if type(module) in BATCH or type(module) in OTHERS
    }


def _is(module: nn.Module, kind: Norm) -> bool:
    renorms = (BatchRenorm1d, BatchRenorm2d, BatchRenorm3d)
    kinds: Mapping[Norm, tuple[type[nn.Module], ...]] = {
        "renorm": renorms,
        "batch": tuple(one for one in BATCH if one not in renorms),
        "group": (nn.GroupNorm,),
        "layer": (ChannelLayerNorm,),
        "rms": (ChannelRMSNorm,),
    }
    return type(module) in kinds[kind]


def _made(old: Any, asked: _Asked) -> nn.Module:
    """A new norm with the weights, the mode and the place of an old one."""
    channels = old.num_features if type(old) in BATCH else old.num_channels
    eps = asked.eps if asked.eps is not None else old.eps
    new: Any
    if asked.kind == "group":
        groups = asked.groups
        if groups is None:
            groups = groups_for(channels, positions=BATCH.get(type(old), 2) != 1)
        check_groups(groups, channels)
        new = nn.GroupNorm(groups, channels, eps=eps or 1e-5, affine=False)
    elif asked.kind == "layer":
        new = ChannelLayerNorm(channels, eps=eps or 1e-5, affine=False)
    elif asked.kind == "rms":
        new = ChannelRMSNorm(channels, eps=eps, affine=False)
    else:
        new = _with_statistics(old, asked, channels, eps=eps or 1e-5)
    new.affine = old.weight is not None
    new.weight, new.bias = old.weight, old.bias
    return new.train(old.training)


def _with_statistics(old: Any, asked: _Asked, channels: int, *, eps: float) -> Any:
    size = asked.dimensions or BATCH.get(type(old), 0)
    if size == 0:
        raise NormError(
            f"a {type(old).__name__} does not know the dimensions of its maps; give "
            "dimensions=1, 2 or 3"
        )
    plain = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    corrected = (BatchRenorm1d, BatchRenorm2d, BatchRenorm3d)
    kinds: Any = plain if asked.kind == "batch" else corrected
    of: dict[str, Any] = {"eps": eps, "affine": False}
    weight = next((p for p in (old.weight, *old.buffers()) if p is not None), None)
    if weight is not None:
        of["device"] = weight.device
    if asked.kind == "renorm":
        of["ramp"] = asked.ramp
    new = kinds[size - 1](channels, **of)
    kept = dict(old.named_buffers())
    if type(old) in BATCH and kept.get("running_mean") is not None:
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            new.register_buffer(name, kept[name])
    return new


def _told(name: str, old: nn.Module, new: nn.Module) -> Replaced:
    fresh = type(new) in BATCH and type(old) not in BATCH
    note = "train or recalibrate_bn before evaluation: no statistics yet"
    return Replaced(name, _in_words(old), _in_words(new), note if fresh else "")


def _in_words(norm: nn.Module) -> str:
    groups = isinstance(norm, nn.GroupNorm)
    return type(norm).__name__ + (
        f"({norm.num_groups}, {norm.num_channels})" if groups else ""
    )
