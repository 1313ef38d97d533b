"""A model that trains comes in; before it is evaluated, its batch norms are put right.

Batch norms evaluate with running averages. Where those are not the statistics that
training normalises by, the model that is evaluated is not the one that was trained.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from surefoot.autopilot.apply import apply_changes
from surefoot.autopilot.live import Live
from surefoot.autopilot.regularisation_knobs import called
from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.gap import shift_in_deviations
from surefoot.nn.norm.recalibrate import recalibrate_bn, tracked_norms
from surefoot.restore.hooks import VanishingHook
from surefoot.restore.still import still
from surefoot.types import Change, Event
from surefoot.wording import number

BATCHES = 8
"""Training batches that are kept: with 8 of 32 the mean of a channel is known to 6 % of
its deviation, a tenth of the shift that is acted on."""

APART = 0.01
NEARER = 2.0
SLOW = 0.03
"""What is acted on: evaluated outputs 1 % of their variance away from trained ones,
twice as far as with recent statistics, and a momentum that does not mend it within some
dozens of steps. In 17 healthy runs (even seeds) averages with the usual momentum of 0.1
lagged that far behind where the rate was high, and caught up by themselves; with the
zoo's stale_statistics the factor was 18 and more (benchmarks/regularisation.py)."""


@dataclass(frozen=True, slots=True)
class StatisticsGap:
    """How far evaluation lies from training, and how much nearer it could be.

    Attributes:
        layer: the batch norm whose running mean lies farthest off.
        shift: how far, in running standard deviations, its worst channel.
        apart: mean square of evaluated minus trained outputs, over the variance of the
            trained ones, with the running averages.
        nearer: the same with the statistics of the recent batches.
        momentum: the smallest of the norms'; 1/n for a plain average of n batches.
    """

    layer: str
    shift: float
    apart: float
    nearer: float
    momentum: float

    @property
    def alarm(self) -> bool:
        """Whether the averages are off, will stay so, and could be better."""
        far = self.apart > max(APART, NEARER * self.nearer)
        return far and self.momentum < SLOW


def statistics_gap(model: nn.Module, batches: Sequence[Any]) -> StatisticsGap:
    """Compare running statistics with those of batches; nothing remains of it.

    Three passes over the batches, without gradients.

    Args:
        model: with batch norms that track statistics.
        batches: `(args, kwargs)` of calls of the model.

    Raises:
        NormError: no batch came, or no such norm ran.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.BatchNorm1d(4, momentum=0.001))
    >>> found = statistics_gap(net, [((torch.randn(500, 4) + 2,), {})])
    >>> round(found.shift), found.alarm
    (2, True)
    """
    norms = tracked_norms(model)
    with still(model, training=False), torch.no_grad():
        running = _outputs(model, batches)
        held = {
            name: (norm.running_mean.double(), norm.running_var.double())
            for name, norm in norms.items()
        }
        recalibrate_bn(model, batches, forward=called)
        recent = _outputs(model, batches)
        shifts = {
            name: float(
                shift_in_deviations(
                    norm.running_mean.double() - held[name][0], held[name][1], norm.eps
                ).max()
            )
            for name, norm in norms.items()
        }
        for norm in norms.values():
            vars(norm)["training"] = True
        trained = _outputs(model, batches)
    layer = max(shifts, key=lambda name: shifts[name])
    apart, nearer = _distance(running, trained), _distance(recent, trained)
    slowest = min(_momentum(norm) for norm in norms.values())
    return StatisticsGap(layer, shifts[layer], apart, nearer, slowest)


