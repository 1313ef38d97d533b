"""Changes to the model, made before its first forward pass, each with its undo."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from surefoot.autopilot.live import Applied, KnobError, Live, modules_of
from surefoot.nn.init.activations import activations_of
from surefoot.nn.init.activations import replace_activation as put_activation
from surefoot.nn.init.draws import initialize_, weighted_layers_of
from surefoot.nn.init.errors import InitError
from surefoot.nn.init.surgery import insert_norm as put_norm
from surefoot.types import Change


def replace_activation(live: Live, change: Change) -> Applied:
    """Put another activation in the place of each one among the layers.

    Raises:
        KnobError: the new one is unknown, or the layers hold none, as where the
            model calls its activations as functions.
    """
    model, layers = _whole(live), _bends(live, change)
    try:
        done = put_activation(model, str(change.amount), within=layers)
    except InitError as error:
        raise KnobError(str(error)) from error
    after = f"{done.after} in {done.count} places"
    return Applied(", ".join(done.before), after, done.undo)


def insert_norm(live: Live, change: Change) -> Applied:
    """Normalise the input of each activation among the layers."""
    if change.amount != "layer_norm":
        raise KnobError(f"the norm {change.amount!r} came; expected 'layer_norm'")
    done = put_norm(_whole(live), _bends(live, change))
    after = f"layer norm before {done.count} activations"
    return Applied("no norm", after, done.undo)


def initialize(live: Live, change: Change) -> Applied:
    """Draw the weights of linear and convolution layers anew, biases zero.

    Among the layers, or everywhere where none of them has weights; the seed is the
    run's, the random stream is not.
    """
    model, layers = _whole(live), _names(live, change)
    if not weighted_layers_of(model, layers):
        layers = []
    try:
        done = initialize_(
            model,
            str(change.amount),
            within=layers,
            activation="relu" if change.amount == "kaiming_normal" else "linear",
            generator=live.generator,
        )
    except InitError as error:
        raise KnobError(str(error)) from error
    return Applied("as built", f"{change.amount} in {done.count} layers", done.undo)


def _whole(live: Live) -> nn.Module:
    """All models of a run as one, whose names are those of the layers."""
    if len(live.models) == 1:
        return next(iter(live.models.values()))
    whole = nn.Module()
    for key, model in live.models.items():
        whole.add_module(key, model)
    return whole


def _names(live: Live, change: Change) -> list[str]:
    """The layers of a change that there are.

    Raises:
        KnobError: one is in no model.
    """
    return list(modules_of(live, change.layers)) if change.layers else []


def _bends(live: Live, change: Change) -> Sequence[str]:
    """The activation modules among the layers; all of them if the layers hold none."""
    layers, model = _names(live, change), _whole(live)
    found = activations_of(model, layers) or activations_of(model)
    if found:
        return list(found)
    raise KnobError(
        f"the change {change.knob} {change.op} came for a model without activation "
        "modules; expected modules such as nn.Sigmoid(); a function called in "
        "forward() can only be changed in the script"
    )
