"""A model that trains and two of its layers come in; the first has more units after.

Each new unit is a copy of an old one (Net2WiderNet, Chen et al. 2016), and what the
next layer took from the old one it now takes from both, in shares that add up to one.
That is exact for any elementwise activation between them, and for batch norms that are
told of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from surefoot.nn.init.depth_growth import Grown, difference, outputs
from surefoot.nn.init.errors import GrowthError
from surefoot.nn.init.identity import CONVOLUTIONS
from surefoot.nn.init.joining import check_unwrapped
from surefoot.nn.init.places import module_at

LINEAR = ("exp_avg", "momentum_buffer")
"""Moments that grow with the gradient."""
SQUARE = ("exp_avg_sq", "max_exp_avg_sq", "sum", "square_avg")
"""Moments that grow with its square."""

ROUNDING = 1_000
"""Change of the output, in units of its own rounding, that no split explains: sums in
another order differ by some ten, and deep models enlarge that."""

SIZES = ("out_features", "out_channels", "in_features", "in_channels", "num_features",
         "num_parameters")  # fmt: skip
"""Attributes of layers that say how large their weights are."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which units are split: those of `layer`, read by `into` only.

    Args:
        layer: name of a linear layer or a convolution.
        into: name of the linear layer or convolution that reads its units; behind a
            flattened map each unit may have several of its inputs.
        to: how many units there are to be.
        through: names of what else holds something for each unit: batch norms, PReLU.
        apart: a copy takes this share with a negative sign and the old unit as much
            more, so that gradients part the two at once. At 0 all shares are equal, as
            in the paper: optimizers such as Adam, which see no scale, then move both
            alike until noise or dropout parts them.
    """

    layer: str
    into: str
    to: int
    through: tuple[str, ...] = ()
    apart: float = 0.25


def grow_width(
    model: nn.Module,
    split: Split,
    *,
    inputs: Tensor | tuple[Any, ...],
    optimizer: Optimizer | None = None,
    generator: torch.Generator | None = None,
) -> Grown:
    """Give a layer more units, and leave what the model computes.

    Parameters stay the same objects, with larger values. Old units keep their moments
    bit for bit; new ones get those they would have had: a copy's gradient is that of
    its source times its share.

    Args:
        model: changed in place.
        split: which units, and how many.
        inputs: what the model is called with to measure the change: a tensor, or all
            arguments as a tuple.
        optimizer: whose moments grow along.
        generator: draws which units are copied.

    Raises:
        GrowthError: the output changes by more than rounding (as behind a layer norm),
            a part is of another kind or has weights that another part uses too, the
            model is wrapped for distributed training, or the optimizer keeps a state
            whose split is not known. Nothing was changed.
        InitError: there is no such part.

    >>> model = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 2))
    >>> grown = grow_width(model, Split("0", "2", to=9), inputs=torch.randn(5, 4))
    >>> model[0].out_features, grown.change < 1e-6
    (9, True)
    """
    check_unwrapped(model)
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    plan = _Plan(model, split, generator)
    plan.check(optimizer)
    before = [outputs(model, given, training=mode) for mode in (False, True)]
    undo = plan.carry_out(optimizer)
    try:
        after = [outputs(model, given, training=mode) for mode in (False, True)]
    except RuntimeError as error:
        undo()
        raise GrowthError(
            f"{split.layer!r} with {split.to} units does not fit what is behind it: "
            f"{error}; expected through= to name all that holds something for each "
            "unit"
        ) from error
    pairs = list(zip(before, after, strict=True))
    change = max(difference(old, new) for old, new in pairs)
    if change > max(_allowed(old) for old, _ in pairs):
        undo()
        raise GrowthError(
            f"{split.layer!r} with {split.to} units changes the output by "
            f"{change:.2g}; expected {split.into!r} to read its units, and nothing "
            f"to mix them on the way ({_between(model, split)})"
        )
    return Grown(split.layer, tuple(plan.names), difference(before[0], after[0]))


class _Plan:
    """All tensors that a split changes, found before anything is changed."""

    def __init__(
        self, model: nn.Module, split: Split, generator: torch.Generator | None
    ) -> None:
        self.layer = _layer(model, split.layer)
        self.into = _layer(model, split.into)
        self.units = len(self.layer.get_parameter("weight"))
        self.to = split.to
        columns = self.into.get_parameter("weight").shape[1]
        if split.to <= self.units or columns % self.units:
            raise GrowthError(
                f"to={split.to} came for {split.layer!r} with {self.units} units, and "
                f"{split.into!r} has {columns} inputs; expected more units than now, "
                "and the same number of inputs for each"
            )
        drawn = torch.randint(self.units, (split.to - self.units,), generator=generator)
        self.source = torch.cat([torch.arange(self.units), drawn])
        self.share = _shares(self.source, self.units, split.apart)
        through = [module_at(model, name) for name in split.through]
        self.own = [self.layer, *through]
        for name, module in zip(split.through, through, strict=True):
            _check_through(name, module, self.units)
        self.names = [
            name for name, p in model.named_parameters() if id(p) in self._parameters()
        ]
        _check_unshared(model, self._parameters(), self.own, self.into)

    def _parameters(self) -> dict[int, nn.Parameter]:
        own = [p for module in self.own for p in module.parameters(recurse=False)]
        return {id(p): p for p in (*own, self.into.get_parameter("weight"))}

    def check(self, optimizer: Optimizer | None) -> None:
        """Refuse moments whose split is not known."""
        for parameter in self._parameters().values():
            state = {} if optimizer is None else optimizer.state.get(parameter, {})
            for key, value in state.items():
                alike = isinstance(value, Tensor) and value.shape == parameter.shape
                if alike and value.dim() and key not in (*LINEAR, *SQUARE):
                    raise GrowthError(
                        f"{type(optimizer).__name__} keeps {key!r} of each weight, and "
                        "how that is split is not known; expected one of "
                        f"{', '.join((*LINEAR, *SQUARE))}"
                    )

    def carry_out(self, optimizer: Optimizer | None) -> Callable[[], None]:
        """Change weights, buffers, sizes and moments; what puts all back comes back."""
        undos: list[Callable[[], None]] = []
        with torch.no_grad():
            for module in self.own:
                for parameter in module.parameters(recurse=False):
                    state = {} if optimizer is None else optimizer.state[parameter]
                    undos.append(_moments(state, parameter, self._moment_rows))
                    undos.append(_resize(parameter, self._rows(parameter)))
                for key, buffer in module.named_buffers(recurse=False):
                    if buffer.dim():
                        undos.append(_set(module, key, self._rows(buffer)))
            weight = self.into.get_parameter("weight")
            state = {} if optimizer is None else optimizer.state[weight]
            undos.append(_moments(state, weight, lambda key, v: self._columns(v)))
            undos.append(_resize(weight, self._columns(weight, self.share)))
        inner = weight.shape[1] // self.to * self.units
        for module in (*self.own, self.into):
            for key in SIZES:
                old = getattr(module, key, None)
                reads = module is self.into and key.startswith("in_")
                if reads and old == inner:
                    undos.append(_set(module, key, weight.shape[1]))
                elif module is not self.into and old == self.units and key[:3] != "in_":
                    undos.append(_set(module, key, self.to))

        def undo() -> None:
            for one in reversed(undos):
                one()

        return undo

    def _rows(self, tensor: Tensor) -> Tensor:
        return tensor.detach()[self.source.to(tensor.device)]

    def _moment_rows(self, key: str, moment: Tensor) -> Tensor:
        """Old rows as they are; new ones scaled as their gradients are."""
        power = 2 if key in SQUARE else 1
        factor = self.share.to(moment).pow(power)
        factor[: self.units] = 1.0
        return self._rows(moment) * factor.reshape(-1, *(1,) * (moment.dim() - 1))

    def _columns(self, tensor: Tensor, share: Tensor | None = None) -> Tensor:
        """Inputs of the next layer, unit by unit."""
        blocks = tensor.detach().unflatten(1, (self.units, -1))
        blocks = blocks[:, self.source.to(tensor.device)]
        if share is not None:
            blocks = blocks * share.to(tensor).reshape(-1, *(1,) * (blocks.dim() - 2))
        return blocks.flatten(1, 2)


def _shares(source: Tensor, units: int, apart: float) -> Tensor:
    """What the next layer takes from each unit; the shares of copies add up to one."""
    counts = torch.bincount(source, minlength=units).double()
    if apart == 0:
        return 1 / counts[source]
    share = torch.full(source.shape, -apart, dtype=torch.float64)
    share[:units] = 1 + apart * (counts - 1)
    return share


def _layer(model: nn.Module, name: str) -> nn.Module:
    module = module_at(model, name)
    grouped = getattr(module, "groups", 1) != 1
    known = isinstance(module, (nn.Linear, *CONVOLUTIONS))
    if not known or grouped or parametrize.is_parametrized(module):
        raise GrowthError(
            f"{name!r} ({module}) came; expected a linear layer or a convolution with "
            "one group and without parametrisations"
        )
    return module


def _check_through(name: str, module: nn.Module, units: int) -> None:
    tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    if any(tensor.dim() and len(tensor) != units for tensor in tensors):
        raise GrowthError(
            f"{name!r} ({module}) came as what units pass; expected a part with one "
            f"value for each of the {units} units, such as a batch norm"
        )


def _check_unshared(
    model: nn.Module,
    changed: dict[int, nn.Parameter],
    own: list[nn.Module],
    into: nn.Module,
) -> None:
    inside = {id(module) for module in (*own, into)}
    for name, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            if id(parameter) in changed and id(module) not in inside:
                raise GrowthError(
                    f"{f'{name}.{key}'.strip('.')} uses the same weights; expected "
                    "layers with weights of their own"
                )


def _moments(
    state: dict[str, Any], parameter: Tensor, grown: Callable[[str, Tensor], Tensor]
) -> Callable[[], None]:
    """Let the moments of a parameter grow as it does."""
    before = dict(state)
    for key, value in before.items():
        if key in (*LINEAR, *SQUARE) and isinstance(value, Tensor):
            state[key] = grown(key, value)

    def undo() -> None:
        state.update(before)

    return undo


def _resize(parameter: nn.Parameter, values: Tensor) -> Callable[[], None]:
    """Give a parameter other values, of another shape; its gradient is dropped."""
    before, grad = parameter.data, parameter.grad
    _give(parameter, values.contiguous())

    def undo() -> None:
        _give(parameter, before)
        parameter.grad = grad

    return undo


def _give(parameter: nn.Parameter, values: Tensor) -> None:
    """Values of any shape, whatever graphs of the old shape are still alive."""
    parameter.grad = None
    # Autograd keeps the shape of a weight as long as a graph does, unless the type of
    # its values changes in between.
    other = torch.float32 if values.dtype == torch.float64 else torch.float64
    parameter.data = values.new_empty(0, dtype=other)
    parameter.data = values


def _set(module: nn.Module, key: str, value: Any) -> Callable[[], None]:
    before = getattr(module, key)
    setattr(module, key, value)
    return lambda: setattr(module, key, before)


def _allowed(old: list[Tensor]) -> float:
    """What rounding may change."""
    sizes = [
        ROUNDING * torch.finfo(one.dtype).eps * max(1.0, float(one.abs().max()))
        for one in old
        if one.numel()
    ]
    return max(sizes, default=0.0)


def _between(model: nn.Module, split: Split) -> str:
    """Modules registered between both layers."""
    names = [name for name, _ in model.named_modules()]
    start, end = sorted((names.index(split.layer), names.index(split.into)))
    return ", ".join(names[start + 1 : end]) or "no other module"
