"""The output of a model: a hook on it comes in, sampled rows beside targets go out.

The hook is on the outermost module only, and only while armed. Targets come from the
batch that is told, or from the node of the loss in the autograd graph.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from surefoot.probes.activations import in_training_pass
from surefoot.probes.batch import targets_in, tensors
from surefoot.probes.meter import Meter
from surefoot.probes.outputs import FEWEST_CLASSES, MOST_CLASSES, Judged, Output
from surefoot.probes.sampling import sampled
from surefoot.probes.shield import Shield
from surefoot.probes.wiring import operation
from surefoot.restore.hooks import VanishingHook

MOST_ROWS = 512
MOST_ELEMENTS = 2**20
"""Elements of the sampled rows; an output with fewer is looked at as a whole."""
NEAR = 64
"""Nodes of a graph that are looked at between a loss and the output of a model."""
JUDGES = ("NllLoss", "NllLoss2D")
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(slots=True)
class _Seen:
    """One output, until its targets are known."""

    step: int
    passes: int
    largest: torch.Tensor
    shape: torch.Size
    axis: int
    scores: torch.Tensor | None
    node: tuple[str, int] | None
    source: weakref.ref[torch.Tensor] | None
    judged: Judged | None = None


class Outlook:
    """The first output of an armed step, and what it should have been.

    `passes` counts the training passes of the stream so far, so that the targets of
    another micro-batch are not taken for those of the sampled one.
    """

    def __init__(
        self,
        roots: Iterable[nn.Module],
        meter: Meter,
        shield: Shield,
        *,
        passes: Callable[[], int],
    ) -> None:
        self.armed = False
        self.meter = meter
        self.shield = shield
        self._roots = [
            root for root in roots if getattr(root, "_compiled_call_impl", None) is None
        ]
        # The output of one of several models may be features, not scores.
        self._several = len(self._roots) > 1
        self._passes = passes
        self.cost_seconds = 0.0
        self._step = 0
        self._handles: list[RemovableHandle] = []
        self._seen: _Seen | None = None

    def arm(self, step: int) -> None:
        """Look at the first training pass from here on, which belongs to `step`."""
        self.armed, self._step = True, step
        if not self._handles:
            self._handles = [
                root.register_forward_hook(_Hook(self)) for root in self._roots
            ]

    def remove(self) -> None:
        """Take the hooks off."""
        self.armed = False
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @property
    def waiting(self) -> bool:
        """Whether an output waits for its targets."""
        return self._seen is not None and self._seen.judged is None

    @property
    def ready(self) -> bool:
        """Whether there is an output."""
        return self._seen is not None

    def see(self, args: Any, output: Any) -> None:
        """The first training pass: sample what it put out."""
        tensor = scores_in(output)
        if tensor is None or not in_training_pass():
            return
        self.remove()
        value = tensor.detach()
        axis = 1 if value.dim() > 3 else value.dim() - 1
        source = next(iter(tensors(args)), None)
        rows = _rows_of(value, axis)
        whole = value if value.numel() <= MOST_ELEMENTS else rows
        largest = (sampled(value) if whole is None else whole).abs().max()
        self._seen = _Seen(
            step=self._step,
            passes=self._passes(),
            largest=largest.float().reshape(1),
            shape=value.shape,
            axis=axis,
            scores=rows,
            node=None if tensor.grad_fn is None else _identity(tensor.grad_fn),
            source=None if source is None else weakref.ref(source),
        )

    def see_loss(self, loss: torch.Tensor) -> None:
        """A loss before its backward pass: read scores and targets from its graph."""
        seen = self._seen
        if seen is None or seen.judged is not None or loss.grad_fn is None:
            return
        judge = _near(loss.grad_fn, lambda node: operation(node) in JUDGES)
        if judge is None or _near(judge, lambda n: _identity(n) == seen.node) is None:
            return
        seen.judged = _judged_by(judge)
        if seen.judged is not None and seen.scores is not None:
            classes = seen.judged.scores.shape[1]
            seen.scores = seen.scores if seen.scores.shape[1] == classes else None

    def see_batch(self, batch: Any) -> None:
        """The batch of the last pass: take its targets if they are of the output."""
        seen = self._seen
        if seen is None or seen.judged is not None:
            return
        alone = self._passes() == seen.passes
        source = None if seen.source is None else seen.source()
        same = source is not None and any(one is source for one in tensors(batch))
        targets = targets_in(batch)
        if targets is None or seen.scores is None or not (alone or same):
            return
        # Labels of a language model in a mapping are shifted by the model itself.
        if self._several or (isinstance(batch, Mapping) and len(seen.shape) == 3):
            return
        if _fits(targets, seen.shape, seen.axis):
            index = _rows(targets.numel(), len(seen.scores), targets.device)
            picked = targets.detach().reshape(-1)[index].to(seen.scores.device)
            seen.judged = Judged(seen.scores, picked.long())

    def take(self, *, scored: bool) -> Output | None:
        """What was seen; `scored` says whether the loss takes it for scores."""
        seen, self._seen = self._seen, None
        if seen is None:
            return None
        classes = (scored and not self._several) or seen.judged is not None
        return Output(
            seen.step, seen.largest, seen.scores if classes else None, seen.judged
        )


class _Hook(VanishingHook):
    """The forward hook of one root."""

    def __init__(self, outlook: Outlook) -> None:
        self._outlook = outlook

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        outlook = self._outlook
        if torch.compiler.is_compiling() or not outlook.armed:
            return
        with outlook.meter:
            outlook.shield.run("outputs", lambda: outlook.see(args, output))
        outlook.cost_seconds += outlook.meter.spent


def scores_in(value: Any) -> torch.Tensor | None:
    """The first floating-point tensor with rows in an output, with its graph."""
    if isinstance(value, torch.Tensor):
        whole = not hasattr(value, "full_tensor") and value.layout is torch.strided
        fits = value.is_floating_point() and value.dim() > 1 and value.numel() > 0
        return value if whole and fits else None
    inner: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, (tuple, list)):
        inner = value
    return next((t for item in inner if (t := scores_in(item)) is not None), None)


@lru_cache(maxsize=64)
def _rows(count: int, wanted: int, device: torch.device) -> torch.Tensor:
    """Places of `wanted` of `count` rows, ascending, at uneven distances."""
    if wanted >= count:
        return torch.arange(count, device=device)
    part = count / wanted
    place = np.arange(wanted)
    starts = place * part + (place * _GOLDEN % 1) * (part - 1)
    return torch.from_numpy(starts.astype(np.int64)).to(device)


@lru_cache(maxsize=64)
def _unravelled(
    shape: torch.Size, wanted: int, device: torch.device
) -> tuple[torch.Tensor, ...]:
    """The same places, as indices along each axis of the rows."""
    places = torch.unravel_index(_rows(shape.numel(), wanted, device), shape)
    return tuple(places)


def _rows_of(value: torch.Tensor, axis: int) -> torch.Tensor | None:
    """Sampled rows along the axis of classes, shape `[rows, classes]`, float32."""
    classes = value.shape[axis]
    if not FEWEST_CLASSES <= classes <= MOST_CLASSES:
        return None
    count = value.numel() // classes
    wanted = min(count, MOST_ROWS, max(1, MOST_ELEMENTS // classes))
    moved = value.movedim(axis, -1)
    if moved.dim() == 2:
        return moved[_rows(count, wanted, value.device)].float()
    return moved[_unravelled(moved.shape[:-1], wanted, value.device)].float()


def _fits(targets: torch.Tensor, shape: torch.Size, axis: int) -> bool:
    """Whether targets are integers, one for each row of an output."""
    if targets.is_floating_point() or targets.is_complex():
        return False
    if targets.dtype == torch.bool:
        return False
    rows = [*shape[:axis], *shape[axis + 1 :]]
    return list(targets.shape) == rows


def _identity(node: Any) -> tuple[str, int]:
    """What a node is told by without being kept alive."""
    return str(node.name()), int(node._sequence_nr())


def _near(root: Any, wanted: Callable[[Any], bool]) -> Any:
    """The closest node of a graph, downwards, that is wanted; None if none is near."""
    waiting, seen = deque([root]), {root}
    for _ in range(NEAR):
        if not waiting:
            return None
        node = waiting.popleft()
        if wanted(node):
            return node
        for child, _place in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                waiting.append(child)
    return None


def _judged_by(node: Any) -> Judged | None:
    """Scores and targets that a node of cross-entropy has saved.

    What a hook of the user has packed (offloading, checkpointing) is left alone.
    """
    packed = (node._raw_saved_self, node._raw_saved_target)
    if any(one.unpack_hook is not None for one in packed):
        return None
    scores, targets = node._saved_self.detach(), node._saved_target
    axis = 1 if scores.dim() > 1 else 0
    rows = _rows_of(scores if scores.dim() > 1 else scores[None], axis or 1)
    if rows is None or len(rows) == 0:
        return None
    index = _rows(targets.numel(), len(rows), targets.device)
    ignored = int(node._saved_ignore_index)
    # torch tells this one as an unsigned number.
    signed = ignored - 2**64 if ignored >= 2**63 else ignored
    return Judged(rows, targets.detach().reshape(-1)[index].long(), signed)
