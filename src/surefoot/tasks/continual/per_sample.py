"""A model and a batch come in, the mean of powers of each sample's gradient goes out.

The gradient of a batch's mean loss says nothing of its samples: squared, it is smaller
than the mean of their squares by about the batch size. Here every sample has its own
gradient: linear and convolution layers by a product of matrices, other weights by
`torch.func.vmap`, and what that cannot run one sample at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from surefoot.tasks.continual.errors import ContinualError
from surefoot.tasks.continual.layers import (
    known_layers,
    power_sums,
    raised,
    recorded,
    uses,
)

Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs and targets of a batch to the loss of each sample, `[samples]`."""

CHUNK = 2**22
"""Elements of gradients of samples that `vmap` makes at once: 16 MB."""


@dataclass(frozen=True, slots=True)
class Work:
    """One batch: what the model is given, what it should have put out, which loss."""

    inputs: Any
    targets: Tensor
    loss: Loss
    power: int

    @property
    def samples(self) -> int:
        """How many."""
        return len(self.targets)


@dataclass(frozen=True, slots=True)
class Sums:
    """Σ over samples of |gradient|ᵖ by parameter, and by which ways it was found."""

    values: Mapping[str, Tensor]
    ways: frozenset[str]


def output_of(model: nn.Module, inputs: Any) -> Tensor:
    """A model's output: a tuple is its arguments, a mapping those by name.

    Raises:
        ContinualError: it is no tensor with a row for each sample.
    """
    args, named = _arguments(inputs)
    return _tensor(model(*args, **named))


def _tensor(found: Any) -> Tensor:
    if not isinstance(found, Tensor) or found.dim() < 1:
        raise ContinualError(
            f"the model returned {type(found).__name__}; expected a tensor [samples, "
            "...]; wrap it in a module that returns the outputs meant"
        )
    return found


def power_sums_of(model: nn.Module, work: Work) -> Sums:
    """Sums over the samples of a batch, for all weights that are trained."""
    found, ways = _by_layers(model, work), set[str]()
    if found:
        ways.add("layers")
    weights = {n: w for n, w in model.named_parameters() if w.requires_grad}
    rest = [name for name in weights if name not in found]
    if rest:
        others, way = _of_the_rest(model, work, rest)
        found.update(others)
        ways.add(way)
    return Sums({name: found[name] for name in weights}, frozenset(ways))


def _by_layers(model: nn.Module, work: Work) -> dict[str, Tensor]:
    """Of the layers that are called once, from one pass of the whole batch."""
    layers = known_layers(model)
    if not layers:
        return {}
    with torch.enable_grad(), recorded(layers) as calls:
        total = work.loss(output_of(model, work.inputs), work.targets).sum()
    used = uses(total)
    seen = {
        name: own[0]
        for name, own in calls.items()
        if len(own) == 1
        and len(own[0][0]) == work.samples
        and all(used.get(id(w)) == 1 for w in layers[name].parameters())
    }
    slopes = torch.autograd.grad(total, [made for _, made in seen.values()])
    found: dict[str, Tensor] = {}
    for (name, (given, _)), slope in zip(seen.items(), slopes, strict=True):
        sums = power_sums(layers[name], given.detach(), slope, power=work.power)
        prefix = f"{name}." if name else ""
        found |= {prefix + key: value for key, value in sums.items()}
    return found


def _of_the_rest(
    model: nn.Module, work: Work, names: Sequence[str]
) -> tuple[dict[str, Tensor], str]:
    """By vmap, and one by one where a module cannot be run under it."""
    try:
        return _by_vmap(model, work, names), "vmap"
    except RuntimeError:  # control flow on values, operators without a batching rule
        return _one_by_one(model, work, names), "one by one"


def _by_vmap(model: nn.Module, work: Work, names: Sequence[str]) -> dict[str, Tensor]:
    held = {n: t.detach() for n, t in (*_weights(model), *model.named_buffers())}
    wanted = {name: held.pop(name) for name in names}

    def loss(weights: dict[str, Tensor], inputs: Any, target: Tensor) -> Tensor:
        args, named = _arguments(_some(inputs, None))
        output = _tensor(functional_call(model, {**held, **weights}, args, named))
        return work.loss(output, target[None]).sum()

    each = vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")
    size = sum(weight.numel() for weight in wanted.values())
    many = max(1, min(work.samples, CHUNK // size))
    found = {name: torch.zeros_like(weight) for name, weight in wanted.items()}
    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        # torch then loops over the samples itself, which is no slower than this file
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        for start in range(0, work.samples, many):
            part = slice(start, start + many)
            gradients = each(wanted, _some(work.inputs, part), work.targets[part])
            for name, one in gradients.items():
                found[name] += raised(one, work.power).sum(0)
    return found


def _one_by_one(
    model: nn.Module, work: Work, names: Sequence[str]
) -> dict[str, Tensor]:
    weights = dict(_weights(model))
    wanted = [weights[name] for name in names]
    found = [torch.zeros_like(weight) for weight in wanted]
    for place in range(work.samples):
        part = slice(place, place + 1)
        with torch.enable_grad():
            output = output_of(model, _some(work.inputs, part))
            loss = work.loss(output, work.targets[part]).sum()
        slopes = torch.autograd.grad(
            loss, wanted, allow_unused=True, materialize_grads=True
        )
        for total, slope in zip(found, slopes, strict=True):
            total += raised(slope, work.power)
    return dict(zip(names, found, strict=True))


def _weights(model: nn.Module) -> list[tuple[str, Tensor]]:
    return list(model.named_parameters())


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, Mapping):
        return (), {str(name): value for name, value in inputs.items()}
    return (tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)), {}


def _some(inputs: Any, part: slice | None) -> Any:
    """Rows of every tensor of a nest; None puts a dimension of one before them."""

    def rows(tensor: Tensor) -> Tensor:
        return tensor[part]

    return pytree.tree_map(rows, inputs)
