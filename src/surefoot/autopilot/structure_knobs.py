"""Changes to the make of a model, each with its undo.

What is new and has parameters is trained by the optimizer of what it stands beside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from surefoot.autopilot.live import (
    Applied,
    KnobError,
    Live,
    modules_of,
    number_of,
    optimizer_of,
)
from surefoot.autopilot.moment_knobs import forget
from surefoot.gradients.norms import weights_of
from surefoot.nn.init.activations import activations_of
from surefoot.nn.init.activations import replace_activation as put_activation
from surefoot.nn.init.draws import initialize_, weighted_layers_of
from surefoot.nn.init.errors import InitError
from surefoot.nn.init.joining import check_unwrapped
from surefoot.nn.init.surgery import add_skip
from surefoot.nn.init.surgery import insert_norm as put_norm
from surefoot.probes.streams import unwrapped
from surefoot.types import Change

KEEPS_SHAPE = (
    nn.Identity, nn.Dropout, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
    nn.LayerNorm, nn.GroupNorm, nn.RMSNorm,
)  # fmt: skip
"""What gives out the shape that it takes in, besides activations."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

SHARDS = "FullyShardedDataParallel"
"""The wrapper that keeps weights in flat pieces; later ones make them DTensors."""


def replace_activation(live: Live, change: Change) -> Applied:
    """Put another activation in the place of each one among the layers.

    Raises:
        KnobError: the new one is unknown, or the layers hold none, as where the
            model calls its activations as functions.
    """
    model, layers = whole(live), _bends(live, change)
    try:
        done = put_activation(model, str(change.amount), within=layers)
    except InitError as error:
        raise KnobError(str(error)) from error
    after = f"{done.after} in {done.count} places"
    return Applied(", ".join(done.before), after, done.undo)


def insert_norm(live: Live, change: Change) -> Applied:
    """Normalise the input of each activation among the layers.

    Where there is none among them, as with the name of a linear layer, what comes
    into the layers themselves is normalised.

    Raises:
        KnobError: another norm was asked for, there is nothing to normalise, or the
            model is wrapped for distributed training.
    """
    if change.amount != "layer_norm":
        raise KnobError(f"the norm {change.amount!r} came; expected 'layer_norm'")
    names = list(activations_of(whole(live), _names(live, change)))
    places = names or _carrying(live, change) or _bends(live, change)
    try:
        _check(live)
        done = put_norm(whole(live), places)
    except InitError as error:
        raise KnobError(str(error)) from error
    what = f"{done.count} activations" if names else ", ".join(places)
    return Applied("no norm", f"layer norm before {what}", done.undo)


def insert_skip(live: Live, change: Change) -> Applied:
    """Lead a path around each of the layers: layer(x) + gate·x, the gate is learned.

    The amount is what the gates begin with. Without layers, around every hidden
    linear or convolution layer that keeps the shape of what comes in.

    Raises:
        KnobError: a layer is not known to keep the shape, or there is none, or the
            model is wrapped for distributed training.
    """
    gate, model = number_of(change), whole(live)
    names = _names(live, change) or list(weighted_layers_of(model))
    parts = modules_of(live, names)
    places = [name for name in names if keeps_shape(parts[name])]
    if not places or (change.layers and len(places) < len(names)):
        lost = [name for name in names if name not in places]
        raise KnobError(
            f"the change skip insert came for {', '.join(lost[:5]) or 'no layer'}; "
            "expected layers that give out the shape they take in, such as "
            "nn.Linear(64, 64)"
        )
    undos: list[Callable[[], None]] = []
    try:
        _check(live)
        for name in places:
            owner = optimizer_of(live, parts[name])
            undos.append(add_skip(model, name, gate=gate, optimizer=owner).undo)
    except InitError as error:
        _undo_all(undos)
        raise KnobError(str(error)) from error
    after = f"a path around {', '.join(places)}, gate {gate:g}"
    return Applied("no path", after, partial(_undo_all, undos))


