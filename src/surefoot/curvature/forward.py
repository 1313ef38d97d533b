"""A model, a batch and a loss come in, a loss with its graph goes out, without trace.

Passes run inside `restore.still`, with kernels that have second derivatives, and under
an Observer that sees which functions of torch were called.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from surefoot.curvature.errors import CurvatureError, explained
from surefoot.curvature.wrappers import unwrapped
from surefoot.restore.still import still
from surefoot.types import LossFunction

Dropout = Literal["fixed", "off"]

ATTENTION = "scaled_dot_product_attention"
MULTIHEAD = "multi_head_attention_forward"
DROPOUTS = (
    "dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "feature_dropout",
    "alpha_dropout", "alpha_dropout_", "feature_alpha_dropout",
)  # fmt: skip
"""Functions of torch that drop elements; without dropout they give their input."""

RANDOM_DEPTH = ("StochasticDepth", "DropPath", "DropBlock", "LayerDrop")
"""Modules of other packages that drop at random: in evaluation mode they do not."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """How passes are made: with which model and loss, in which mode."""

    model: nn.Module
    loss_fn: LossFunction
    training: bool | None = None
    dropout: Dropout = "fixed"


@dataclass(frozen=True, slots=True)
class LossCall:
    """One call of a loss function of torch: its name, arguments and value."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    value: torch.Tensor
    inside: bool
    """Whether the model itself called it, in its forward pass."""


LOSSES = (
    "cross_entropy", "nll_loss", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "mse_loss", "l1_loss", "smooth_l1_loss",
    "huber_loss", "poisson_nll_loss", "gaussian_nll_loss", "kl_div",
)  # fmt: skip
"""Loss functions of torch that an Observer takes note of."""


class Observer(TorchFunctionMode):
    """Sees a forward pass, and leaves dropout out of it if told.

    Attributes:
        attention: whether fused attention was asked for.
        recomputes: whether some of the graph is computed again at each product
            (activation checkpointing).
        precisions: number formats of autocast that were on.
        losses: calls of known loss functions, in their order.
        outputs: what the model returned, call by call.
        depth: how many calls of the model are under way.
    """

    def __init__(self, *, dropout: Dropout) -> None:
        super().__init__()
        self.attention = self.recomputes = False
        self.precisions: set[torch.dtype] = set()
        self.losses: list[LossCall] = []
        self.outputs: list[Any] = []
        self.depth = 0
        self._off = dropout == "off"

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Let torch do what was asked for, and take note of it."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in (ATTENTION, MULTIHEAD):
            args, kwargs = self._attending(name, args, kwargs)
        if self._off and name in DROPOUTS:
            return args[0] if args else kwargs["input"]
        self._look()
        result = func(*args, **kwargs)
        if name in LOSSES and isinstance(result, torch.Tensor):
            call = LossCall(name, args, kwargs, result, inside=self.depth > 0)
            self.losses.append(call)
        return result

    def forget(self) -> None:
        """Let go of outputs and calls, and so of their graph."""
        self.losses, self.outputs, self.depth = [], [], 0

    def entering(self, module: nn.Module, args: Any) -> None:
        """The model is called: a forward pre-hook."""
        self.depth += 1

    def leaving(self, module: nn.Module, args: Any, output: Any) -> None:
        """The model returns: a forward hook."""
        self.depth -= 1
        if not self.depth:
            self.outputs.append(output)

    def _attending(self, name: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Arguments of an attention, without its dropout if told."""
        multi = name == MULTIHEAD
        self.attention |= not multi or not kwargs.get("need_weights", True)
        if self._off:
            place = 10 if multi else 4
            kwargs = {**kwargs, "dropout_p": 0.0}
            if len(args) > place:
                args = (*args[:place], 0.0, *args[place + 1 :])
                kwargs.pop("dropout_p")
        return args, kwargs

    def _look(self) -> None:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                self.precisions.add(torch.get_autocast_dtype(device))
        self.recomputes = self.recomputes or _saves_otherwise()


def _saves_otherwise() -> bool:
    """Whether what the graph saves goes through functions, as in checkpointing."""
    autograd: Any = torch._C._autograd  # pyright: ignore
    return autograd._top_saved_tensors_default_hooks(False) is not None


@contextmanager
def calm(conditions: Conditions) -> Generator[Observer]:
    """Inside, passes can be made and differentiated; afterwards all is as before."""
    observer = Observer(dropout=conditions.dropout)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(still(conditions.model, training=conditions.training))
        inner = unwrapped(conditions.model)
        inner.register_forward_pre_hook(observer.entering)
        inner.register_forward_hook(observer.leaving)
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
    if conditions.dropout == "off":
        if isinstance(module, nn.RNNBase):
            own["dropout"] = 0.0
        if type(module).__name__ in RANDOM_DEPTH:
            own["training"] = False


def _without_cudnn_rnn(model: nn.Module) -> AbstractContextManager[None]:
    """The cuDNN kernels of recurrent networks have no second derivative."""
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    on = torch.backends.cudnn.enabled and not recurrent  # pyright: ignore[reportUnknownVariableType]
    return torch.backends.cudnn.flags(enabled=bool(on))


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
        raise CurvatureError(_not_finite(conditions.model, value))
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
    given: list[torch.Tensor] | None = None,
    again: bool = False,
) -> tuple[torch.Tensor | None, ...]:
    """`torch.autograd.grad` that keeps the graph, with errors that say what to do.

    `given` are the cotangents of the outputs; `again` makes the result differentiable.
    """
    kind = inputs[0].device.type
    try:
        with torch.autocast(kind, enabled=False):
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


def tensors_in(tree: Any) -> list[torch.Tensor]:
    """Tensors of a nest that carry a gradient."""
    return [
        one
        for one in pytree.tree_leaves(tree)
        if isinstance(one, torch.Tensor) and one.requires_grad
    ]
