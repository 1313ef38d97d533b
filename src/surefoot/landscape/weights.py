"""A model comes in; its weights by name, and vectors over them, go out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd  # pyright: ignore[reportPrivateUsage]

State = Mapping[str, Tensor]
Vector = tuple[Tensor, ...]
"""One tensor a weight, each of the shape of its weight."""

_WRAPPERS = ("_orig_mod.", "module.")
"""What `torch.compile` and `DistributedDataParallel` put before names."""


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """All weights in floating point, tied ones once, whether trained or frozen.

    Raises:
        ValueError: the model has none.
    """
    named = model.named_parameters()
    found: dict[str, Tensor] = {n: p for n, p in named if p.is_floating_point()}
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no weights in floating point to move"
        )
    return found


def values_of(model: nn.Module) -> Vector:
    """Copies of all weights.

    Raises:
        ValueError: one of them holds NaN or infinities.
    """
    found = weights_of(model)
    for name, weight in found.items():
        if not bool(torch.isfinite(weight.detach()).all()):
            raise ValueError(
                f"the weight {name} holds NaN or infinities: there is no landscape "
                "around it. Take a checkpoint from before they appeared."
            )
    return tuple(weight.detach().clone() for weight in found.values())


def chosen(names: Sequence[str], where: Sequence[str] | None) -> frozenset[str]:
    """The weights that `where` names: by themselves, or by a module they belong to.

    Raises:
        ValueError: a name fits no weight; the message lists some that there are.

    >>> sorted(chosen(["a.weight", "a.bias", "b.weight"], ["a"]))
    ['a.bias', 'a.weight']
    """
    if where is None:
        return frozenset(names)
    wanted = (where,) if isinstance(where, str) else tuple(where)
    found = {one: [n for n in names if _belongs(n, one)] for one in wanted}
    for one, fitting in found.items():
        if not fitting:
            raise ValueError(
                f"no weight and no module with weights is named {one!r}; there are "
                f"{', '.join(names[:8])}{', …' if len(names) > 8 else ''}"
            )
    return frozenset(name for fitting in found.values() for name in fitting)


def state_vector(weights: Mapping[str, Tensor], state: State | nn.Module) -> Vector:
    """The values that a checkpoint has for the weights of a model.

    Args:
        weights: the weights of the model, from `weights_of`.
        state: a state dict, or a model of the same kind. Buffers and other entries
            are passed over; names may carry what wrappers put before them.

    Raises:
        ValueError: a weight is absent from the state, or has another shape there.
    """
    told = state.state_dict() if isinstance(state, nn.Module) else state
    plain = {_plain(name): value for name, value in told.items()}
    return tuple(_value(plain, name, weight) for name, weight in weights.items())


def filter_axis(model: nn.Module) -> dict[str, int]:
    """The dimension along which the filters of each weight lie.

    Rows of a linear layer and output channels of a convolution lie along the first,
    output channels of a transposed convolution along the second (if not grouped).
    """
    turned = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, _ConvTransposeNd) and module.groups == 1
    }
    return {n: 1 if id(p) in turned else 0 for n, p in model.named_parameters()}


def dot(one: Vector, other: Vector) -> float:
    """The scalar product of two vectors, in float64."""
    return sum(
        float((a.double() * b.double()).sum()) for a, b in zip(one, other, strict=True)
    )


def norm(vector: Vector) -> float:
    """The Euclidean length of a vector, in float64."""
    return dot(vector, vector) ** 0.5


def scaled(vector: Vector, factor: float) -> Vector:
    """A vector times a number."""
    return tuple(part * factor for part in vector)


def combined(one: Vector, other: Vector, factor: float) -> Vector:
    """`one + factor * other`, rounded once."""
    return tuple(
        (a.double() + factor * b.double()).to(a.dtype)
        for a, b in zip(one, other, strict=True)
    )


def unit(vector: Vector) -> Vector:
    """A vector of length one along the given one.

    Raises:
        ValueError: the vector is zero or not finite.
    """
    length = norm(vector)
    if not 0 < length < float("inf"):
        raise ValueError(f"a direction of length {length} leads nowhere")
    return scaled(vector, 1 / length)


def _belongs(name: str, to: str) -> bool:
    return to == "" or name == to or name.startswith(f"{to}.")


def _plain(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _value(state: State, name: str, weight: Tensor) -> Tensor:
    value = state.get(_plain(name))
    if value is None:
        some = ", ".join(list(state)[:8])
        raise ValueError(
            f"the checkpoint has no value for the weight {name}; it has {some}. "
            "Give the state dict of this model."
        )
    if value.shape != weight.shape:
        raise ValueError(
            f"the weight {name} has the shape {tuple(weight.shape)} in the model and "
            f"{tuple(value.shape)} in the checkpoint: it belongs to another model"
        )
    return value.detach().to(weight.device, weight.dtype)
