"""One pass of a batch comes in, powers of each sample's gradient, summed, go out.

The gradient of a linear layer for one sample is an outer product δaᵀ, so that
Σ|δaᵀ|ᵖ = (|δ|ᵖ)ᵀ|a|ᵖ: one product of matrices, and no gradient of a sample is ever
written. Convolutions and layers on sequences sum over places first and take some
samples at a time.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

CHUNK = 2**20
"""Elements of gradients of samples at once: 4 MB, which stay in a processor's cache."""
CLOSE = 1e-3
"""Sums that differ from autograd's gradient by more are not those of the weight."""

Layer: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d
KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d)
Calls = dict[str, list[tuple[Tensor, Tensor]]]
Powers = tuple[Tensor, Tensor]


def known_layers(model: nn.Module) -> dict[str, Layer]:
    """Layers whose weights are their own, trained, and used in the known way.

    A subclass may compute something else, and a tied weight is used twice.
    """
    uses: dict[int, int] = {}
    for _, weight in model.named_parameters(remove_duplicate=False):
        uses[id(weight)] = uses.get(id(weight), 0) + 1
    return {
        name: module
        for name, module in model.named_modules()
        if type(module) in KINDS
        and isinstance(module, KINDS)
        and all(w.requires_grad and uses[id(w)] == 1 for w in module.parameters())
        and (isinstance(module, nn.Linear) or _plain(module))
    }


def _plain(module: nn.Conv1d | nn.Conv2d) -> bool:
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
) -> dict[str, Powers]:
    """By parameter: Σ over samples of |gradient|ᵖ, and of the gradient itself.

    Args:
        layer: whose weights are meant.
        given: its input, `[samples, ...]`.
        slope: the gradient by its output, of each sample's own loss.
        power: p, 1 or 2.
    """
    found: dict[str, Powers] = {}
    given, slope = _by_place(layer, given, slope)
    found["weight"] = _outer(given, slope, power, layer.weight.shape)
    if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        own = slope.sum(2).flatten(1)
        found["bias"] = _raised(own, power).sum(0), own.sum(0)
    return found


def agrees(
    found: Mapping[str, Powers], gradients: Mapping[str, Tensor], *, power: int
) -> bool:
    """Whether the sums of gradients are what autograd has for the same weights.

    They are not where a weight is also used outside of its layer's call.
    """
    for name, (raised, plain) in found.items():
        size = raised.sum().sqrt() if power == 2 else raised.norm()
        if (plain - gradients[name]).norm() > CLOSE * (size + gradients[name].norm()):
            return False
    return True


def _by_place(layer: Layer, given: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Both by place: `[samples, groups, places, in]` and `[..., out]`."""
    samples = len(given)
    if isinstance(layer, nn.Linear):
        return (
            given.reshape(samples, 1, -1, layer.in_features),
            slope.reshape(samples, 1, -1, layer.out_features),
        )
    one = isinstance(layer, nn.Conv1d)
    size, stride, padding, dilation = (
        (1, *pair) if one else pair
        for pair in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    )
    if one:
        given, slope, padding = given[:, :, None], slope[:, :, None], (0, *padding[1:])
    patches = functional.unfold(
        given, size, dilation=dilation, padding=padding, stride=stride
    )
    groups = layer.groups
    return (
        patches.reshape(samples, groups, -1, patches.shape[-1]).mT,
        slope.reshape(samples, groups, layer.out_channels // groups, -1).mT,
    )


def _outer(given: Tensor, slope: Tensor, power: int, shape: torch.Size) -> Powers:
    """Of Σ_places δaᵀ of all samples; both come as `[samples, groups, places, ·]`."""
    if given.shape[1] == given.shape[2] == 1:
        a, d = given[:, 0, 0], slope[:, 0, 0]
        raised = _raised(d, power).T @ _raised(a, power)
        return raised.reshape(shape), (d.T @ a).reshape(shape)
    many = max(1, CHUNK // shape.numel())
    raised = plain = given.new_zeros(())
    for some, its in zip(slope.split(many), given.split(many), strict=True):
        own = some.mT @ its
        raised = raised + _raised(own, power).sum(0)
        plain = plain + own.sum(0)
    return raised.reshape(shape), plain.reshape(shape)


def _raised(values: Tensor, power: int) -> Tensor:
    return values.square() if power == 2 else values.abs()
