"""A model and the name of a scheme come in; its layers have weights drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import init

from surefoot.nn.init.errors import InitError
from surefoot.nn.init.gains import gain
from surefoot.nn.init.places import Rebuilt, module_at

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

Draw = Callable[[Tensor, float, torch.Generator | None], Tensor]


def _kaiming(weight: Tensor, scale: float, generator: torch.Generator | None) -> Tensor:
    # He's rule with any gain: torch's own takes the few it has a name for.
    fan = weight[0].numel()
    return init.normal_(weight, 0.0, scale / fan**0.5, generator=generator)


SCHEMES: Mapping[str, Draw] = {
    "kaiming_normal": _kaiming,
    "xavier_normal": lambda w, g, r: init.xavier_normal_(w, g, generator=r),
    "orthogonal": lambda w, g, r: init.orthogonal_(w, g, generator=r),
}


@torch.no_grad()
def initialize_(
    model: nn.Module,
    scheme: str,
    *,
    within: Sequence[str] = (),
    activation: str | float = "linear",
    generator: torch.Generator | None = None,
) -> Rebuilt:
    """Draw the weights of linear and convolution layers anew, biases zero.

    Args:
        model: changed in place.
        scheme: "kaiming_normal" (variance gain²/fan_in), "xavier_normal" (gain² times
            2/(fan_in + fan_out)) or "orthogonal" (gain times orthonormal rows or
            columns), drawn by torch's functions or their rule.
        within: names of modules to look in, or of the layers; all if empty.
        activation: what `gain` is asked for, or a gain.
        generator: where the draws come from.

    Raises:
        InitError: the scheme is unknown, or there is no layer to draw.

    >>> model = nn.Sequential(nn.Linear(400, 400), nn.ReLU())
    >>> initialize_(model, "kaiming_normal", activation="relu").names
    ('0',)
    >>> round((model[0].weight.std() * 20).item(), 1)
    1.4
    """
    draw = SCHEMES.get(scheme)
    if draw is None:
        raise InitError(
            f"the initialisation {scheme!r} came; expected {', '.join(SCHEMES)}"
        )
    layers = weighted_layers_of(model, within)
    if not layers:
        raise InitError(
            f"{type(model).__name__} came without linear or convolution layers there"
        )
    scale = gain(activation) if isinstance(activation, str) else activation
    tensors = [w for m in layers.values() for w in m.parameters(recurse=False)]
    before = [tensor.clone() for tensor in tensors]
    for tensor in tensors:
        if tensor.dim() > 1:
            draw(tensor, scale, generator)
        else:
            tensor.zero_()

    def undo() -> None:
        with torch.no_grad():
            for tensor, old in zip(tensors, before, strict=True):
                tensor.copy_(old)

    return Rebuilt(tuple(layers), undo)


def weighted_layers_of(
    model: nn.Module, within: Sequence[str] = ()
) -> dict[str, nn.Module]:
    """Linear and convolution layers of a model, or of parts of it, by name."""
    parts = [(name, module_at(model, name)) for name in within] or [("", model)]
    return {
        f"{part}.{name}".strip("."): module
        for part, root in parts
        for name, module in root.named_modules()
        if isinstance(module, WEIGHTED)
    }
