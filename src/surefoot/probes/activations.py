"""Activations: hooks on modules take samples, batched statistics go out.

A `Tap` holds the hooks of one stream. It is armed for one step at a time; unarmed,
it has no hooks on the modules at all: one that only looks whether it is wanted costs
8 µs where the layer before it has evicted the caches (benchmarks/RESULTS.md). Samples
are rows of one matrix, and the statistics of all modules are computed together when
the optimizer steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from surefoot.nn.flow.units import RANGES, RECTIFIED, saturated
from surefoot.probes.meter import Meter
from surefoot.probes.sampling import COUNT, channels, sample
from surefoot.probes.shield import Shield
from surefoot.probes.streams import kind_of
from surefoot.restore.hooks import VanishingHook
from surefoot.types import RUN, Moment, Reading

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
OUTER_SHARE = 0.05
DROPOUT = nn.modules.dropout._DropoutNd  # pyright: ignore[reportPrivateUsage]
BATCH_NORM = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]


def first_tensor(value: Any) -> torch.Tensor | None:
    """The first floating-point tensor in an output: tensor, tuple, list or dict."""
    if isinstance(value, torch.Tensor):
        whole = not hasattr(value, "full_tensor")
        seen = value.is_floating_point() and value.numel() > 0 and whole
        if not seen or value.layout != torch.strided:
            return None
        return value.detach() if value.requires_grad else value
    inner: Iterator[Any] = iter(())
    if isinstance(value, Mapping):
        inner = iter(value.values())
    elif isinstance(value, (tuple, list)):
        inner = iter(value)
    return next((t for item in inner if (t := first_tensor(item)) is not None), None)


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one forward pass: row `i` of `matrix` is from layer `names[i]`.

    `matrix` has shape `[len(names), 4096]`, float32. `groups` maps layers that may
    hold dead units to the unit of each element and the number of units. `modes` says
    which dropout (p > 0) and batch norm modules were in training mode.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    matrix: torch.Tensor
    groups: Mapping[str, tuple[torch.Tensor, int]]
    modes: Mapping[str, bool]


def in_training_pass() -> bool:
    """Whether a forward pass with gradients is under way, seen from inside a hook.

    Calls inside backward are the second ones of activation checkpointing; inside
    a transform of `torch.func` tensors stand for batches of themselves. torch has
    no public way to ask for either (pinned by tests/loops.py).
    """
    return (
        torch.is_grad_enabled()
        and torch._C._current_graph_task_id() == -1  # pyright: ignore[reportPrivateUsage]
        and torch._C._functorch.peek_interpreter_stack() is None  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    )


class Tap:
    """Samples of what the modules of one stream put out, on armed steps.

    `named` maps layer names to modules without children. What a functional
    activation made, such as `F.relu` between two layers, is seen as the input of
    the next weighted layer and named "<layer> (input)"; the first weighted layer of
    a pass is left out, since its input is data. `order` maps the layers to their
    kinds in the order of the first pass.
    """

    def __init__(
        self, named: Mapping[str, nn.Module], meter: Meter, shield: Shield
    ) -> None:
        self.armed = False
        self.meter = meter
        self.shield = shield
        self.cost_seconds = 0.0
        self.order: dict[str, str] = {}
        self._matrix: torch.Tensor | None = None
        self._rows: dict[str, int] = {}
        self._groups: dict[str, tuple[torch.Tensor, int]] = {}
        self._modes: dict[str, bool] = {}
        self._last: torch.Tensor | None = None
        self._weighted = False
        self._capacity = 2 * len(named) + 1
        self._hooks = [(module, _Hook(self, name)) for name, module in named.items()]
        self._handles: list[RemovableHandle] = []

    def arm(self) -> None:
        """Put the hooks on the modules, to take samples during the next pass."""
        start = time.thread_time()
        self.armed = True
        self._rows.clear()
        self._groups.clear()
        self._modes.clear()
        self._weighted = False
        if not self._handles:
            self._handles = [m.register_forward_hook(hook) for m, hook in self._hooks]
        self.cost_seconds += time.thread_time() - start

    def remove(self) -> None:
        """Take the hooks off the modules."""
        self.armed = False
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def see(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        """One forward call of an armed step: the first with gradients counts."""
        if name in self._rows or not in_training_pass():
            return
        if isinstance(module, WEIGHTED):
            before = first_tensor(inputs) if self._weighted else None
            if before is not None and not self._was_last(before):
                self._take(f"{name} (input)", before, "input", rectified=True)
            self._weighted = True
        if _has_modes(module):
            self._modes[name] = module.training
        tensor = first_tensor(output)
        if tensor is not None:
            kind = kind_of(module)
            self._take(name, tensor, kind, rectified=isinstance(module, RECTIFIED))
        self._last = tensor

    def samples(self) -> Samples | None:
        """What this step's forward pass left; the tap is unarmed."""
        start = time.thread_time()
        self.remove()
        self._last = None
        self.cost_seconds += time.thread_time() - start
        if self._matrix is None or not self._rows:
            return None
        names = tuple(self._rows)
        kinds = tuple(self.order[name] for name in names)
        matrix = self._matrix[: len(names)]
        return Samples(names, kinds, matrix, dict(self._groups), dict(self._modes))

    def _was_last(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is, or is a view of, what was sampled just before."""
        last = self._last
        return last is not None and last.data_ptr() == tensor.data_ptr()

    def _take(
        self,
        name: str,
        tensor: torch.Tensor,
        kind: str,
        *,
        rectified: bool,
    ) -> None:
        """Sample one tensor into the next row."""
        if self._matrix is None or self._matrix.device != tensor.device:
            self._matrix = torch.empty((self._capacity, COUNT), device=tensor.device)
            self._rows.clear()
        sample(tensor, self._matrix[len(self._rows)])
        self._rows[name] = len(self._rows)
        if rectified and tensor.dim() >= 2:
            dim = 1 if tensor.dim() >= 4 else tensor.dim() - 1
            self._groups[name] = (channels(tensor, dim), tensor.shape[dim])
        self.order.setdefault(name, kind)


def _has_modes(module: nn.Module) -> bool:
    """Whether a module does something else in training than in evaluation."""
    if isinstance(module, DROPOUT):
        return module.p > 0
    return isinstance(module, BATCH_NORM)


class _Hook(VanishingHook):
    """The forward hook of one module."""

    def __init__(self, tap: Tap, name: str) -> None:
        self._tap = tap
        self._name = name

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        # torch.compile folds the first test away, so a hook costs it no graph break.
        if not torch.compiler.is_compiling() and self._tap.armed:
            tap = self._tap
            with tap.meter:
                tap.shield.run(
                    "activations", lambda: tap.see(self._name, module, inputs, output)
                )
            self._tap.cost_seconds += self._tap.meter.spent


def activation_statistics(moment: Moment) -> list[Reading]:
    """Mean, deviation, largest magnitude, zeros, dead units, saturation by module.

    And the share of dropout and batch norm modules that were in training mode.

    Reads `moment.activations` (a `Samples`); None gives no reading.
    """
    samples: Samples | None = moment.activations
    if samples is None:
        return []
    return [
        *_moments(moment.step, samples),
        *_dead(moment.step, samples),
        *_saturated(moment.step, samples),
        *_in_training(moment.step, samples),
    ]


def _moments(step: int, samples: Samples) -> list[Reading]:
    """Mean, standard deviation, largest magnitude and share of zeros, a row each."""
    matrix = samples.matrix
    deviation, mean = torch.std_mean(matrix, dim=1)
    low, high = torch.aminmax(matrix, dim=1)
    values = {
        "activation_mean": mean,
        "activation_std": deviation,
        "activation_absmax": torch.maximum(low.abs(), high.abs()),
        "zero_share": (matrix == 0).sum(1) / matrix.shape[1],
    }
    return [Reading(step, name, samples.names, row) for name, row in values.items()]


def _dead(step: int, samples: Samples) -> list[Reading]:
    """Share of units that are zero on the whole sample, where zeros are a ReLU's.

    The input of a weighted layer counts only if it has zeros and no negatives.
    """
    if not samples.groups:
        return []
    picked = samples.matrix[[samples.names.index(name) for name in samples.groups]]
    shares: list[torch.Tensor] = []
    for values, (index, size) in zip(picked, samples.groups.values(), strict=True):
        peak = torch.zeros(size, device=values.device)
        peak.scatter_reduce_(0, index, values.abs(), "amax")
        met = torch.zeros(size, device=values.device)
        met.index_fill_(0, index, 1.0)
        shares.append(((peak == 0) & (met > 0)).sum() / met.sum())
    rectified = (picked >= 0).all(1) & (picked == 0).any(1)
    share = torch.where(rectified, torch.stack(shares), torch.nan)
    return [Reading(step, "dead_share", tuple(samples.groups), share)]


def _saturated(step: int, samples: Samples) -> list[Reading]:
    """Share of outputs in the outer 5 % of the range of a bounded activation."""
    found = [i for i, kind in enumerate(samples.kinds) if kind in RANGES]
    if not found:
        return []
    rows = samples.matrix[found]
    limits = torch.tensor([RANGES[samples.kinds[i]] for i in found]).to(rows.device)
    outer = saturated(rows, limits[:, :1], limits[:, 1:], near=OUTER_SHARE)
    layers = tuple(samples.names[i] for i in found)
    return [Reading(step, "saturated_share", layers, outer.float().mean(1))]


def _in_training(step: int, samples: Samples) -> list[Reading]:
    """Share of the modules with two modes that were in training mode."""
    modes = samples.modes.values()
    share = (sum(modes) / len(modes),) if modes else ()
    return [Reading(step, "training_share", RUN, share)] if modes else []
