"""Changes that mend what a script forgot: mode, norms, registration, start.

Each is carried out on the live models and optimizers, and has its undo.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from surefoot.autopilot.live import Applied, KnobError, Live, modules_of
from surefoot.autopilot.moment_knobs import forget
from surefoot.autopilot.structure_knobs import check_not_sharded
from surefoot.gradients.norms import weights_of
from surefoot.nn.init.errors import GrowthError
from surefoot.nn.init.joining import check_unwrapped
from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.replace import replace_norm as put_norm
from surefoot.types import Change

RESET = "reset_parameters"
"""What torch calls the function that draws a layer's first weights."""
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def train_mode(live: Live, change: Change) -> Applied:
    """Put a model back into training mode whenever it is run with gradients.

    A model that is in training mode while some of its modules are not stays as it is:
    whoever rests only the normalisation means it.
    """
    put_back: list[nn.Module] = []

    def wake(model: nn.Module, args: Any) -> None:
        if torch.is_grad_enabled() and not model.training:
            put_back[:] = [model]
            model.train()

    handles = [m.register_forward_pre_hook(wake) for m in live.models.values()]

    def undo() -> None:
        for handle in handles:
            handle.remove()
        for model in put_back:
            model.eval()

    return Applied("the mode is the script's", "trained in training mode", undo)


def set_norm_momentum(live: Live, change: Change) -> Applied:
    """Let the running statistics of batch norms follow the batches faster or slower.

    Raises:
        KnobError: the amount is no share above 0, or there is no batch norm.
    """
    value = change.amount
    if isinstance(value, str) or not 0 < value <= 1:
        raise KnobError(
            f"the change norm.momentum set {value!r} came; expected a share above 0, "
            "such as 0.1"
        )
    modules = modules_of(live, change.layers).values()
    found: list[Any] = [one for one in modules if isinstance(one, BATCH_NORMS)]
    if not found:
        raise KnobError(
            "the change norm.momentum set came for a model without batch norms; "
            "choose another remedy"
        )
    before = [(module, module.momentum) for module in found]
    for module in found:
        module.momentum = value

    def undo() -> None:
        for module, old in before:
            module.momentum = old

    return Applied(f"momentum {before[0][1]}", f"momentum {value:g}", undo)


def replace_norm(live: Live, change: Change) -> Applied:
    """Put norms that do not depend on the batch in the place of batch norms.

    Scales and shifts stay the same parameters, so no optimizer needs to know.

    Raises:
        KnobError: the new norm is unknown or does not fit, none is replaced, or the
            model is wrapped for distributed training.
    """
    undos: list[Callable[[], None]] = []
    names: list[str] = []
    for model in live.models.values():
        before = {name: m for name, m in model.named_modules() if name}
        try:
            check_unwrapped(model)  # it sends running statistics, which would be gone
            done = put_norm(model, str(change.amount))
        except (NormError, GrowthError) as error:
            _undo_all(undos)
            raise KnobError(str(error)) from error
        names += [one.name for one in done]
        undos += [partial(_put, model, one.name, before[one.name]) for one in done]
    if not names:
        raise KnobError(
            f"the change norm replace {change.amount} came for a model without batch "
            "norms; choose another remedy"
        )
    after = f"{change.amount} norm in {', '.join(names)}"
    return Applied("batch norm", after, partial(_undo_all, undos))


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def _undo_all(undos: list[Callable[[], None]]) -> None:
    while undos:
        undos.pop()()


def register_parameters(live: Live, change: Change) -> Applied:
    """Hand the optimizer the trainable parameters of the models that none holds.

    They join its first group, so that a scheduler finds as many groups as before.

    Raises:
        KnobError: there are several optimizers, or nothing is left out.
    """
    if len(live.optimizers) != 1:
        raise KnobError(
            f"the change parameters register came for {len(live.optimizers)} "
            "optimizers; expected one: which is to hold them is not known"
        )
    optimizer = live.optimizers[0]
    held = {id(weight) for weight in weights_of(optimizer)}
    owned = [(n, p) for m in live.models.values() for n, p in m.named_parameters()]
    new = [(n, p) for n, p in owned if p.requires_grad and id(p) not in held]
    if not new:
        raise KnobError(
            "the change parameters register came, and the optimizer holds all that is "
            "trainable; choose another remedy"
        )
    group = optimizer.param_groups[0]
    before = {
        key: list(group[key]) for key in ("params", "param_names") if key in group
    }
    group["params"].extend(weight for _, weight in new)
    if "param_names" in group:
        group["param_names"].extend(name for name, _ in new)

    def undo() -> None:
        for key, old in before.items():
            group[key][:] = old
        for _, weight in new:
            optimizer.state.pop(weight, None)

    after = f"{', '.join(name for name, _ in new)} held"
    return Applied("not all is held", after, undo)


def reset_start(live: Live, change: Change) -> Applied:
    """Let layers begin as torch makes them: `reset_parameters` of each.

    Among the layers, or all of the model's. Optimizers forget what they know of them,
    and the run's random stream goes on as if nothing had been drawn.

    Raises:
        KnobError: no layer there can be reset, or weights are sharded over processes.
    """
    check_not_sharded(live, change)
    modules = modules_of(live, change.layers).values()
    found: list[Any] = [m for m in modules if callable(vars(type(m)).get(RESET))]
    tensors = [t for m in found for t in (*m.parameters(False), *m.buffers(False))]
    if not tensors:
        raise KnobError(
            "the change init reset came for modules without parameters that torch "
            "knows how to draw; choose another remedy"
        )
    before = [tensor.detach().clone() for tensor in tensors]
    streams = torch.random.get_rng_state()
    torch.random.manual_seed(live.generator.initial_seed())
    for module in found:
        module.reset_parameters()
    torch.random.set_rng_state(streams)

    drawn = {id(tensor) for tensor in tensors}
    undos = [
        forget(optimizer, weight)
        for optimizer in live.optimizers
        for weight in weights_of(optimizer)
        if id(weight) in drawn
    ]

    def undo() -> None:
        with torch.no_grad():
            for tensor, old in zip(tensors, before, strict=True):
                tensor.copy_(old)
        _undo_all(undos)

    return Applied("as built", f"torch's own start in {len(found)} layers", undo)
