"""What activations put out comes in, which units are dead or saturated goes out.

A unit is dead if it is zero whatever comes in: a ReLU then passes no gradient to its
weights (Lu et al. 2020). That is told from activity and not from gradients: the weights
before a layer that starts at zero have no gradient at the first step, and their units
are well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.nn.flow.errors import FlowError
from surefoot.restore.hooks import Hooked

RECTIFIED = (nn.ReLU, nn.ReLU6)
RANGES: Mapping[str, tuple[float, float]] = {
    "Sigmoid": (0.0, 1.0),
    "Hardsigmoid": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Hardtanh": (-1.0, 1.0),
    "Softsign": (-1.0, 1.0),
}
"""The range of activations that saturate, by the name of their class."""

NEAR = 0.005
"""Share of the range: a tanh beyond ±0.99, where its slope is below 0.02."""
WINDOW = 100
"""Passes: a unit that one input in twenty moves is missed in 0.6 % of such windows even
at batch size 1."""

CHANNELS_FIRST = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d)


def unit_rows(output: Tensor, module: nn.Module | None = None) -> Tensor:
    """An output as rows of units, shape `[rows, units]`.

    Units are channels in maps (4 or more dimensions) and after a 1-d convolution,
    else the last dimension.

    >>> unit_rows(torch.zeros(2, 3, 5, 5)).shape
    torch.Size([50, 3])
    """
    if output.dim() <= 1:
        return output.reshape(-1, 1)
    first = output.dim() >= 4 or isinstance(module, CHANNELS_FIRST)
    flat = output.movedim(1, -1) if first and output.dim() > 2 else output
    return flat.reshape(-1, flat.shape[-1])


def saturated(
    values: Tensor, low: float | Tensor, high: float | Tensor, *, near: float = NEAR
) -> Tensor:
    """Where values lie within a share `near` of the range from one of its ends.

    >>> saturated(torch.tensor([-1.0, 0.0, 0.98, 0.991]), -1.0, 1.0).tolist()
    [True, False, False, True]
    """
    edge = near * (high - low)
    return (values < low + edge) | (values > high - edge)


class DeadUnits(nn.Module):
    """Passes its input on, and remembers when each unit last was active.

    Put it behind a ReLU, or let `watch_units` do so. A unit is dead that was zero for
    every example of the last `window` passes in training mode.

    Args:
        units: how many.
        window: passes.
        dim: of the units in the input: -1 for features, 1 for channels of maps.
        device: of the counters.

    Shapes:
        input and output `[...]` with `units` elements in dimension `dim`.

    >>> meter = DeadUnits(3, window=2)
    >>> for _ in range(2):
    ...     _ = meter(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    >>> meter.dead().tolist(), meter.share().item() > 0.6
    ([True, False, True], True)

    Raises:
        FlowError: `units` or `window` below 1, or an input of another size.
    """

    last_active: Tensor
    passes: Tensor

    def __init__(
        self,
        units: int,
        window: int = WINDOW,
        *,
        dim: int = -1,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if units < 1 or window < 1:
            raise FlowError(
                f"units={units}, window={window} came; expected 1 or more of both"
            )
        self.units, self.window, self.dim = units, window, dim
        count = torch.zeros(units, dtype=torch.int64, device=device)
        self.register_buffer("last_active", count)
        self.register_buffer("passes", torch.zeros_like(count[0]))

    def forward(self, values: Tensor) -> Tensor:
        """The input itself."""
        if values.shape[self.dim] != self.units:
            raise FlowError(
                f"an input {list(values.shape)} came; expected {self.units} units in "
                f"dimension {self.dim}"
            )
        if self.training:
            with torch.no_grad():
                others = [
                    d for d in range(values.dim()) if d != self.dim % values.dim()
                ]
                active = values.detach() != 0
                active = active.amax(others) if others else active
                self.passes.add_(1)
                last = torch.where(active, self.passes, self.last_active)
                self.last_active.copy_(last)
        return values

    def dead(self) -> Tensor:
        """Which units were never active in the last `window` passes, `[units]`.

        None before there were that many.
        """
        return self.passes - self.last_active >= self.window

    def share(self) -> Tensor:
        """Their share, `[]`, float32."""
        return self.dead().float().mean()

    def reset_parameters(self) -> None:
        """Forget all passes."""
        self.last_active.zero_()
        self.passes.zero_()

    def extra_repr(self) -> str:
        """Units, window and dimension."""
        return f"{self.units}, window={self.window}, dim={self.dim}"


class Saturation(nn.Module):
    """Passes its input on, and keeps which share of it lay at the ends of a range.

    Put it behind a tanh or a sigmoid, or let `watch_units` do so.

    Args:
        low: the lower end of the activation's range.
        high: the upper end.
        window: training passes over which `share` is the mean.
        near: what counts as the end, a share of the range: 0.005 is abs(tanh) > 0.99.
        device: of the memory.

    >>> meter = Saturation(-1.0, 1.0)
    >>> _ = meter(torch.tanh(torch.tensor([0.0, 1.0, 3.0, -3.0])))
    >>> meter.share().item()
    0.5

    Raises:
        FlowError: an empty range, a window below 1, or `near` not between 0 and 0.5.
    """

    shares: Tensor
    passes: Tensor

    def __init__(
        self,
        low: float = -1.0,
        high: float = 1.0,
        *,
        window: int = WINDOW,
        near: float = NEAR,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if not (low < high and window >= 1 and 0 < near < 0.5):
            raise FlowError(
                f"low={low}, high={high}, window={window}, near={near} came; expected "
                "low < high, a window of 1 or more, and near between 0 and 0.5"
            )
        self.low, self.high, self.window, self.near = low, high, window, near
        self.register_buffer("shares", torch.zeros(window, device=device))
        count = torch.zeros((), dtype=torch.int64, device=device)
        self.register_buffer("passes", count)

    def forward(self, values: Tensor) -> Tensor:
        """The input itself."""
        if self.training:
            with torch.no_grad():
                at_ends = saturated(
                    values.detach(), self.low, self.high, near=self.near
                )
                place = (self.passes % self.window).reshape(1)
                now = at_ends.to(self.shares.dtype).mean().reshape(1)
                self.shares.index_copy_(0, place, now)
                self.passes.add_(1)
        return values

    def share(self) -> Tensor:
        """The mean share over the last passes, `[]`; 0 before the first."""
        return self.shares.sum() / self.passes.clamp(1, self.window)

    def reset_parameters(self) -> None:
        """Forget all passes."""
        self.shares.zero_()
        self.passes.zero_()

    def extra_repr(self) -> str:
        """Range, window and what counts as its ends."""
        return f"{self.low}, {self.high}, window={self.window}, near={self.near}"


class UnitWatch(Hooked):
    """Meters behind the activations of a model: `watch_units` makes it.

    The model's state dict stays as it is. `remove()` or a `with` block ends it.
    """

    def __init__(self, model: nn.Module, window: int) -> None:
        self.window = window
        self.meters: dict[str, DeadUnits | Saturation] = {}
        found = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, RECTIFIED) or type(module).__name__ in RANGES
        }
        if not found:
            raise FlowError(
                "the model has no activation modules such as nn.ReLU() or nn.Tanh(); "
                "put DeadUnits or Saturation behind the functions that it calls"
            )
        super().__init__(
            m.register_forward_hook(_Hook(self, n)) for n, m in found.items()
        )

    def dead(self) -> Mapping[str, Tensor]:
        """Places `[k]` of the dead units of each rectifier that ran."""
        return {
            name: meter.dead().nonzero().flatten()
            for name, meter in self.meters.items()
            if isinstance(meter, DeadUnits)
        }

    def saturated(self) -> Mapping[str, float]:
        """The share at the ends of each bounded activation that ran."""
        return {
            name: float(meter.share())
            for name, meter in self.meters.items()
            if isinstance(meter, Saturation)
        }


class _Hook:
    """Shows one activation's output to its meter, made at the first pass."""

    def __init__(self, watch: UnitWatch, name: str) -> None:
        self._watch, self._name = watch, name

    def __call__(self, module: nn.Module, given: Any, output: Tensor) -> None:
        if not module.training:
            return
        meters, name = self._watch.meters, self._name
        if name not in meters:
            meters[name] = _meter(module, output, self._watch.window)
        meters[name](unit_rows(output.detach(), module))


def watch_units(model: nn.Module, *, window: int = WINDOW) -> UnitWatch:
    """Watch which units of ReLUs are dead and how saturated bounded activations are.

    Args:
        model: its `nn.ReLU`, `nn.ReLU6`, `nn.Tanh`, `nn.Sigmoid` and like modules are
            watched in training mode; activations called as functions are not seen.
        window: passes over which is judged.

    >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU())
    >>> _ = nn.init.constant_(net[0].bias[:2], -10.0)
    >>> with watch_units(net, window=3) as watch:
    ...     for _ in range(3):
    ...         _ = net(torch.rand(8, 2))
    >>> watch.dead()["1"][:2].tolist()
    [0, 1]

    Raises:
        FlowError: the model has no such modules, or the window is below 1.
    """
    if window < 1:
        raise FlowError(f"window={window} came; expected 1 or more passes")
    return UnitWatch(model, window)


def _meter(module: nn.Module, output: Tensor, window: int) -> DeadUnits | Saturation:
    ends = RANGES.get(type(module).__name__)
    if isinstance(module, nn.Hardtanh) and not isinstance(module, RECTIFIED):
        ends = (module.min_val, module.max_val)
    if ends is not None:
        return Saturation(*ends, window=window, device=output.device)
    units = unit_rows(output, module).shape[1]
    return DeadUnits(units, window, device=output.device)
