"""Curvature of the loss in training: told batches come in, Readings and Fields go out.

Between two steps the loss of a batch that is kept from the first step is differentiated
twice at the weights of now; nothing of it remains. How often is a matter of what it
costs: see `Options.curvature`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch

from surefoot.curvature.errors import NotFiniteError
from surefoot.curvature.estimate import Estimate
from surefoot.curvature.operators import Hessian, hessian, preconditioned
from surefoot.curvature.stability import edge_of_stability, stability_line
from surefoot.curvature.tracking import Tracker
from surefoot.probes.held import Held
from surefoot.probes.options import Options
from surefoot.probes.rhythm import within
from surefoot.probes.shield import Shield
from surefoot.probes.spectrum import Spectra
from surefoot.probes.streams import Watched
from surefoot.probes.taker import Taker
from surefoot.restore.random_streams import repeated
from surefoot.types import RUN, Event, Reading

NAME = "curvature"

FEWEST_ROWS = 32
"""Rows of the batch that the choice begins with."""

MAIN, RARE = 0.8, 0.2
"""How the share is divided between the sharpness and the whole spectrum."""

CLOSE = 0.2
"""Relative error by sampling at which rows are enough: through a training, sharpness
moves by factors of 2 to 10 (benchmarks/curvature/tracking.py), and with the same rows
each time most of this error stays the same."""

ROUGH = 0.05
"""Relative error of the solver where the halves of the rows are compared."""

SAMPLING = "sharpness_sampling_error"

SEED = 0
"""Of the masks of dropout, so that they are the same each time."""

COMPARED_EVERY = 16
"""The halves of the rows are compared at points 1, 2, 4, 8, then at every 16th."""


class Curvature:
    """Tracks the curvature of one stream where `Options.curvature` asks for it.

    Recorded are `sharpness` (λ_max of the Hessian) with `sharpness_error` (a bound),
    for adaptive optimizers `preconditioned_sharpness`, for optimizers whose line is
    known `stability_ratio`, now and then the spectrum and the trace of each tensor's
    block (see `probes/spectrum.py`), and now and then `sharpness_sampling_error`: how
    far off the value may be because the batch is not all data. It is told by the two
    halves of the rows: half their difference, and the shift from the halves to the
    whole.
    """

    def __init__(
        self,
        options: Options,
        shield: Shield,
        sink: Taker,
        *,
        put: Callable[[Reading], None],
    ) -> None:
        share = options.curvature
        main, rare = (share, share) if share is None else (MAIN * share, RARE * share)
        self.rhythm = within(main, every=options.every)
        self.spectra = Spectra(rare, every=options.every, field=sink.field, put=put)
        self._loss_fn = None if options.curvature == 0 else options.loss_fn
        self._shield, self._sink, self._put = shield, sink, put
        self._held: Held | None = None
        self._rows: int | None = None
        self._tracker, self._scaled = Tracker(), Tracker()
        self.points = 0
        self.cost_seconds = 0.0
        """CPU seconds of all points; choosing the rows comes on top."""
        self._skipped = False

    def told(self, batch: Any, watched: Watched, step: int, *, seconds: float) -> None:
        """After update `step`: measure the curvature, if it is time to.

        `batch` is what was trained on, None if it stays unknown; `seconds` the CPU time
        of a bare step.
        """
        if self._loss_fn is None or step < 0 or NAME in self._shield.off:
            return
        if self._held is None and batch is not None:
            self._held = Held(batch)
        if self.rhythm.due(step):
            self._shield.run(NAME, lambda: self._measured(watched, step, seconds))

    def _measured(self, watched: Watched, step: int, seconds: float) -> None:
        """Measure, and tell the rhythm what it cost."""
        if self._held is None:
            raise ValueError(
                f"step {step}: no batch was told; curvature needs it: call "
                "run.step(loss, batch=batch) with what loss_fn(model, batch) takes"
            )
        try:
            with repeated(SEED):
                if self._rows is None:
                    self._rows = self._enough_rows(watched, step)
                start = time.thread_time()
                rare = self._see(watched, step, seconds)
            cost = time.thread_time() - start - rare
            self.cost_seconds += cost
            self.rhythm.spent(cost, seconds)
        except NotFiniteError as error:
            self._skip(watched, step, str(error))

    def _enough_rows(self, watched: Watched, step: int) -> int:
        """As many rows as give a small error by sampling; 0 where there are no rows."""
        held = self._held
        assert held is not None
        rows = min(held.rows, FEWEST_ROWS)
        while rows > 1:
            with self._hessian(watched, 0, rows) as operator:
                found = self._tracker.see(operator, gradient=operator.gradient)
            error = self._sampling_error(watched, rows, found)
            if rows == held.rows or error <= CLOSE * abs(found.value):
                self._record(step, SAMPLING, error)
                break
            rows = min(2 * rows, held.rows)
        self._tell(watched, step, {"rows": rows, "of": held.rows})
        held.keep(rows)
        return rows

    def _see(self, watched: Watched, step: int, seconds: float) -> float:
        """Record the sharpness, and what it means for the optimizer.

        Gives the CPU seconds of what is not taken each time.
        """
        assert self._rows is not None
        self.points += 1
        start, before = time.thread_time(), self.spectra.seconds
        with self._hessian(watched, 0, self._rows) as operator:
            found = self._tracker.see(operator, gradient=operator.gradient)
            self._record(step, "sharpness", found.value)
            self._record(step, "sharpness_error", found.error)
            self._shield.run(
                "stability", lambda: self._gauge(operator, found, watched, step)
            )
            each = (time.thread_time() - start) / (operator.products + 1)
            if self.spectra.due(step, product_seconds=each, step_seconds=seconds):
                self._shield.run(
                    "spectrum",
                    lambda: self.spectra.see(
                        operator, found, watched.name, step=step, step_seconds=seconds
                    ),
                )
        if self._rows > 1 and _compares(self.points):
            self._record(
                step, SAMPLING, self._sampling_error(watched, self._rows, found)
            )
        return self.spectra.seconds - before

    def _gauge(
        self, operator: Hessian, found: Estimate, watched: Watched, step: int
    ) -> None:
        """Hold the sharpness against the line of the optimizer."""
        optimizer = watched.optimizer
        preconditions = _preconditions(optimizer)
        if preconditions is None:
            return
        if preconditions:
            with preconditioned(operator, optimizer) as scaled:
                gradient = scaled.scale * operator.gradient
                found = self._scaled.see(scaled, gradient=gradient)
            self._record(step, "preconditioned_sharpness", found.value)
        ratio = edge_of_stability(found, optimizer).ratio
        if math.isfinite(ratio):
            self._record(step, "stability_ratio", ratio)

    def _sampling_error(self, watched: Watched, rows: int, whole: Estimate) -> float:
        """By the halves of the rows: the jackknife of two groups."""
        middle = rows // 2
        one = self._sharpness(watched, 0, middle).value
        other = self._sharpness(watched, middle, 2 * middle).value
        return math.hypot((one - other) / 2, (one + other) / 2 - whole.value)

    def _sharpness(self, watched: Watched, first: int, last: int) -> Estimate:
        """λ_max over some rows, roughly, beginning at the last known vector."""
        with self._hessian(watched, first, last) as operator:
            tracker = Tracker(tolerance=ROUGH, vectors=self._tracker.vectors)
            return tracker.see(operator, gradient=operator.gradient)

    def _hessian(self, watched: Watched, first: int, last: int) -> Hessian:
        assert self._held is not None
        assert self._loss_fn is not None
        batch = self._held.part(first, last or None)
        (model,) = watched.roots.values()
        where = _measurable(watched)
        return hessian(model, batch, loss_fn=self._loss_fn, where=where)

    def _record(self, step: int, quantity: str, value: float) -> None:
        self._put(Reading(step, quantity, RUN, (value,)))

    def _skip(self, watched: Watched, step: int, why: str) -> None:
        """There is no curvature where the loss is no number: said once."""
        if not self._skipped:
            self._skipped = True
            self._tell(watched, step, {"skipped": why})

    def _tell(self, watched: Watched, step: int, body: dict[str, Any]) -> None:
        self._sink.event(Event(step, NAME, body, watched.name))


def check_curvature(options: Options, watched: Watched) -> None:
    """Refuse curvature where it cannot be measured.

    Raises:
        ValueError: no loss function, a share that is none, several models in one
            stream, or weights on other processes; the message says what to do.
    """
    share = options.curvature
    if share == 0:
        return
    if share is not None and not 0 < share < math.inf:
        raise ValueError(
            f"Options(curvature={share}): expected a percent of the training's CPU "
            "time, such as 3.0; 0 leaves curvature out, None spares nothing"
        )
    if options.loss_fn is None:
        raise ValueError(
            "Options(curvature=...) came without a loss function; expected "
            "watch(..., loss_fn=loss_fn) with loss_fn(model, batch) giving the loss of "
            "a batch, and run.step(loss, batch=batch) after each update"
        )
    if len(watched.roots) != 1:
        raise ValueError(
            f"the optimizer {watched.name!r} trains {len(watched.roots)} models "
            f"({', '.join(watched.roots)}); loss_fn(model, batch) takes one: watch "
            "them as one module, or leave curvature out"
        )
    if watched.needs_other_ranks:
        raise ValueError(
            "the model's passes need other processes (FSDP2, tensor parallelism or "
            "synchronised batch norm), which do not take part in measurements; leave "
            "curvature out"
        )


def _preconditions(optimizer: torch.optim.Optimizer) -> bool | None:
    """Whether the optimizer scales its steps; None where its line is not known."""
    try:
        return stability_line(optimizer).preconditioned
    except ValueError:
        return None


def _measurable(watched: Watched) -> list[torch.Tensor]:
    """The weights that are trained; of an adaptive optimizer those that it scales."""
    weights = [one for one in watched.weights if one.requires_grad]
    if not _preconditions(watched.optimizer):
        return weights
    return [one for one in weights if watched.optimizer.state.get(one)]


def _compares(point: int) -> bool:
    """Whether the halves are compared at this point; the first was, to choose rows."""
    doubling = 1 < point < COMPARED_EVERY and point & (point - 1) == 0
    return doubling or point % COMPARED_EVERY == 0