def keeps_shape(module: nn.Module) -> bool:
    """Whether a module of torch is sure to give out the shape that it takes in.

    >>> keeps_shape(nn.Linear(4, 4)), keeps_shape(nn.Linear(4, 2))
    (True, False)
    >>> keeps_shape(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)))
    True
    """
    if isinstance(module, nn.Sequential):
        parts = list(module)
        widths = [_widths(part) for part in parts]
        sides = [side for side in widths if side is not None]
        known = all(
            w is not None or keeps_shape(p) for p, w in zip(parts, widths, strict=True)
        )
        return known and bool(sides) and sides[0][0] == sides[-1][1]
    width = _widths(module)
    if width is not None:
        return width[0] == width[1]
    return isinstance(module, KEEPS_SHAPE) or bool(activations_of(module))


def initialize(live: Live, change: Change) -> Applied:
    """Draw the weights of linear and convolution layers anew, biases zero.

    Among the layers, or everywhere where none of them has weights; the seed is the
    run's, the random stream is not. Optimizers forget what they know of them.

    Raises:
        KnobError: the scheme is unknown, there is no layer to draw, or weights are
            sharded over processes.
    """
    check_not_sharded(live, change)
    model, layers = whole(live), _names(live, change)
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
    undos = [done.undo, *_forgotten(live, done.names)]
    after = f"{change.amount} in {done.count} layers"
    return Applied("as built", after, partial(_undo_all, undos))


def whole(live: Live) -> nn.Module:
    """All models of a run as one, whose names are those of the layers."""
    if len(live.models) == 1:
        return unwrapped(next(iter(live.models.values())))
    model = nn.Module()
    for key, one in live.models.items():
        model.add_module(key, unwrapped(one))
    return model


def check_not_sharded(live: Live, change: Change) -> None:
    """Refuse a change that needs whole weights where each process has a piece.

    Raises:
        KnobError: a model is inside FSDP or tensor parallelism.
    """
    for model in live.models.values():
        kinds = {kind.__name__ for m in model.modules() for kind in type(m).__mro__}
        if SHARDS in kinds or any(
            hasattr(p, "full_tensor") for p in model.parameters()
        ):
            raise KnobError(
                f"the change {change.knob} {change.op} came for a model whose weights "
                "are sharded over processes; expected a model that holds them whole; "
                "make the change in the script, before the model is sharded"
            )


def _forgotten(live: Live, names: Sequence[str]) -> list[Callable[[], None]]:
    """Let optimizers forget the parameters of layers; undos go out."""
    drawn = {id(p) for m in modules_of(live, names).values() for p in m.parameters()}
    return [
        forget(optimizer, weight)
        for optimizer in live.optimizers
        for weight in weights_of(optimizer)
        if id(weight) in drawn
    ]


def _check(live: Live) -> None:
    """Refuse models that are wrapped for distributed training."""
    for model in live.models.values():
        check_unwrapped(model)


def _undo_all(undos: list[Callable[[], None]]) -> None:
    while undos:
        undos.pop()()


def _widths(module: nn.Module) -> tuple[int, int] | None:
    """Features that come in and go out, where nothing else of the shape changes."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if not isinstance(module, CONVOLUTIONS) or module.padding_mode != "zeros":
        return None
    reach = [
        d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)
    ]
    padding = module.padding
    same = padding == "same" or [2 * int(p) for p in padding] == reach
    still = same and all(stride == 1 for stride in module.stride)
    return (module.in_channels, module.out_channels) if still else None


def _names(live: Live, change: Change) -> list[str]:
    """The layers of a change that there are.

    Raises:
        KnobError: one is in no model.
    """
    return list(modules_of(live, change.layers)) if change.layers else []


def _carrying(live: Live, change: Change) -> list[str]:
    """The linear and convolution layers among the layers of a change."""
    names = _names(live, change)
    return list(weighted_layers_of(whole(live), names)) if names else []


def _bends(live: Live, change: Change) -> Sequence[str]:
    """The activation modules among the layers; all of them if the layers hold none."""
    layers, model = _names(live, change), whole(live)
    found = activations_of(model, layers) or activations_of(model)
    if found:
        return list(found)
    raise KnobError(
        f"the change {change.knob} {change.op} came for a model without activation "
        "modules; expected modules such as nn.Sigmoid(); a function called in "
        "forward() can only be changed in the script"
    )