class NormStatistics(VanishingHook):
    """Recalibrates batch norms before an evaluation, where that is called for.

    It sits on the model's calls. Training passes are kept, the last few; at the first
    pass without gradients in evaluation mode the running averages are compared with
    them, and set to the statistics of those batches if evaluation is far from training
    without that and near with it. Healthy runs are left alone. A model that is trained
    in evaluation mode is left alone too: it was fitted to its running averages.

    What is kept are references to the inputs, on their device. Each process of a
    distributed run looks at its own batches.

    Args:
        model: what is trained and evaluated.
        batches: how many training passes are kept.
        tell: who hears of a change, such as `run.event`.
        step: what gives the step for events, such as `lambda: run.last_step`.

    Raises:
        NormError: the model has no batch norm that tracks statistics.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.BatchNorm1d(4, momentum=0.001))
    >>> told = []
    >>> with NormStatistics(net, tell=told.append):
    ...     for _ in range(20):
    ...         _ = net(torch.randn(32, 4) + 3)
    ...     with torch.no_grad():
    ...         _ = net.eval()(torch.randn(5, 4) + 3)
    >>> told[0].body["knob"], net[0].running_mean.round().tolist()
    ('norm_statistics', [3.0, 3.0, 3.0, 3.0])
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        batches: int = BATCHES,
        tell: Callable[[Event], None] | None = None,
        step: Callable[[], int] | None = None,
    ) -> None:
        if not tracked_norms(model):
            raise NormError(
                f"{type(model).__name__} came without batch norms that track "
                "statistics; expected one at least; other norms need no running ones"
            )
        self._model = model
        self._kept: deque[Any] = deque(maxlen=batches)
        self._due = False
        self._tell = tell or _nobody
        self._step = step or _zero
        self._undo: Callable[[], None] | None = None
        self._since = 0
        self._hook = model.register_forward_pre_hook(self, with_kwargs=True)

    def __call__(self, module: nn.Module, args: Any, named: Any) -> None:
        """Keep a training pass; look before the first evaluation after one."""
        if torch.is_grad_enabled():
            # A norm may be frozen alone: the model is fitted to its averages as well.
            norms = tracked_norms(module).values()
            if module.training and all(norm.training for norm in norms):
                self._kept.append(_detached((args, named)))
                self._due = True
            else:
                self._kept.clear()
                self._due = False
        elif self._due and not module.training:
            self.refresh()

    def refresh(self) -> StatisticsGap | None:
        """Compare, and recalibrate if called for; None where nothing was to be seen."""
        self._due = False
        if not self._kept:
            return None
        try:
            gap = statistics_gap(self._model, self._kept)
        except NormError:  # none of its norms ran, or on one value a channel
            return None
        if gap.alarm:
            why = (
                f"the running mean of {gap.layer} lies {number(gap.shift)} deviations "
                f"off; evaluated outputs are {number(gap.apart)} of their variance "
                f"from trained ones, {number(gap.nearer)} with recent statistics"
            )
            change = Change("norm_statistics", "recalibrate", "recent")
            live = Live({"model": self._model}, [], self._step(), batches=self._kept)
            self._undo = apply_changes([change], live, why, self._tell)
            self._since = live.step
        return gap

    def undo(self) -> None:
        """Put back the running statistics of before the last recalibration."""
        if self._undo is not None:
            self._undo()
            self._undo = None
            body = {"knob": "norm_statistics", "of": self._since, "why": "asked for"}
            self._tell(Event(self._step(), "undo", body))

    def close(self) -> None:
        """Take the hook off, and let go of the batches."""
        self._hook.remove()
        self._kept.clear()

    def __enter__(self) -> NormStatistics:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _outputs(model: nn.Module, batches: Sequence[Any]) -> list[Tensor]:
    """All floating outputs of each batch, one row an example."""
    found: list[Tensor] = []
    for batch in batches:
        leaves = [
            leaf.float().flatten()
            for leaf in tree_leaves(called(model, batch))
            if isinstance(leaf, Tensor) and leaf.is_floating_point()
        ]
        found.append(torch.cat(leaves) if leaves else torch.zeros(0))
    return found


def _distance(seen: Sequence[Tensor], true: Sequence[Tensor]) -> float:
    """Mean square difference over the variance of the true values."""
    both = torch.cat(list(seen)), torch.cat(list(true))
    spread = both[1].var(correction=0)
    return float((both[0] - both[1]).square().mean() / spread) if spread > 0 else 0.0


def _momentum(norm: Any) -> float:
    if norm.momentum is None:
        return 1 / max(1, int(norm.num_batches_tracked))
    return float(norm.momentum)


def _detached(call: Any) -> Any:
    return tree_map_only(Tensor, Tensor.detach, call)


def _nobody(event: Event) -> None:
    """Nobody listens."""


def _zero() -> int:
    return 0
