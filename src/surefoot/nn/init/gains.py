"""An activation comes in, the gain of the weights before it that fits it goes out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from surefoot.nn.flow.errors import FlowError
from surefoot.nn.flow.gates import Activation, gate_gain, slopes
from surefoot.nn.flow.gaussian import gaussian_mean
from surefoot.nn.init.errors import InitError

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "mish": nn.Mish,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "hardtanh": nn.Hardtanh,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "softsign": nn.Softsign,
    "relu6": nn.ReLU6,
    "linear": nn.Identity,
}
"""By the names of torch's functions."""

TORCH: Mapping[type[nn.Module], float] = {nn.Tanh: 5 / 3, nn.SELU: 3 / 4}
"""What `torch.nn.init.calculate_gain` recommends from experience, not from a rule."""

NARROW = 1e-3
"""An output this near to zero at zero counts as zero there."""


def gain(activation: str | Activation) -> float:
    """What weights of variance gain²/fan_in keep: the size of the signal.

    1/√E[φ(z)²], z ~ N(0, 1), where φ(0) = 0 (He et al. 2015): √(2/(1 + a²)) for leaky
    ReLU, √2 for ReLU. Where φ(0) is not zero, as for a sigmoid, most of E[φ²] is the
    same for all examples and carries nothing; what does is multiplied by φ′(0), so the
    gain is 1/φ′(0): 4 for a sigmoid, for which torch's `calculate_gain` gives 1. For
    tanh and SELU it is torch's 5/3 and 3/4.

    Args:
        activation: a name as in `torch.nn.functional` ("relu", "gelu", ...), a module
            (its own slope counts), or an elementwise function.

    Raises:
        InitError: the name is unknown, or no gain fits: the activation is constant,
            random, or mixes elements as softmax does.

    >>> gain("sigmoid"), round(gain("relu") ** 2, 9), round(gain("gelu"), 4)
    (4.0, 2.0, 1.5335)
    >>> round(gain(nn.LeakyReLU(0.2)), 4)
    1.3868
    """
    function = _named(activation) if isinstance(activation, str) else activation
    known = TORCH.get(type(function)) if isinstance(function, nn.Module) else None
    if known is not None:
        return known
    try:
        gate_gain(function)
    except FlowError as error:
        raise InitError(f"{activation!r} has no gain: {error}") from error
    zero = torch.zeros(1, dtype=torch.float64)
    with torch.no_grad():
        centred = abs(_double(function, zero).item()) < NARROW
        kept = gaussian_mean(lambda z: _double(function, z).square()).item() ** 0.5
    if not centred:
        kept = abs(slopes(lambda z: _double(function, z), zero).item())
    if not (math.isfinite(kept) and kept > 0):
        raise InitError(
            f"{activation!r} came, which keeps nothing of its input; expected an "
            "elementwise activation with a slope"
        )
    return 1 / kept


def _named(name: str) -> nn.Module:
    kind = ACTIVATIONS.get(name)
    if kind is None:
        raise InitError(
            f"the activation {name!r} came; expected one of {', '.join(ACTIVATIONS)}"
        )
    return kind()


def _double(function: Activation, z: Tensor) -> Tensor:
    """The activation of float64, whatever the type of its own weights."""
    weights = list(function.parameters()) if isinstance(function, nn.Module) else []
    given = z.to(weights[0]) if weights else z
    return function(given).to(z)
