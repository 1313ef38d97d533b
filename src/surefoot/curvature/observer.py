"""Calls of torch's functions come in, what they tell of a forward pass goes out.

Where the network ends and the loss begins is seen here: an Observer can cut the graph
there, so that each half can be differentiated alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.graph import depends_on

Dropout = Literal["fixed", "off"]
Cut = Literal["nowhere", "outputs", "losses"]
"""Where a graph is cut: at what the model returns, or at what loss functions get."""

ATTENTION = "scaled_dot_product_attention"
MULTIHEAD = "multi_head_attention_forward"
DROPOUTS = (
    "dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "feature_dropout",
    "alpha_dropout", "alpha_dropout_", "feature_alpha_dropout",
)  # fmt: skip
"""Functions of torch that drop elements; without dropout they give their input."""

LOSSES = (
    "cross_entropy", "nll_loss", "nll_loss_nd", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "mse_loss", "l1_loss", "smooth_l1_loss",
    "huber_loss", "poisson_nll_loss", "gaussian_nll_loss", "kl_div", "ctc_loss",
)  # fmt: skip
"""Loss functions of torch that an Observer takes note of."""

Natural = tuple[torch.Tensor, Callable[..., torch.Tensor], dict[str, Any]]


FED_BACK = (
    "loss_fn computes with what the model returned and gives the result to the model "
    "again, so that it is not clear where the network ends; put the repeated calls "
    "into a module of their own, and give that as the model"
)


class Observer(TorchFunctionMode):
    """Sees a forward pass; leaves dropout out of it and cuts its graph if told.

    Attributes:
        cut: where it cuts.
        attention: whether fused attention was asked for.
        recomputes: whether some of the graph is computed again at each product
            (activation checkpointing).
        precisions: number formats of autocast that were on.
        sums: values of loss functions that summed over samples.
        ends: where the network ends, as tensors with their graph.
        starts: the leaves that stand in their place, from which the loss is computed.
    """

    def __init__(self, *, dropout: Dropout, cut: Cut = "nowhere") -> None:
        super().__init__()
        self.attention = self.recomputes = False
        self.precisions: set[torch.dtype] = set()
        self._off, self.cut = dropout == "off", cut
        self.forget()

    def forget(self) -> None:
        """Let go of all tensors, and so of their graph."""
        self.ends: list[torch.Tensor] = []
        self.starts: list[torch.Tensor] = []
        self.sums: list[torch.Tensor] = []
        self._depth = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Let torch do what was asked for, and take note of it."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__get__":  # attributes of tensors: half of all calls
            return func(*args, **kwargs)
        if name in (ATTENTION, MULTIHEAD):
            args, kwargs = self._attending(name, args, kwargs)
        if self._off and name in DROPOUTS:
            return args[0] if args else kwargs["input"]
        self._look()
        if name in LOSSES:
            return self._lossy(func, args, kwargs)
        return func(*args, **kwargs)

    # --- where the network ends ----------------------------------------------------

    def entering(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """The model is called: a forward pre-hook.

        What it returned before and gets back, such as a hidden state, comes with its
        graph again.
        """
        self._depth += 1
        if self.cut != "outputs" or not self.starts:
            return None
        back = {id(s): e for s, e in zip(self.starts, self.ends, strict=True)}
        given = _replaced((args, kwargs), back)
        for one in filter(carries_gradient, pytree.tree_leaves(given)):
            if depends_on(one, self.starts):
                raise CurvatureError(FED_BACK)
        return given

    def leaving(self, module: nn.Module, args: Any, output: Any) -> Any:
        """The model returns: a forward hook. A loss that it computed is not cut."""
        self._depth -= 1
        if self.cut != "outputs" or self._depth:
            return None
        inside = bool(self.starts)
        new = {
            id(one): self._leaf(one)
            for one in pytree.tree_leaves(output)
            if carries_gradient(one) and not (inside and one.dim() == 0)
        }
        return _replaced(output, new)

    def _lossy(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A loss function is called: cut its input off if told."""
        if func.__name__ == "mse_loss" and len(args) > 1 and carries_gradient(args[1]):
            args = (args[1], args[0], *args[2:])  # some write the target first
        given = args[0] if args else kwargs.get("input")
        cut = self.cut == "losses" or (self.cut == "outputs" and self._depth)
        if cut and carries_gradient(given):
            if self.cut == "losses":
                given, func, kwargs = natural(func, given, kwargs)
            kwargs = {k: v for k, v in kwargs.items() if k != "input"}
            args = (self._leaf(given), *args[1:])
        result = func(*args, **kwargs)
        if kwargs.get("reduction") == "sum":
            self.sums.append(result.detach())
        return result

    def _leaf(self, one: torch.Tensor) -> torch.Tensor:
        """A leaf with the value of a tensor, which is remembered as its end."""
        leaf = one.detach().requires_grad_()
        self.ends.append(one)
        self.starts.append(leaf)
        return leaf

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


def natural(
    func: Callable[..., torch.Tensor], given: torch.Tensor, settings: dict[str, Any]
) -> Natural:
    """A loss over the natural parameters of its likelihood, with the same value.

    Over these its second derivative is the Fisher information (Martens 2020, "New
    insights and perspectives on the natural gradient method", section 9.2).

    Raises:
        CurvatureError: no likelihood is known of which this is the negative logarithm.
    """
    name = func.__name__
    if name in ("cross_entropy", "binary_cross_entropy_with_logits", "mse_loss"):
        return given, func, settings
    if name.startswith("nll_loss"):
        return given, functional.cross_entropy, settings
    if name == "binary_cross_entropy":
        return given.logit(), functional.binary_cross_entropy_with_logits, settings
    if name == "poisson_nll_loss" and settings.get("log_input", True):
        return given, func, settings
    raise CurvatureError(
        f"no likelihood is known for {name}; the true Fisher matrix is known for "
        "cross_entropy, nll_loss, binary_cross_entropy(_with_logits), mse_loss and "
        "poisson_nll_loss of logarithms; use kind='empirical' or the Gauss-Newton "
        "matrix, ggn(...)"
    )


def carries_gradient(one: Any) -> bool:
    """Whether something is a tensor that depends on what is trained."""
    return isinstance(one, torch.Tensor) and one.requires_grad


def _replaced(tree: Any, new: dict[int, torch.Tensor]) -> Any:
    """A nest with other tensors in the place of some."""

    def other(one: Any) -> Any:
        return new.get(id(one), one)

    return pytree.tree_map(other, tree)
