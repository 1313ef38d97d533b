"""A model, a batch and a loss come in, the exact diagonal of its Gauss-Newton matrix.

Of a linear layer, each sample's gradient is an outer product, so its square is one of
squares: one backward pass for each output gives the diagonal of JᵀHJ without noise
(Dangel, Kunstner and Hennig 2020). What no layer allows is known by `diagonal`.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.curvature.errors import CurvatureError
from surefoot.restore.still import still
from surefoot.types import LossFunction

CONVEX = -1e-4
"""Eigenvalues of the loss by its outputs below this share of the largest are not
rounding: the loss is not convex in them."""


def linear_ggn_diagonal(
    model: nn.Module, data: Any, *, loss_fn: LossFunction
) -> dict[str, Tensor]:
    """Diagonal of the generalised Gauss-Newton matrix, for weights of linear layers.

    Exact, at one backward pass for each output of the model. Samples must not depend
    on each other, so batch norm has to be in eval mode; the model must return one
    tensor `[samples, outputs]`, and each linear layer is called once, on
    `[samples, features]`.

    Args:
        model: with linear layers; nothing of it is changed.
        data: one batch.
        loss_fn: convex in the model's outputs.

    Returns:
        For each trainable parameter of a linear layer, by its name, a tensor of its
        shape.

    Raises:
        CurvatureError: the model or the loss is not of this kind; says which.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> batch = torch.tensor([[1.0, 2.0]]), torch.zeros(1, 1)
    >>> loss = lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1])
    >>> linear_ggn_diagonal(model, batch, loss_fn=loss)
    {'weight': tensor([[2..., 8...]])}
    """
    _check_norms(model)
    with still(model), ExitStack() as hooks:
        returned = hooks.enter_context(_calls(model))
        calls = {
            name: hooks.enter_context(_calls(module))
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear)
        }
        loss = loss_fn(model, data)
        outputs = _only(returned, "the model")[1]
        layers = [
            (name, *_only(seen, f"layer {name!r}"))
            for name, seen in calls.items()
            if any(made.requires_grad for _, made in seen)
        ]
        found: dict[str, Tensor] = {}
        for column in _factor(loss, outputs).unbind(2):
            targets = [made for _, _, made in layers]
            # Of each sample by itself: samples do not depend on each other.
            slopes = torch.autograd.grad(
                outputs, targets, column, retain_graph=True, materialize_grads=True
            )
            for (name, came, _), slope in zip(layers, slopes, strict=True):
                _add(
                    found, model.get_submodule(name), name=name, came=came, slope=slope
                )
    return found


Call = tuple[Tensor, Tensor]


@contextmanager
def _calls(module: nn.Module) -> Generator[list[Call]]:
    """What a module gets and returns, call by call."""
    calls: list[Any] = []

    def see(_: nn.Module, came: tuple[Any, ...], made: Any) -> None:
        calls.append((came[0] if came else None, made))

    hook = module.register_forward_hook(see)
    try:
        yield calls
    finally:
        hook.remove()


def _only(calls: list[Call], who: str) -> Call:
    """The one call of a module, on samples by features."""
    shapes = [getattr(made, "shape", None) for _, made in calls]
    if len(shapes) != 1 or shapes[0] is None or len(shapes[0]) != 2:
        raise CurvatureError(
            f"{who} returned {[shape and list(shape) for shape in shapes]}; expected "
            "one call that returns a tensor [samples, features]; use "
            "diagonal(ggn(...)) instead"
        )
    return calls[0]


def _check_norms(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if module.training and "BatchNorm" in type(module).__name__:
            raise CurvatureError(
                f"batch norm {name!r} is in train mode, where samples depend on each "
                "other; expected eval mode; use diagonal(ggn(...)) instead"
            )


def _factor(loss: Tensor, outputs: Tensor) -> Tensor:
    """S `[samples, outputs, outputs]`: SSᵀ is the loss's curvature by the outputs."""
    (slope,) = torch.autograd.grad(loss, outputs, create_graph=True)
    if not slope.requires_grad:
        raise CurvatureError(
            "the loss is linear in the model's outputs, so that the Gauss-Newton "
            "matrix is zero; expected a loss that curves"
        )
    rows = [
        torch.autograd.grad(slope[:, place].sum(), outputs, retain_graph=True)[0]
        for place in range(outputs.shape[1])
    ]
    blocks = torch.stack(rows, dim=1)
    values, vectors = torch.linalg.eigh((blocks + blocks.mT) / 2)
    if values.min() < CONVEX * values.abs().max():
        raise CurvatureError(
            f"the loss curves downwards in the model's outputs ({values.min():.2g}); "
            "expected a convex one, such as cross-entropy; use diagonal(...) instead"
        )
    return vectors * values.clamp(min=0).sqrt()[:, None, :]


def _add(
    found: dict[str, Tensor],
    layer: nn.Module,
    *,
    name: str,
    came: Tensor,
    slope: Tensor,
) -> None:
    """Squares of one output's gradients, summed over the samples."""
    squares = slope.square()
    dot = f"{name}." if name else ""
    parts = {"weight": lambda: squares.T @ came.detach().square()}
    parts["bias"] = lambda: squares.sum(dim=0)
    for kind, part in parts.items():
        weight = getattr(layer, kind)
        if weight is not None and weight.requires_grad:
            place = f"{dot}{kind}"
            found[place] = found[place] + part() if place in found else part()
