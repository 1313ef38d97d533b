"""A model, a batch and a loss come in, a loss with its graph goes out, without trace.

Passes run inside `restore.still`, with kernels that have second derivatives and under
an Observer.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel

from surefoot.curvature.errors import (
    CHECKPOINTED,
    ONCE,
    SPARSE,
    CurvatureError,
    NotFiniteError,
    explained,
)
from surefoot.curvature.graph import differentiable_once, nodes_of
from surefoot.curvature.observer import Cut, Dropout, Observer
from surefoot.curvature.space import Space
from surefoot.curvature.wrappers import FullWeights, unwrapped
from surefoot.restore.still import still
from surefoot.types import LossFunction

RANDOM_DEPTH = ("StochasticDepth", "DropPath", "DropBlock", "LayerDrop")
"""Modules of other packages that drop at random: in evaluation mode they do not."""


HIDING = "CheckpointFunctionBackward"
"""The node of reentrant checkpointing, which runs parts of the model in its backward
pass: the weights in there are not in the graph."""

Pieces = list[torch.Tensor | None]
"""A tensor for each weight, None for zeros."""
Given = list[torch.Tensor] | None


@dataclass(frozen=True, slots=True)
class Conditions:
    """How passes are made: with which model and loss, in which mode.

    `weights` stand in for those that are spread over processes.
    """

    model: nn.Module
    loss_fn: LossFunction
    training: bool | None = None
    dropout: Dropout = "fixed"
    cut: Cut = "nowhere"
    weights: FullWeights | None = None

    def __post_init__(self) -> None:
        if self.dropout not in ("fixed", "off"):
            raise CurvatureError(
                f"came dropout={self.dropout!r}; expected 'fixed' or 'off'"
            )


@contextmanager
def calm(conditions: Conditions) -> Generator[Observer]:
    """Inside, passes can be made and differentiated; afterwards all is as before."""
    observer = Observer(dropout=conditions.dropout, cut=conditions.cut)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(still(conditions.model, training=conditions.training))
        if conditions.weights is not None:
            stack.enter_context(conditions.weights.lent())
        inner = unwrapped(conditions.model)
        if conditions.cut != "nowhere":
            hook = inner.register_forward_pre_hook(observer.entering, with_kwargs=True)
            stack.callback(hook.remove)
            stack.callback(inner.register_forward_hook(observer.leaving).remove)
        for module in conditions.model.modules():
            _ready(module, conditions)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(_without_cudnn_rnn(inner))
        stack.enter_context(observer)
        yield observer


def _ready(module: nn.Module, conditions: Conditions) -> None:
    """Switch off what a pass must not do; `still` puts the switches back."""
    own = vars(module)
    if isinstance(module, DistributedDataParallel):
        own["require_forward_param_sync"] = False
        own["require_backward_grad_sync"] = False
        own["broadcast_buffers"] = False
        own["find_unused_parameters"] = own["static_graph"] = False
    if conditions.dropout == "off":
        if isinstance(module, nn.RNNBase):
            own["dropout"] = 0.0
        if type(module).__name__ in RANDOM_DEPTH:
            own["training"] = False


def _without_cudnn_rnn(model: nn.Module) -> AbstractContextManager[None]:
    """The cuDNN kernels of recurrent networks have no second derivative.

    Other models keep their switches: entering sets those for precision, too.
    """
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        return torch.backends.cudnn.flags(enabled=False)
    return nullcontext()


def loss_of(conditions: Conditions, batch: Any) -> torch.Tensor:
    """The loss [] of a batch with its graph; to be called inside of `calm`.

    Raises:
        CurvatureError: it is no tensor with one element, has no graph, or is not
            finite.
    """
    try:
        value: Any = conditions.loss_fn(conditions.model, batch)
    except NotImplementedError as error:
        raise explained(error) from error
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        came = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value)
        raise CurvatureError(
            f"loss_fn gave {came}; expected a tensor with one element: reduce the loss "
            "with .mean() or .sum(), and do not call .item() on it"
        )
    if not value.requires_grad:
        raise CurvatureError(
            "the loss has no graph: nothing connects it to the weights; loss_fn must "
            "run the model with gradients, without .detach(), .item(), torch.no_grad() "
            "or numpy on the way"
        )
    if not torch.isfinite(value).all():
        raise NotFiniteError(_not_finite(conditions.model, value))
    return value.reshape(())


def _not_finite(model: nn.Module, loss: torch.Tensor) -> str:
    """Why a loss is not finite, as far as can be seen."""
    text = f"the loss is {loss.item()}"
    for kind, tensors in (
        ("parameter", model.named_parameters()),
        ("buffer", model.named_buffers()),
    ):
        for name, tensor in tensors:
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                return (
                    f"{text}, and the {kind} {name} holds values that are not finite; "
                    "there is no curvature at such a point: go back to weights from "
                    "before that"
                )
    return (
        f"{text}, although all weights are finite; look at the batch (NaN or huge "
        "inputs) and at the loss function (log of zero, overflow in half precision)"
    )


def derivatives(
    outputs: list[torch.Tensor],
    inputs: list[torch.Tensor],
    *,
    given: Given = None,
    again: bool = False,
) -> tuple[torch.Tensor | None, ...]:
    """`torch.autograd.grad` that keeps the graph, with errors that say what to do.

    `given` are the cotangents of the outputs; `again` makes the result differentiable.
    """
    try:
        with _in_full_precision(inputs[0].device.type):
            return torch.autograd.grad(
                outputs,
                inputs,
                grad_outputs=given,
                retain_graph=True,
                create_graph=again,
                allow_unused=True,
            )
    except RuntimeError as error:
        raise explained(error) from error


def _in_full_precision(device: str) -> AbstractContextManager[object]:
    """Whoever asks may be in autocast; products are not rounded by that."""
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def slopes(outputs: list[torch.Tensor], space: Space, *, given: Given = None) -> Pieces:
    """Derivatives of outputs by the weights of a space, with a graph of their own.

    Raises:
        CurvatureError: they depend on none of the weights, or weights are hidden.
    """
    rows = derivatives(outputs, list(space.tensors), given=given, again=True)
    for node in nodes_of(outputs):
        if node.name() == HIDING and any(row is None for row in rows):
            raise CurvatureError(CHECKPOINTED)
        if differentiable_once(node):
            raise CurvatureError(ONCE.format(name=node.name()))
    if any(row is not None and row.layout is not torch.strided for row in rows):
        raise CurvatureError(SPARSE)
    if all(row is None for row in rows):
        raise CurvatureError(
            f"the loss does not depend on any of the {len(space.names)} weights "
            f"({', '.join(space.names[:3])}, …); choose others with where=, or "
            "look for a .detach() or torch.no_grad() between them and the loss"
        )
    return list(rows)


def observed(conditions: Conditions, observer: Observer) -> tuple[str, ...]:
    """What a reader of results from these passes should know."""
    notes = [_about_norms(conditions)]
    if observer.attention:
        notes.append("attention ran on its maths kernel: the fused ones have no second "
                     "derivative")  # fmt: skip
    if observer.precisions:
        names = ", ".join(sorted(str(one) for one in observer.precisions))
        notes.append(f"the forward pass ran in autocast to {names}: products carry its "
                     "rounding")  # fmt: skip
    if observer.recomputes:
        notes.append("activation checkpointing: products compute parts of the forward "
                     "pass again")  # fmt: skip
    return tuple(note for note in notes if note)


def _about_norms(conditions: Conditions) -> str:
    norms = [
        conditions.training if conditions.training is not None else module.training
        for module in conditions.model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)  # pyright: ignore[reportPrivateUsage]
    ]
    if not norms:
        return ""
    if all(norms):
        return "batch norm in training mode: statistics of the batch, as in training"
    if not any(norms):
        return "batch norm in evaluation mode: running statistics; training may see " \
               "other curvature"  # fmt: skip
    return "some batch norms in training mode, others in evaluation mode"
