"""Changes to the model, made before its first forward pass, each with its undo."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional, init

from surefoot.autopilot.live import Applied, KnobError, Live, modules_of
from surefoot.nn.norm.channels import channel_layer_norm
from surefoot.types import Change

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
}
BENDS = (
    *ACTIVATIONS.values(),
    nn.Sigmoid,
    nn.Hardsigmoid,
    nn.Hardtanh,
    nn.Softsign,
    nn.ReLU6,
    nn.SELU,
)
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class InputNorm(nn.Module):
    """Layer normalisation of whatever comes in over its features, then a module.

    Without parameters of its own, so that an optimizer made before it holds all
    there is. Features are the last dimension, channels for images `[N, C, H, W]`.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Normalise over the features, then apply the inner module."""
        if values.dim() >= 4:
            return self.inner(channel_layer_norm(values))
        return self.inner(functional.layer_norm(values, values.shape[-1:]))


def replace_activation(live: Live, change: Change) -> Applied:
    """Put another activation in the place of each one among the layers.

    Raises:
        KnobError: the new one is unknown, or the layers hold none, as where the
            model calls its activations as functions.
    """
    kind = ACTIVATIONS.get(str(change.amount))
    if kind is None:
        raise KnobError(
            f"the activation {change.amount!r} came; expected one of "
            f"{', '.join(ACTIVATIONS)}"
        )
    old = _bends(live, change)
    undo = _swap(live, {name: kind() for name in old})
    before = ", ".join(sorted({type(module).__name__ for module in old.values()}))
    return Applied(before, f"{kind.__name__} in {len(old)} places", undo)


def insert_norm(live: Live, change: Change) -> Applied:
    """Normalise the input of each activation among the layers."""
    if change.amount != "layer_norm":
        raise KnobError(f"the norm {change.amount!r} came; expected 'layer_norm'")
    old = _bends(live, change)
    undo = _swap(live, {name: InputNorm(module) for name, module in old.items()})
    return Applied("no norm", f"layer norm before {len(old)} activations", undo)


def initialize(live: Live, change: Change) -> Applied:
    """Draw the weights of linear and convolution layers anew, biases zero.

    Among the layers, or everywhere where none of them has weights; the seed is the
    run's, the random stream is not.
    """
    draw = _draws(live.generator).get(str(change.amount))
    if draw is None:
        raise KnobError(
            f"the initialisation {change.amount!r} came; expected kaiming_normal, "
            "xavier_normal or orthogonal"
        )
    named = modules_of(live, change.layers)
    targets = [m for m in named.values() if isinstance(m, WEIGHTED)]
    if not targets:
        targets = [m for m in modules_of(live, ()).values() if isinstance(m, WEIGHTED)]
    weights = [w for m in targets for w in (m.weight, m.bias) if w is not None]  # pyright: ignore[reportUnnecessaryComparison]
    before = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight in weights:
            if weight.dim() > 1:
                draw(weight)
            else:
                weight.zero_()

    def undo() -> None:
        with torch.no_grad():
            for weight, old in zip(weights, before, strict=True):
                weight.copy_(old)

    return Applied("as built", f"{change.amount} in {len(targets)} layers", undo)


def _draws(
    generator: torch.Generator,
) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Initialisations by name."""
    return {
        "kaiming_normal": lambda w: init.kaiming_normal_(
            w, nonlinearity="relu", generator=generator
        ),
        "xavier_normal": lambda w: init.xavier_normal_(w, generator=generator),
        "orthogonal": lambda w: init.orthogonal_(w, generator=generator),
    }


def _bends(live: Live, change: Change) -> Mapping[str, nn.Module]:
    """The activation modules among the layers; all of them if the layers hold none."""
    for layers in (change.layers, ()):
        named = modules_of(live, layers)
        found = {name: m for name, m in named.items() if isinstance(m, BENDS)}
        if found:
            return found
    raise KnobError(
        f"the change {change.knob} {change.op} came for a model without activation "
        "modules; expected modules such as nn.Sigmoid(); a function called in "
        "forward() can only be changed in the script"
    )


def _swap(live: Live, new: Mapping[str, nn.Module]) -> Callable[[], None]:
    """Put modules in the places of others of the same names; undo goes out."""
    named = modules_of(live, ())
    old: list[tuple[nn.Module, str, nn.Module]] = []
    for name, module in new.items():
        parent, _, last = name.rpartition(".")
        owner = named[parent]
        old.append((owner, last, getattr(owner, last)))
        module.train(getattr(owner, last).training)
        setattr(owner, last, module)

    def undo() -> None:
        for owner, last, module in old:
            setattr(owner, last, module)

    return undo
