"""A model and the name of a part come in; the part has a skip path or a norm around it.

The model computes what it did as long as a skip's gate is at zero, and names of what is
inside grow by one word. An optimizer that is given trains what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from surefoot.nn.init.joining import Joining, check_unwrapped
from surefoot.nn.init.places import Rebuilt, module_at, put, with_weights
from surefoot.nn.init.residual import SkipInit, same_shape
from surefoot.nn.norm.channels import channel_layer_norm


class Skip(nn.Module):
    """inner(x) + g·x: a part of a model with a path around it, g learned.

    With g at zero it is the part itself, bit for bit; the Jacobian is J + g·I. (In
    `Residual` the gate is on the branch instead: the identity at zero.)

    Args:
        inner: from a shape to the same.
        gate: where g starts.

    >>> import torch
    >>> part = nn.Linear(4, 4)
    >>> x = torch.randn(3, 4)
    >>> bool((Skip(part)(x) == part(x)).all())
    True
    """

    def __init__(self, inner: nn.Module, gate: float = 0.0) -> None:
        super().__init__()
        self.inner = inner
        like = next(inner.parameters(), None)
        device, dtype = (None, None) if like is None else (like.device, like.dtype)
        self.gate = SkipInit(gate, device=device, dtype=dtype)

    def forward(self, x: Tensor, *more: object, **named: object) -> Tensor:
        """The part and the path around it; further arguments are the part's.

        Raises:
            InitError: the part changes the shape.
        """
        return same_shape(self.inner(x, *more, **named), x, self.inner) + self.gate(x)


class InputNorm(nn.Module):
    """Layer normalisation of whatever comes in over its features, then a module.

    Without parameters of its own, so that an optimizer made before it holds all
    there is. Features are the last dimension, channels for images `[N, C, H, W]`.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, values: Tensor) -> Tensor:
        """Normalise over the features, then apply the inner module."""
        if values.dim() >= 4:
            return self.inner(channel_layer_norm(values))
        return self.inner(functional.layer_norm(values, values.shape[-1:]))


def add_skip(
    model: nn.Module,
    name: str,
    *,
    gate: float = 0.0,
    optimizer: Optimizer | None = None,
    group: int | None = None,
) -> Rebuilt:
    """Lead a path around a part of a model: part(x) + gate·x.

    Args:
        model: changed in place.
        name: of the part, as in `named_modules`; it must keep the shape.
        gate: what the path starts with; at 0.0 the output stays, bit for bit.
        optimizer: trains the gate from its next update on, in the group of the part.
        group: the number of another group.

    Raises:
        InitError: there is no such part, the model is wrapped for distributed training,
            or the optimizer has no place for the gate. Nothing was changed.

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    >>> _ = add_skip(model, "0")
    >>> [name for name, _ in model.named_parameters()]
    ['0.inner.weight', '0.inner.bias', '0.gate.gate']
    """
    part = module_at(model, name)
    check_unwrapped(model)
    skip = Skip(part, gate)
    return _rebuilt(model, {name: skip}, Joining(optimizer, skip, beside=part,
                                                 group=group))  # fmt: skip


def insert_norm(
    model: nn.Module,
    names: str | Sequence[str],
    norm: Callable[[], nn.Module] | None = None,
    *,
    after: bool = False,
    optimizer: Optimizer | None = None,
    group: int | None = None,
) -> Rebuilt:
    """Put a normaliser before parts of a model, or after them.

    Args:
        model: changed in place.
        names: of a part, or of several.
        norm: makes a normaliser for each; without it, what comes in is normalised over
            its features without weights (`InputNorm`).
        after: normalise what comes out instead.
        optimizer: trains the normalisers' weights from its next update on.
        group: the number of the group for them; that of the part's weights if not
            given.

    Raises:
        InitError: as for `add_skip`; nothing was changed.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> insert_norm(model, "1", lambda: nn.LayerNorm(8)).count
    1
    >>> model[1]
    Sequential(
      (0): LayerNorm((8,), eps=1e-05, elementwise_affine=True...)
      (1): ReLU()
    )
    """
    wanted = [names] if isinstance(names, str) else list(names)
    parts = {name: module_at(model, name) for name in wanted}
    check_unwrapped(model)
    new: dict[str, nn.Module] = {}
    for name, part in parts.items():
        if norm is None and not after:
            new[name] = InputNorm(part)
        else:
            made = InputNorm(nn.Identity()) if norm is None else norm()
            new[name] = nn.Sequential(*((part, made) if after else (made, part)))
    joinings = [
        Joining(optimizer, new[name], beside=with_weights(model, name), group=group)
        for name in wanted
    ]
    return _rebuilt(model, new, *joinings)


def _rebuilt(
    model: nn.Module, new: dict[str, nn.Module], *joinings: Joining
) -> Rebuilt:
    """Put them, and let the optimizer know."""
    undos = [put(model, new), *(one.commit(model) for one in joinings)]

    def undo() -> None:
        for one in reversed(undos):
            one()

    return Rebuilt(tuple(new), undo)
