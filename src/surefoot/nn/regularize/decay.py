"""A model comes in, parameter groups go out: what decays, and how much at which depth.

Weight decay pulls weights towards zero. For gains of norm layers and for biases zero
is no better than any other value, so that they are left out by default (He et al.
2019, arXiv:1812.01187, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.nn.regularize.errors import RegularizeError

Decays = Callable[[str, Tensor], bool]
"""Whether a parameter decays, by its name and itself."""

NORMS = (
    nn.modules.batchnorm._NormBase,  # pyright: ignore[reportPrivateUsage]
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
"""Layers whose parameters are gains and biases, whatever their shape."""


def is_gain_or_bias(parameter: Tensor) -> bool:
    """Whether a parameter has fewer than two dimensions, as gains and biases do."""
    return parameter.dim() < 2


def decay_groups(
    model: nn.Module,
    *,
    weight_decay: float,
    decays: Decays | None = None,
    embeddings: bool = True,
) -> list[dict[str, Any]]:
    """Two parameter groups for any optimizer: what decays, and what does not.

    Every parameter is in exactly one of them. Tied weights are in it once, and decay
    only if they would by each of their names. Frozen parameters are listed too, so
    that they may be thawed.

    Args:
        model: whose parameters are divided.
        weight_decay: of the first group; the second has 0.
        decays: `decays(name, parameter)` decides instead of the rule that gains and
            biases (fewer than two dimensions, or of a norm layer) do not.
        embeddings: whether weights of `nn.Embedding` decay; not asked with `decays`.

    Returns:
        Groups with "params", "names" (the first name of each) and "weight_decay"; one
        that would be empty is left out.

    Raises:
        RegularizeError: the decay is negative, or the model has no parameters.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    >>> for group in decay_groups(net, weight_decay=0.05):
    ...     print(group["weight_decay"], group["names"])
    0.05 ['0.weight']
    0.0 ['0.bias', '1.weight', '1.bias']
    """
    _checked_decay(weight_decay)
    table = _names(model)
    chosen = decays or _default(model, embeddings=embeddings)
    parts: tuple[list[str], list[str]] = ([], [])
    for names, weight in table:
        parts[not all(chosen(name, weight) for name in names)].append(names[0])
    by_name = {names[0]: weight for names, weight in table}
    rates = (float(weight_decay), 0.0)
    return [
        _group([(name, by_name[name]) for name in part], rate)
        for part, rate in zip(parts, rates, strict=True)
        if part
    ]


def geometric_profile(depth: int, *, first: float, last: float) -> tuple[float, ...]:
    """Factors of equal ratios from the first layer's to the last one's.

    >>> geometric_profile(3, first=4.0, last=1.0)
    (4.0, 2.0, 1.0)

    Raises:
        RegularizeError: no layer, or a factor that is not above 0.
    """
    if depth < 1 or not (first > 0 and last > 0):
        raise RegularizeError(
            f"depth={depth}, first={first}, last={last} came; expected one layer or "
            "more, and factors above 0"
        )
    if depth == 1:
        return (float(first),)
    ratio = last / first
    return tuple(first * ratio ** (i / (depth - 1)) for i in range(depth))


def depth_decay_groups(
    model: nn.Module,
    layers: Sequence[nn.Module],
    *,
    weight_decay: float,
    profile: Sequence[float],
) -> list[dict[str, Any]]:
    """Parameter groups whose decay follows a profile over depth: λ_l = λ·profile[l].

    Gains and biases do not decay; weights outside of the layers decay with λ itself;
    a weight in two layers belongs to the first.

    Args:
        model: all parameters of which are divided.
        layers: parts of the model, from the input to the output.
        weight_decay: λ.
        profile: a factor for each layer, 0 or more.

    Raises:
        RegularizeError: not one factor for each layer, a negative one, or a layer
            with parameters that are not the model's.

    >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    >>> groups = depth_decay_groups(net, list(net), weight_decay=0.1, profile=[2, 1])
    >>> [group["weight_decay"] for group in groups]
    [0.2, 0.1]
    """
    _checked_profile(layers, profile)
    whole = decay_groups(model, weight_decay=weight_decay)
    factors = _factors(layers, profile)
    known = {id(w) for group in whole for w in group["params"]}
    if not factors.keys() <= known:
        raise RegularizeError(
            "a layer came whose parameters are not the model's; expected parts of "
            "the model itself, such as list(model.blocks)"
        )
    groups: list[dict[str, Any]] = []
    for group in whole:
        if group["weight_decay"] == 0:
            groups.append(group)
            continue
        pairs = list(zip(group["names"], group["params"], strict=True))
        for place in (*range(len(layers)), None):
            own = [(n, w) for n, w in pairs if factors.get(id(w), (None,))[0] == place]
            factor = 1.0 if place is None else float(profile[place])
            if own:
                groups.append(_group(own, weight_decay * factor))
    return groups


def depth_penalty(
    layers: Sequence[nn.Module],
    profile: Sequence[float],
    *,
    strength: float | Tensor = 1.0,
    power: float = 2.0,
) -> Tensor:
    """The term Σ_l λ·profile[l] Σ_w abs(w)^power / power, to be added to the loss.

    Its gradient is λ·profile[l]·w for power 2, λ·profile[l]·sign(w) for power 1. Gains
    and biases have no part in it; a weight in two layers counts in the first.

    Raises:
        RegularizeError: not one factor for each layer, a negative one, a power below
            1, or no weight at all.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.constant_(layer.weight, 2.0)
    >>> depth_penalty([layer], [3.0], strength=0.5).item()
    6.0
    """
    _checked_profile(layers, profile)
    if not power >= 1:
        raise RegularizeError(f"power={power!r} came; expected 1 or more")
    terms = [
        factor * weight.abs().pow(power).sum() / power
        for _, factor, weight in _factors(layers, profile).values()
        if not is_gain_or_bias(weight)
    ]
    if not terms:
        raise RegularizeError("the layers have no weights of two dimensions or more")
    return strength * torch.stack(terms).sum()


# --- parts ----------------------------------------------------------------------


def _names(model: nn.Module) -> list[tuple[list[str], Tensor]]:
    """Each parameter once, with all names it goes by."""
    table: dict[int, tuple[list[str], Tensor]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        table.setdefault(id(weight), ([], weight))[0].append(name)
    if not table:
        raise RegularizeError(f"{type(model).__name__} has no parameters to divide")
    return list(table.values())


def _default(model: nn.Module, *, embeddings: bool) -> Decays:
    """The rule that gains and biases do not decay."""
    spared = {id(w) for w in model.parameters() if is_gain_or_bias(w)}
    for module in model.modules():
        embeds = isinstance(module, nn.Embedding | nn.EmbeddingBag) and not embeddings
        if isinstance(module, NORMS) or embeds:
            spared |= {id(w) for w in module.parameters(recurse=False)}

    def decays(name: str, weight: Tensor) -> bool:
        return id(weight) not in spared

    return decays


def _group(pairs: Iterable[tuple[str, Tensor]], rate: float) -> dict[str, Any]:
    held = list(pairs)
    return {
        "params": [weight for _, weight in held],
        "names": [name for name, _ in held],
        "weight_decay": rate,
    }


def _factors(
    layers: Sequence[nn.Module], profile: Sequence[float]
) -> Mapping[int, tuple[int, float, Tensor]]:
    """Layer, factor and weight of each parameter, by identity; the first layer wins."""
    found: dict[int, tuple[int, float, Tensor]] = {}
    for place, (layer, factor) in enumerate(zip(layers, profile, strict=True)):
        for weight in layer.parameters():
            found.setdefault(id(weight), (place, float(factor), weight))
    return found


def _checked_decay(weight_decay: float) -> None:
    if not weight_decay >= 0:
        raise RegularizeError(f"weight_decay={weight_decay!r} came; expected 0 or more")


def _checked_profile(layers: Sequence[nn.Module], profile: Sequence[float]) -> None:
    if len(layers) != len(profile) or not layers or not all(f >= 0 for f in profile):
        raise RegularizeError(
            f"{len(layers)} layers and the profile {list(profile)} came; expected one "
            "factor of 0 or more for each layer"
        )
