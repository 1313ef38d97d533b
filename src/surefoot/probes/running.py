"""Running statistics: batch norms come in, how far a batch lies from them goes out.

A training pass moves the running mean towards the mean of its batch by a known
fraction. So the mean of the batch is read back from the buffers, exactly and without
a look at the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from surefoot.nn.norm.gap import shift_in_deviations
from surefoot.probes.activations import BATCH_NORM
from surefoot.types import Moment, Reading


@dataclass(frozen=True, slots=True)
class Moved:
    """Running statistics of batch norms before and after the passes of one update.

    `before` and `after` have shape `[2, channels of all]` (means, variances), `counts`
    shape `[2, modules]`: batches seen before and after. `sizes` are the channels of
    each module, `momenta` the fractions (None for a plain average).
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    momenta: tuple[float | None, ...]
    eps: tuple[float, ...]
    before: torch.Tensor
    after: torch.Tensor
    counts: torch.Tensor


class RunningStatistics:
    """Copies the running statistics of batch norms around an armed update."""

    def __init__(self, named: Mapping[str, nn.Module]) -> None:
        self.armed = False
        self._named = {
            name: module
            for name, module in named.items()
            if isinstance(module, BATCH_NORM) and module.running_mean is not None
        }
        self._before: tuple[torch.Tensor, torch.Tensor] | None = None

    def arm(self) -> None:
        """Copy the statistics as they are before the next training pass."""
        self.armed = bool(self._named)
        if self.armed:
            self._before = _copied(list(self._named.values()))

    def take(self) -> Moved | None:
        """What the passes since then have moved."""
        self.armed = False
        if self._before is None:
            return None
        modules = list(self._named.values())
        (before, counted), self._before = self._before, None
        after, counts = _copied(modules)
        return Moved(
            names=tuple(self._named),
            sizes=tuple(int(module.num_features) for module in modules),
            momenta=tuple(module.momentum for module in modules),
            eps=tuple(float(module.eps) for module in modules),
            before=before,
            after=after,
            counts=torch.stack([counted, counts]),
        )


def _copied(modules: Sequence[nn.Module]) -> tuple[torch.Tensor, torch.Tensor]:
    """Running means and variances, shape `[2, channels]`, and batches, `[modules]`."""
    buffers = [dict(module.named_buffers(recurse=False)) for module in modules]
    home = buffers[0]["running_mean"].device
    rows = [
        torch.cat([held[name].detach().to(home).float() for held in buffers])
        for name in ("running_mean", "running_var")
    ]
    counts = [held["num_batches_tracked"].detach().to(home) for held in buffers]
    return torch.stack(rows), torch.stack(counts)


def norm_gap(moment: Moment) -> list[Reading]:
    """Largest distance over channels of batch mean and running mean, by batch norm.

    In running standard deviations, against the statistics from before the pass.
    Several passes of one update count as one batch. A module that was not in
    training mode has no reading: NaN.
    """
    moved: Moved | None = moment.seen.get("running")
    if moved is None:
        return []
    passes = (moved.counts[1] - moved.counts[0]).float()
    fractions = torch.stack(
        [
            passes[i] / moved.counts[1, i]
            if rate is None
            else 1 - (1 - rate) ** passes[i]
            for i, rate in enumerate(moved.momenta)
        ]
    )
    sizes = torch.tensor(moved.sizes, device=passes.device)
    width = int(sum(moved.sizes))
    eps = torch.tensor(moved.eps, device=passes.device)
    owner = torch.repeat_interleave(sizes, output_size=width)
    shift = (moved.after[0] - moved.before[0]) / fractions[owner]
    gap = shift_in_deviations(shift, moved.before[1], eps[owner])
    largest = [part.amax() for part in gap.split(list(moved.sizes))]
    values = torch.where(passes > 0, torch.stack(largest), torch.nan)
    return [Reading(moment.step, "norm_gap", moved.names, values.float())]
