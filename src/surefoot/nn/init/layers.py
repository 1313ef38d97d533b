"""What each layer puts out: a model comes in, Layers of one pass go out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import torch
from torch import nn

from surefoot.nn.flow.units import RANGES, saturated, unit_rows

MOST_ELEMENTS = 1_000_000
"""Elements of an output that are looked at; evenly spaced rows of a larger one."""

NEAR = 0.01
"""Outputs within this share of the range from an end count as saturated: a sigmoid or
tanh has 4 % of its largest slope there."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one module without children put out in the first pass.

    `rms`, `absmax` are of the output, `between` is the share of its mean square that
    differs between rows (examples or places), `dead` the share of units that are zero
    in every row, `saturated` the share of outputs at the ends of a sigmoid or tanh.
    `rows` is how many values each unit had. `gradient` is the norm of the loss's
    gradient with respect to the output; NaN where none came back.
    """

    name: str
    kind: str
    module: nn.Module
    shape: tuple[int, ...]
    rms: float
    absmax: float
    between: float
    dead: float
    saturated: float
    rows: int
    finite: bool
    gradient: float = math.nan
    input_rms: float = math.nan
    input_between: float = math.nan
    input_dead: float = math.nan
    half: bool = False
    """Whether the output is in float16."""
    input_finite: bool = True

    @property
    def weighted(self) -> bool:
        """Whether it multiplies by a matrix: linear, convolution, recurrent."""
        return any(weight.dim() >= 2 for weight in self.module.parameters(False))


class Taps:
    """Hooks on all modules without children, for one forward and backward pass."""

    def __init__(self, model: nn.Module) -> None:
        self._names = {m: n for n, m in model.named_modules() if not _inner(m)}
        self._found: dict[str, Layer] = {}
        self._gradients: dict[str, float] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        self._handles = [m.register_forward_hook(self._see) for m in self._names]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in the order of their first call, with what came back."""
        return tuple(
            replace(layer, gradient=self._gradients.get(name, math.nan))
            for name, layer in self._found.items()
        )

    def _see(self, module: nn.Module, args: Any, output: Any) -> None:
        """Look at the first call of a module."""
        name, out, given = self._names[module], first_float(output), first_float(args)
        if name in self._found or out is None or not torch.is_grad_enabled():
            return
        self._found[name] = layer(
            name,
            module,
            out=out.detach(),
            given=None if given is None else given.detach(),
        )
        if out.requires_grad:
            out.register_hook(partial(self._keep, name))

    def _keep(self, name: str, grad: torch.Tensor) -> None:
        self._gradients[name] = float(grad.detach().float().norm())


def layer(
    name: str, module: nn.Module, *, out: torch.Tensor, given: torch.Tensor | None
) -> Layer:
    """The statistics of one output."""
    flat = rows(out, module).float()
    finite = bool(torch.isfinite(flat).all())
    kind = type(module).__name__
    low, high = RANGES.get(kind, (math.nan, math.nan))
    at_ends = saturated(flat, low, high, near=NEAR).float().mean()
    return Layer(
        name=name,
        kind=kind,
        module=module,
        shape=tuple(out.shape),
        rms=float(flat.square().mean().sqrt()),
        absmax=float(flat.abs().max()) if flat.numel() else 0.0,
        between=between(flat),
        dead=_dead(flat),
        saturated=float(at_ends),
        rows=len(flat),
        finite=finite,
        input_rms=math.nan if given is None else _rms(given),
        input_between=math.nan if given is None else between(rows(given).float()),
        input_dead=math.nan if given is None else _dead(rows(given)),
        half=out.dtype == torch.float16,
        input_finite=given is None or bool(torch.isfinite(given).all()),
    )


def rows(out: torch.Tensor, module: nn.Module | None = None) -> torch.Tensor:
    """An output as rows of units, shape `[rows, units]`; some rows if it is large."""
    flat = unit_rows(out, module)
    return flat[:: max(1, flat.numel() // MOST_ELEMENTS)]


def between(flat: torch.Tensor) -> float:
    """Share of the mean square that differs between rows; NaN for a single row.

    >>> between(torch.tensor([[1.0, -1.0], [1.0, -1.0]]))
    0.0
    >>> between(torch.tensor([[1.0], [-1.0]]))
    1.0
    """
    if len(flat) < 2 or not flat.any():
        return math.nan if len(flat) < 2 else 0.0
    # In double precision, and from a scaled copy: tiny signals are the point here.
    x = flat.double() / flat.abs().max()
    return float((x - x.mean(0)).square().mean() / x.square().mean())


def first_float(value: Any) -> torch.Tensor | None:
    """The first floating tensor of a nest, as in a module's output."""
    if isinstance(value, torch.Tensor):
        return value if value.is_floating_point() else None
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return next((t for v in value if (t := first_float(v)) is not None), None)
    return None


def multiplying(layers: Iterable[Layer]) -> list[Layer]:
    """Those that multiply by a matrix, embeddings left out."""
    return [
        one
        for one in layers
        if one.weighted and not isinstance(one.module, nn.Embedding)
    ]


def slope(values: Sequence[float]) -> float:
    """The factor from one value to the next, by least squares on their logarithms.

    >>> round(slope([8.0, 4.0, 2.0, 1.0]), 3)
    0.5
    """
    points = [(i, math.log(v)) for i, v in enumerate(values) if v > 0]
    if len(points) < 2:
        return math.nan
    mid_x = sum(x for x, _ in points) / len(points)
    mid_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mid_x) ** 2 for x, _ in points)
    return math.exp(sum((x - mid_x) * (y - mid_y) for x, y in points) / spread)


def difference(one: Layer) -> float:
    """How much the outputs of different rows differ: their standard deviation."""
    return one.rms * math.sqrt(one.between) if one.between >= 0 else math.nan


def is_zero(module: nn.Module) -> bool:
    """Whether all matrices of a module are zero."""
    matrices = [w for w in module.parameters(False) if w.dim() >= 2]
    return bool(matrices) and not any(bool(torch.any(w != 0)) for w in matrices)


def _dead(flat: torch.Tensor) -> float:
    """Share of units that are zero in all rows; NaN for a single row."""
    return float((flat == 0).all(0).float().mean()) if len(flat) > 1 else math.nan


def _inner(module: nn.Module) -> bool:
    return any(True for _ in module.children())


def _rms(tensor: torch.Tensor) -> float:
    return float(tensor.detach().float().square().mean().sqrt())
