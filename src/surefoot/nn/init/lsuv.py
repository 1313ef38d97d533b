"""A model and a batch come in; each of its layers puts out unit variance on that batch.

Layer-sequential unit variance (Mishkin & Matas 2016): weights are drawn orthonormal,
and one pass scales each by what it puts out, first to last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from surefoot.nn.init.draws import weighted_layers_of
from surefoot.nn.init.errors import InitError
from surefoot.restore.still import still


@dataclass(frozen=True, slots=True)
class Scaled:
    """What a layer put out before, and what its weights were multiplied by."""

    name: str
    std: float
    factor: float


def lsuv_(
    model: nn.Module,
    *inputs: Any,
    within: Sequence[str] = (),
    orthogonal: bool = True,
    generator: torch.Generator | None = None,
) -> tuple[Scaled, ...]:
    """Scale linear layers and convolutions to outputs of unit variance, in one pass.

    Args:
        model: changed in place: weights of these layers, and their biases to zero.
            Buffers and random streams stay.
        *inputs: what the model is called with: a batch of real data, in the mode in
            which the model is.
        within: names of modules to look in, or of the layers; all if empty.
        orthogonal: draw the weights orthonormal first, as in the paper; if not, they
            keep their direction.
        generator: where the draws come from.

    Returns:
        For each layer, in the order of the pass, what was done.

    Raises:
        InitError: a layer puts out nothing that varies, is reparametrised, or was not
            called; all weights are as before.

    >>> model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64))
    >>> done = lsuv_(model, torch.randn(256, 8))
    >>> [one.name for one in done], f"{model[0](torch.randn(9, 8)).std():.0f}"
    (['0', '2'], '1')
    """
    layers = weighted_layers_of(model, within)
    if not layers:
        raise InitError(
            f"{type(model).__name__} came without linear or convolution layers there"
        )
    for name, layer in layers.items():
        if parametrize.is_parametrized(layer):
            raise InitError(
                f"{name} has a parametrisation, which a scale would not reach; use it "
                "before the parametrisation is registered"
            )
    tensors = [p for layer in layers.values() for p in layer.parameters(recurse=False)]
    before = [tensor.detach().clone() for tensor in tensors]
    done = False
    try:
        _draw(layers, orthogonal, generator)
        scaled = _pass(model, inputs, layers)
        done = True
        return scaled
    finally:
        if not done:
            with torch.no_grad():
                for tensor, old in zip(tensors, before, strict=True):
                    tensor.copy_(old)


@torch.no_grad()
def _draw(
    layers: dict[str, nn.Module], orthogonal: bool, generator: torch.Generator | None
) -> None:
    for layer in layers.values():
        for tensor in layer.parameters(recurse=False):
            if tensor.dim() < 2:
                tensor.zero_()
            elif orthogonal:
                nn.init.orthogonal_(tensor, generator=generator)


def _pass(
    model: nn.Module, inputs: tuple[Any, ...], layers: dict[str, nn.Module]
) -> tuple[Scaled, ...]:
    """One forward pass; a layer is scaled when it is first called."""
    names = {id(layer): name for name, layer in layers.items()}
    done: dict[str, Scaled] = {}

    def scale(module: nn.Module, arguments: Any, output: Tensor) -> Tensor | None:
        name = names[id(module)]
        if name in done:
            return None
        std = float(output.double().std())
        if not 0 < std < float("inf"):
            raise InitError(
                f"{name} puts out values of standard deviation {std}; expected a batch "
                "that makes its outputs vary: check the input, and layers that are zero"
            )
        done[name] = Scaled(name, std, 1 / std)
        module.get_parameter("weight").mul_(1 / std)
        return output / std

    with still(model), torch.no_grad():
        handles = [layer.register_forward_hook(scale) for layer in layers.values()]
        try:
            model(*inputs)
        finally:
            for handle in handles:
                handle.remove()
    missing = [name for name in layers if name not in done]
    if missing:
        raise InitError(
            f"{', '.join(missing)} was not called; expected layers that the model uses "
            "for these inputs; name the others with within="
        )
    return tuple(done.values())
