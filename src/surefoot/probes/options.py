"""How densely to record: nothing comes in, the settings of a recorder go out."""

from __future__ import annotations

from dataclasses import dataclass

from surefoot.probes.catalogue import ALL, Probe
from surefoot.types import LossFunction


@dataclass(frozen=True, slots=True)
class Options:
    """How densely to record.

    `every` is the interval of periodic probes in steps; `budget` scales their share
    of the training thread's CPU time (1: together 0.3 %; None: a fixed interval,
    whatever it costs). `check_finite` looks at the gradients on the host at every
    step, which is free on a CPU and a synchronisation on a GPU; None means on a CPU
    only. `probes` may hold probes of your own. `loss_fn(model, batch)` gives the loss
    of a batch, where it is to be computed again. `histograms` of gradients are taken
    at steps 0, 1, 2, 4, 8, … and about every thousand steps.

    `curvature` is the percent of the training thread's CPU time that the curvature of
    the loss may take, 3 for instance; 0 leaves it out, None measures it every `every`
    steps whatever it costs. It needs `loss_fn` and batches told in `run.step`, and for
    a moment the memory of a batch's graph; see `probes/curvature.py`.
    """

    every: int = 10
    budget: float | None = 1.0
    check_finite: bool | None = None
    probes: tuple[Probe, ...] = ALL
    loss_fn: LossFunction | None = None
    histograms: bool = True
    curvature: float | None = 0.0
