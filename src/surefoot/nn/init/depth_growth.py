"""A model that trains and a block come in; the model is deeper, and computes the same.

Only what is measured to be the identity, in training and evaluation mode, is let in.
Weights and moments of before are the same objects, bit for bit; the block's weights are
new to the optimizer, which begins them at step 0 with the settings of their neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from surefoot.nn.init.errors import GrowthError
from surefoot.nn.init.freezing import stage_at
from surefoot.nn.init.identity import largest_change, refuse_unless_identity
from surefoot.nn.init.joining import Joining, check_unwrapped
from surefoot.nn.init.places import module_at, put, with_weights
from surefoot.restore.random_streams import repeated
from surefoot.restore.still import still
from surefoot.schedules.scheduled import Scheduled

DROPOUTS = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grown:
    """Where a model grew, which parameters are new or larger, what it changed.

    `change` is the largest difference of the outputs, measured in evaluation mode.
    """

    where: str
    parameters: tuple[str, ...]
    change: float


def grow_depth(
    model: nn.Module,
    block: nn.Module,
    *,
    after: str,
    inputs: Tensor | tuple[Any, ...],
    optimizer: Optimizer | None = None,
    group: int | None = None,
) -> Grown:
    """Insert a block that is the identity, so that training goes on from where it is.

    In an `nn.Sequential` or `nn.ModuleList` it is inserted, and what stands behind it
    moves up by one; elsewhere the part becomes `nn.Sequential(part, block)`.

    Args:
        model: changed in place.
        block: keeps what it is given, such as `residual_block(branch)` or
            `identity_block(layer, nn.ReLU())`.
        after: the name of the part that it comes behind.
        inputs: what the model is called with to measure the change: a tensor, or all
            arguments as a tuple.
        optimizer: trains the block from its next update on.
        group: the number of the group for the block's weights; that of the weights of
            the part if not given.

    Raises:
        GrowthError: the block changes what passes (it and the change are named), the
            model is wrapped for distributed training, or the optimizer has no place for
            the weights. Nothing was changed.
        InitError: there is no such part.

    >>> from surefoot.nn.init import residual_block
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> branch = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    >>> block = residual_block(branch)
    >>> grow_depth(model, block, after="1", inputs=torch.randn(5, 4)).change
    0.0
    >>> block = nn.Sequential(nn.Linear(8, 8), nn.GELU())
    >>> grow_depth(model, block, after="1", inputs=torch.randn(5, 4))
    Traceback (most recent call last):
    ...
    surefoot.nn.init.errors.GrowthError: Sequential(Linear, GELU) behind ...
    """
    part = module_at(model, after)
    check_unwrapped(model)
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    like = next(part.parameters(), next(model.parameters(), None))
    if like is not None:
        block.to(device=like.device, dtype=like.dtype)
    block.train(model.training)
    refuse_unless_identity(block, after, _passing(model, part, given))
    beside = with_weights(model, after)
    joining = Joining(optimizer, block, beside=beside, group=group)
    before = outputs(model, given, training=False)
    undo = _insert(model, after, block)
    change = difference(before, outputs(model, given, training=False))
    if change != 0.0:
        undo()
        raise GrowthError(
            f"the {type(model).__name__} changes its output by {change:.2g} with a "
            f"block behind {after!r}, though the block changes nothing; expected "
            "a model that calls its parts in order, not by their number"
        )
    joining.commit(model)
    own = {id(p) for p in block.parameters()}
    names = tuple(name for name, p in model.named_parameters() if id(p) in own)
    return Grown(after, names, change)


def _passing(model: nn.Module, part: nn.Module, given: tuple[Any, ...]) -> list[Tensor]:
    """What the part puts out, in either mode."""
    seen: list[Tensor] = []

    def see(module: nn.Module, arguments: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            seen.append(output.detach())

    for mode in (False, True):
        with still(model, training=mode), torch.no_grad(), repeated(0):
            hook = part.register_forward_hook(see)
            try:
                model(*given)
            finally:
                hook.remove()
    if not seen:
        raise GrowthError(
            f"{type(part).__name__} put out no tensor when the model was called with "
            "inputs; expected a part that is called and gives one tensor"
        )
    return seen


@torch.no_grad()
def outputs(
    model: nn.Module, given: tuple[Any, ...], *, training: bool
) -> list[Tensor]:
    """All tensors that a model puts out, dropout off; it stays as it is."""
    with still(model, training=training), torch.no_grad(), repeated(0):
        for module in model.modules():
            if isinstance(module, DROPOUTS):
                vars(module)["training"] = False
        return [one.clone() for one in _tensors(model(*given))]


def difference(left: list[Tensor], right: list[Tensor]) -> float:
    """The largest difference; infinite where shapes differ."""
    if len(left) != len(right):
        return float("inf")
    pairs = zip(left, right, strict=True)
    return max((largest_change(a, b) for a, b in pairs), default=0.0)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, Mapping):
        value = list(value.values())
    parts = value if isinstance(value, tuple | list) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def _insert(model: nn.Module, after: str, block: nn.Module) -> Callable[[], None]:
    """Put a block behind a part; what takes it out comes back."""
    owner, _, key = after.rpartition(".")
    parent = module_at(model, owner)
    if isinstance(parent, nn.Sequential | nn.ModuleList) and after:
        keys = list(vars(parent)["_modules"])
        place = keys.index(key) + 1
        if keys == [str(i) for i in range(len(keys))]:
            parent.insert(place, block)
            return lambda: parent.__delitem__(place)
    part = module_at(model, after)
    return put(model, {after: nn.Sequential(part, block)})


class Growing:
    """A post-step action: a model grows at the steps of a schedule, also when resumed.

    It has grown as often as the whole part of the schedule says. How often it did is in
    the optimizer's state dict: loading that into a new optimizer of the small model
    grows both first. So load the optimizer's state before the model's.

    Args:
        grow: grows once: gets the number of the growth, 0 for the first, and calls
            `grow_depth` or `grow_width`.
        stages: how often it is to have grown; it never shrinks.

    >>> from surefoot.nn.init import identity_block
    >>> from surefoot.schedules import Linear, after_step
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> def deeper(number):
    ...     block = identity_block(model[0], nn.ReLU())
    ...     x = torch.randn(3, 4)
    ...     return grow_depth(model, block, after="1", inputs=x, optimizer=sgd)
    >>> handle = after_step(sgd, Growing(deeper, stages=Linear(0, 2, steps=4)))
    >>> for _ in range(4):
    ...     sgd.step()
    >>> [event.step for event in handle.log], len(model)
    ([2, 4], 4)
    """

    def __init__(self, grow: Callable[[int], Grown], *, stages: Scheduled) -> None:
        self.grow = grow
        self.stages = stages
        self.done = 0

    def begin(self, step: int) -> None:
        """Grow as often as it is to have grown after `step` updates."""
        self(step)

    def __call__(self, step: int) -> Mapping[str, object]:
        """Grow if it is time; say where."""
        grown = self._up_to(stage_at(self.stages, step))
        return {"grown": [one.where for one in grown]} if grown else {}

    def state_dict(self) -> dict[str, int]:
        """How often it has grown."""
        return {"done": self.done}

    def make_room(self, state: Mapping[str, int]) -> None:
        """Grow as often as before, so that the optimizer can take its state."""
        self._up_to(int(state["done"]))

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Grow as often as before."""
        self._up_to(int(state["done"]))

    def _up_to(self, count: int) -> list[Grown]:
        grown: list[Grown] = []
        while self.done < count:
            grown.append(self.grow(self.done))
            self.done += 1
        return grown
