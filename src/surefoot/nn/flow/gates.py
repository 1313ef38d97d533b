"""An activation comes in, by what it multiplies gradients goes out.

φ′(z) is a gate between 0 and 1 (or a little beyond) for each unit. Its mean E[φ′] is
what texts call the expected multiplier, yet norms of gradients follow √E[φ′²]: the two
differ by the spread of the gates.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from surefoot.nn.flow.errors import FlowError
from surefoot.nn.flow.gaussian import gaussian_mean
from surefoot.restore.still import still

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class GateGain:
    """What a layer's activation does to a gradient, over normal pre-activations.

    `mean` is E[φ′], `rms` is √E[φ′²]. A layer keeps the norms of gradients if its
    weights have gain 1/rms.
    """

    mean: float
    rms: float

    @property
    def cosine(self) -> float:
        """E[φ′]/√E[φ′²]: between a gradient and itself after the gate.

        1 if every unit's slope is the same; for gradients independent of the gates and
        in many dimensions.
        """
        return self.mean / self.rms if self.rms else 0.0

    def over(self, layers: int) -> GateGain:
        """Both over a number of layers, each with pre-activations of its own.

        >>> gate_gain(torch.relu).over(5).mean
        0.03125
        """
        return GateGain(self.mean**layers, self.rms**layers)


def gate_gain(
    activation: Activation, std: float = 1.0, *, mean: float = 0.0
) -> GateGain:
    """E[φ′(z)] and √E[φ′(z)²] for z ~ N(mean, std²), by exact quadrature.

    Args:
        activation: elementwise and deterministic: a module or a function.
        std: of the pre-activations.
        mean: of the pre-activations.

    Raises:
        FlowError: the activation mixes elements (softmax, GLU), is random, or has no
            finite slope.

    >>> found = gate_gain(torch.nn.LeakyReLU(0.2))
    >>> round(found.mean, 12), round(found.rms**2, 12)
    (0.6, 0.52)
    >>> [round(gate_gain(torch.tanh, std).mean, 3) for std in (1.0, 2.0, 3.0)]
    [0.606, 0.365, 0.255]
    """
    function = _in_double(activation)

    def both(places: Tensor) -> Tensor:
        gates = slopes(function, places)
        return torch.stack([gates, gates.square()])

    module = isinstance(activation, nn.Module)
    with still(activation) if module else nullcontext():
        _check(function, getattr(activation, "__name__", type(activation).__name__))
        first, second = gaussian_mean(both, std=std, mean=mean).tolist()
    return GateGain(first, second**0.5)


def slopes(activation: Activation, places: Tensor) -> Tensor:
    """φ′ at each element, in the shape that came."""
    with torch.enable_grad():
        given = places.detach().requires_grad_()
        found = activation(given)
        if not found.requires_grad:
            return torch.zeros_like(places)
        (slope,) = torch.autograd.grad(found.sum(), given)
    return slope


def _in_double(activation: Activation) -> Activation:
    """The activation on float64, if it has weights of another type (PReLU)."""
    weights = list(activation.parameters()) if isinstance(activation, nn.Module) else []
    if not weights or weights[0].dtype == torch.float64:
        return activation
    weight = weights[0]
    return lambda given: activation(given.to(weight)).to(given)


@torch.no_grad()
def _check(activation: Activation, name: str) -> None:
    """An activation is a function of each element by itself."""
    places = torch.linspace(-2.0, 3.0, 8, dtype=torch.float64)
    whole, again = activation(places), activation(places)
    if not torch.equal(whole, again):
        raise FlowError(
            f"{name} gives another output each time; expected a deterministic "
            "activation; put it into evaluation mode with .eval()"
        )
    alike = whole.shape == places.shape
    if not alike or not torch.allclose(whole[::2], activation(places[::2]), atol=1e-6):
        raise FlowError(
            f"{name} mixes elements or changes the shape; expected an elementwise "
            "activation; use block_jacobian for other modules"
        )
