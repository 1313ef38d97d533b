"""The recorder of one stream: optimizer steps come in, Series and Events go out.

The one stateful part that is always on. It sits on the hooks of an optimizer, runs
the probes that are due, keeps their readings on the device, and hands them over in
blocks: one host copy every few dozen steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from surefoot.probes.activations import Tap
from surefoot.probes.batch import finished, target_statistics
from surefoot.probes.calls import Calls
from surefoot.probes.catalogue import ALL, Probe
from surefoot.probes.meter import Meter
from surefoot.probes.rhythm import Rhythm
from surefoot.probes.ring import Ring
from surefoot.probes.search import LossFunction, Search
from surefoot.probes.shield import Shield
from surefoot.probes.streams import Watched, recorded_weights
from surefoot.probes.weights import copies
from surefoot.types import RUN, Event, Facts, Moment, Reading, Series

FLUSH_STEPS = 50
FLUSH_SECONDS = 0.75
"""With the quarter of a second between commits: what a killed run loses at most."""
TARGETS_EVERY = 10
SEARCH = "search for non-finite values"


class Sink(Protocol):
    """Takes what was recorded; must never block or raise."""

    def append(self, series: Series) -> None:
        """Take a block of readings."""
        ...

    def event(self, event: Event) -> None:
        """Take an event."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """How densely to record.

    `every` is the interval of periodic probes in steps; `budget` scales their share
    of the training thread's CPU time (1: together 0.3 %; None: a fixed interval,
    whatever it costs). `check_finite` looks at the gradients on the host at every
    step, which is free on a CPU and a synchronisation on a GPU; None means on a CPU
    only. `probes` may hold probes of your own. `loss_fn(model, batch)` gives the loss
    of a batch, where it is to be computed again.
    """

    every: int = 10
    budget: float | None = 1.0
    check_finite: bool | None = None
    probes: tuple[Probe, ...] = ALL
    loss_fn: LossFunction | None = None


class Recorder:
    """Records one stream from the hooks of its optimizer.

    `caught` gives the losses that led to the update which is being made, where they
    are caught at backward; without it they are told after the update by `add_loss`.
    """

    def __init__(
        self,
        watched: Watched,
        sink: Sink,
        options: Options,
        *,
        caught: Callable[[], list[torch.Tensor]] | None = None,
    ) -> None:
        self.watched = watched
        self.step = 0
        self.meter = Meter()
        self.shield = Shield(self._failed)
        self._sink = sink
        self._options = options
        self._caught = caught
        self._tap = Tap(watched.leaves, self.meter, self.shield)
        self._calls = Calls(watched.roots.values(), self.meter, self.shield)
        self._rings: dict[str, Ring] = {}
        self._rhythms = {p.name: _rhythm(p, options) for p in options.probes}
        self._due: set[str] = set()
        self._copies: list[torch.Tensor] | None = None
        self._losses: list[torch.Tensor | float] = []
        self._awaiting: int | None = None
        self._search = Search(
            watched.name,
            sink.event,
            alone=not watched.needs_other_ranks,
            loss_fn=options.loss_fn,
        )
        self._last_update = time.perf_counter()
        self._flushed_step = 0
        self._flushed_at = time.monotonic()
        self.find: Callable[[], Watched] = lambda: watched
        self.on_first_step: Callable[[], None] = lambda: None
        self._handles = [
            watched.optimizer.register_step_pre_hook(self._before),
            watched.optimizer.register_step_post_hook(self._after),
        ]
        self._prepare_next()

    @property
    def facts(self) -> Facts:
        """What stays the same over the stream, as far as it was seen."""
        return self.watched.facts(self._tap.order)

    def add_loss(self, loss: torch.Tensor) -> None:
        """The loss of the update just made.

        Several losses for one update, as in gradient accumulation, are averaged.
        """
        self._losses.append(_noted(loss))
        if self._awaiting is not None:
            self._record_loss(self._awaiting)

    def put(self, reading: Reading) -> None:
        """Keep one reading until the next flush."""
        ring = self._rings.get(reading.quantity)
        fits = ring is not None and ring.fits(reading)
        if ring is not None and (ring.full or not fits):
            self._hand_over(ring)
        if ring is None or not fits:
            ring = Ring(reading, FLUSH_STEPS, self.watched.name)
            self._rings[reading.quantity] = ring
        ring.put(reading)

    def flush(self) -> None:
        """Hand over all readings that wait on the device."""
        self._flushed_step, self._flushed_at = self.step, time.monotonic()
        for ring in self._rings.values():
            self._hand_over(ring)

    def see_call(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """A call of a model that began before the hooks were on."""
        self._calls.see(module, args, kwargs)

    def close(self) -> None:
        """Take all hooks off and hand over what is left."""
        for handle in self._handles:
            handle.remove()
        self._tap.remove()
        self._calls.remove()
        self.shield.run("last flush", self.flush)

    # --- the two hooks ---------------------------------------------------------

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """Before the update: gradients are final, weights still the old ones."""
        with self.meter, _NoGrad():
            if self._copies is None and self._wants("copies"):
                self._copies = self.shield.run("weights", self._copy)
            if not _has_closure(args, kwargs):
                self.shield.run("recorder", self._gradients)

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """After the update: compare with before, move on to the next step."""
        with self.meter, _NoGrad():
            if _has_closure(args, kwargs):
                self.shield.run("recorder", self._gradients)
            self.shield.run("recorder", self._updates)
            self.step += 1
            self._flush_if_due()
            self._prepare_next()
        self.meter.step()

    def _gradients(self) -> None:
        """Run the probes that look at the gradients, and check that they are finite."""
        moment = self._moment()
        for probe in self._options.probes:
            if probe.when == "before":
                self._run(probe, moment)
        if self._checks_finite():
            self._check()

    def _updates(self) -> None:
        """Run the probes that look at the update, and record loss and step time."""
        if self._due:
            moment = self._moment()
            for probe in self._options.probes:
                if probe.when == "after":
                    self._run(probe, moment)
        now = time.perf_counter()
        if self.step > 0:
            elapsed = (now - self._last_update,)
            self.put(Reading(self.step, "step_seconds", RUN, elapsed))
        self._last_update = now
        self._awaiting = self.step
        if self._caught is not None:
            self._losses = [_noted(loss) for loss in self._caught()]
            self._record_loss(self.step)
        self._copies = None
        self._calls.latest.clear()
        if self.step == 0:
            self.on_first_step()

    def _flush_if_due(self) -> None:
        """Flush every so often; then look whether there are new parameters."""
        waited = time.monotonic() - self._flushed_at
        if self.step - self._flushed_step < FLUSH_STEPS and waited < FLUSH_SECONDS:
            return
        self.shield.run("flush", self.flush)
        if not covers(self.watched):
            self.shield.run("new parameters", self._watch_again)

    def _watch_again(self) -> None:
        """Go on with the parameters and modules as they are now."""
        self._tap.remove()
        self._calls.remove()
        self.watched = self.find()
        self._tap = Tap(self.watched.leaves, self.meter, self.shield)
        self._calls = Calls(self.watched.roots.values(), self.meter, self.shield)
        self._copies = None
        self.on_first_step()

    # --- parts -----------------------------------------------------------------

    def _run(self, probe: Probe, moment: Moment) -> None:
        """Run one probe if it is due, and tell its rhythm what it cost."""

        def read() -> None:
            for reading in probe.read(moment):
                self.put(reading)

        if probe.dense:
            self.shield.run(probe.name, read)
            return
        if probe.name not in self._due:
            return
        start = time.thread_time()
        self.shield.run(probe.name, read)
        cost = time.thread_time() - start
        if "activations" in probe.needs:
            cost += self._tap.cost_seconds
            self._tap.cost_seconds = 0.0
        self._rhythms[probe.name].spent(cost, self.meter.step_seconds)

    def _moment(self) -> Moment:
        """What the probes may see of this step."""
        watched = self.watched
        call = self._calls.latest[-1] if self._calls.latest else None
        return Moment(
            step=self.step,
            names=watched.names,
            weights=watched.weights,
            grads=[weight.grad for weight in watched.weights],
            optimizer=watched.optimizer,
            before=self._copies,
            activations=self._tap.samples() if self._wants("activations") else None,
            batch=(call.args, call.kwargs) if call is not None else None,
        )

    def _wants(self, need: str) -> bool:
        """Whether a probe that is due at this step needs something prepared."""
        if not self._due:
            return False
        probes = self._options.probes
        return any(p.name in self._due and need in p.needs for p in probes)

    def _copy(self) -> list[torch.Tensor]:
        return copies(list(self.watched.weights))

    def _prepare_next(self) -> None:
        """Find which probes are due at the coming step, and get ready for them."""
        self._due = {
            probe.name
            for probe in self._options.probes
            if not probe.dense
            and probe.name not in self.shield.off
            and self._rhythms[probe.name].due(self.step)
        }
        if self._wants("activations"):
            self.shield.run("activations", self._tap.arm)

    def _record_loss(self, step: int) -> None:
        """Record the mean of the losses that belong to a step."""
        losses, self._losses, self._awaiting = self._losses, [], None
        if not losses:
            return
        known = [loss for loss in losses if isinstance(loss, float)]
        if len(known) == len(losses):
            self.put(Reading(step, "loss", RUN, (sum(known) / len(known),)))
        else:
            mean = torch.stack([torch.as_tensor(loss) for loss in losses]).mean()
            self.put(Reading(step, "loss", RUN, mean.reshape(1)))

    def _hand_over(self, ring: Ring) -> None:
        series = ring.drain()
        if series is not None:
            for block in finished(series):
                self._sink.append(block)

    def _failed(self, name: str, error: str) -> None:
        body = {"probe": name, "error": error}
        self._sink.event(Event(self.step, "probe_off", body, self.watched.name))

    # --- non-finite numbers ----------------------------------------------------

    def _checks_finite(self) -> bool:
        """Whether the gradients of this step are looked at on the host."""
        if self._options.check_finite is not None:
            return self._options.check_finite
        return all(weight.is_cpu for weight in self.watched.weights[:1])

    def _check(self) -> None:
        """Search for the origin where the gradients of this step are not finite."""
        if self._skipped_by_scaler():
            body = {"reason": "GradScaler found a non-finite gradient"}
            event = Event(self.step, "skipped_step", body, self.watched.name)
            self._sink.event(event)
            return
        ring = self._rings.get("grad_norm")
        if ring is None or math.inf not in ring.latest:
            self._search.finite()
            return
        calls, modules = list(self._calls.latest), self.watched.modules
        self.shield.run(
            SEARCH, lambda: self._search.gradients(self.step, calls, modules)
        )

    def _skipped_by_scaler(self) -> bool:
        """Whether a fused optimizer is about to skip this step by itself."""
        found = getattr(self.watched.optimizer, "found_inf", None)
        return isinstance(found, torch.Tensor) and bool(found)

    def search_loss(self, loss: torch.Tensor, line: str) -> None:
        """Find the origin of a non-finite loss, before backward frees its graph.

        `line` is the source line that called backward.
        """
        self.shield.run(
            SEARCH,
            lambda: self._search.loss(
                self.step,
                list(self._calls.latest),
                self.watched.modules,
                value=loss,
                line=line,
            ),
        )

    def tell_batch(self, batch: Any) -> None:
        """The batch of the update just made, None if it stays unknown."""
        self.shield.run(SEARCH, lambda: self._search.told(batch))
        due = batch is not None and self.step % TARGETS_EVERY == 1
        for reading in target_statistics(self.step - 1, batch) if due else ():
            self.put(reading)


class _NoGrad:
    """`torch.no_grad` without its layers of Python, which cost 30 µs a step."""

    __slots__ = ("_was",)

    def __enter__(self) -> None:
        self._was = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)  # pyright: ignore[reportPrivateUsage]

    def __exit__(self, *error: object) -> None:
        torch._C._set_grad_enabled(self._was)  # pyright: ignore[reportPrivateUsage]


def _noted(loss: torch.Tensor) -> torch.Tensor | float:
    """A loss to keep: a number if it is on the host, else detached from its graph."""
    return float(loss.item()) if loss.is_cpu else loss.detach().reshape(())


def _rhythm(probe: Probe, options: Options) -> Rhythm:
    share = None if options.budget is None else options.budget * probe.percent
    return Rhythm(every=options.every, percent=share)


def _has_closure(args: Any, kwargs: Any) -> bool:
    """Whether `optimizer.step` was called with a closure that computes gradients."""
    given = [*args[1:2], kwargs.get("closure")]
    return any(callable(value) for value in given)


def covers(watched: Watched) -> bool:
    """Whether the optimizer still holds the parameters that were named."""
    now = [id(weight) for weight in recorded_weights(watched.optimizer)]
    return now == [id(weight) for weight in watched.weights]
