"""One pass of a batch comes in, powers of each sample's gradient, summed, go out.

The gradient of a linear layer for one sample is an outer product δaᵀ, so that
Σ|δaᵀ|ᵖ = (|δ|ᵖ)ᵀ|a|ᵖ: one product of matrices, and no gradient of a sample is ever
written. Convolutions and layers on sequences sum over places first and take some
samples at a time.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.nn import functional

CHUNK = 2**20
"""Elements of gradients of samples at once: 4 MB, which stay in a processor's cache."""

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
Layer: TypeAlias = nn.Linear | Convolution
KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
Calls = dict[str, list[tuple[Tensor, Tensor]]]


def known_layers(model: nn.Module) -> dict[str, Layer]:
    """Layers that compute what their class says, with weights that are trained.

    A subclass may compute something else.
    """
    return {
        name: module
        for name, module in model.named_modules()
        if type(module) in KINDS
        and isinstance(module, KINDS)
        and all(weight.requires_grad for weight in module.parameters())
        and (isinstance(module, nn.Linear) or _plain(module))
    }


def _plain(module: Convolution) -> bool:
    return module.padding_mode == "zeros" and not isinstance(module.padding, str)


@contextmanager
def recorded(layers: Mapping[str, Layer]) -> Generator[Calls]:
    """What layers get and put out, while a pass is made."""
    calls: Calls = {name: [] for name in layers}
    hooks: list[Any] = []
    for name, layer in layers.items():
        own = calls[name]

        def see(_: nn.Module, came: Any, made: Any, own: Any = own) -> None:
            own.append((came[0], made))

        hooks.append(layer.register_forward_hook(see))
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def power_sums(
    layer: Layer, given: Tensor, slope: Tensor, *, power: int
) -> dict[str, Tensor]:
    """Σ over samples of |gradient|ᵖ, by parameter.

    Args:
        layer: whose weights are meant.
        given: its input, `[samples, ...]`.
        slope: the gradient by its output, of each sample's own loss.
        power: p, 1 or 2.
    """
    given, slope = _by_place(layer, given, slope)
    found = {"weight": _outer(given, slope, power).reshape(layer.weight.shape)}
    if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        found["bias"] = raised(slope.sum(2).flatten(1), power).sum(0)
    return found


def uses(total: Tensor) -> dict[int, int]:
    """How often the graph of a tensor uses each weight, by the weight's id."""
    found: dict[int, int] = {}
    seen: set[Any] = set()
    waiting: list[Any] = [total.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for child, _ in node.next_functions:
            weight = id(getattr(child, "variable", None))
            found[weight] = found.get(weight, 0) + 1
            waiting.append(child)
    return found


def _by_place(layer: Layer, given: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Both by place: `[samples, groups, places, in]` and `[..., out]`."""
    samples = len(given)
    if isinstance(layer, nn.Linear):
        return (
            given.reshape(samples, 1, -1, layer.in_features),
            slope.reshape(samples, 1, -1, layer.out_features),
        )
    patches = _patches(layer, given)
    groups = layer.groups
    return (
        patches.reshape(samples, groups, -1, patches.shape[-1]).mT,
        slope.reshape(samples, groups, layer.out_channels // groups, -1).mT,
    )


def _patches(layer: Convolution, given: Tensor) -> Tensor:
    """What a kernel sees at each place, `[samples, channels · kernel, places]`.

    A view that is copied in long runs, three times as fast as torch's unfold.
    """
    own: Any = layer  # torch types what it was given, not what it made of it
    edges = [edge for size in reversed(own.padding) for edge in (size, size)]
    padded = functional.pad(given, edges).contiguous()
    sizes = padded.shape[2:]
    sample, channel, *steps = padded.stride()
    reach = [
        d * (k - 1) + 1 for d, k in zip(own.dilation, own.kernel_size, strict=True)
    ]
    places = [
        (size - far) // stride + 1
        for size, far, stride in zip(sizes, reach, own.stride, strict=True)
    ]
    inner = [step * d for step, d in zip(steps, own.dilation, strict=True)]
    outer = [step * stride for step, stride in zip(steps, own.stride, strict=True)]
    view = padded.as_strided(
        (*padded.shape[:2], *own.kernel_size, *places),
        (sample, channel, *inner, *outer),
    )
    return view.reshape(len(given), -1, math.prod(places))


def _outer(given: Tensor, slope: Tensor, power: int) -> Tensor:
    """Of Σ_places δaᵀ of all samples; both come as `[samples, groups, places, ·]`."""
    if given.shape[1] == given.shape[2] == 1:
        return raised(slope[:, 0, 0], power).T @ raised(given[:, 0, 0], power)
    size = slope.shape[1] * slope.shape[3] * given.shape[3]
    many = max(1, CHUNK // size)
    total = given.new_zeros(())
    for some, its in zip(slope.split(many), given.split(many), strict=True):
        total = total + raised(some.mT @ its, power).sum(0)
    return total


def raised(values: Tensor, power: int) -> Tensor:
    """|values|ᵖ for p of 1 or 2."""
    return values.square() if power == 2 else values.abs()
