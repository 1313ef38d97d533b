"""The recorder of one stream: optimizer steps come in, Series and Events go out.

The one stateful part that is always on. It sits on the hooks of an optimizer, runs
the probes that are due, keeps their readings on the device, and hands them over in
blocks: one host copy every few dozen steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from surefoot.probes.agenda import Agenda, doubling
from surefoot.probes.batch import finished, target_statistics
from surefoot.probes.calls import Calls
from surefoot.probes.catalogue import Probe
from surefoot.probes.curvature import Curvature
from surefoot.probes.finite import FiniteCheck
from surefoot.probes.histograms import Histograms
from surefoot.probes.instruments import Instruments
from surefoot.probes.losses import Losses
from surefoot.probes.meter import Meter
from surefoot.probes.nograd import NoGrad
from surefoot.probes.options import Options
from surefoot.probes.outputs import SCORED
from surefoot.probes.rhythm import Rhythm
from surefoot.probes.ring import Ring
from surefoot.probes.search import Search
from surefoot.probes.shield import Shield
from surefoot.probes.streams import Watched, covers
from surefoot.probes.taker import Taker
from surefoot.probes.wiring import Wiring
from surefoot.types import RUN, Event, Facts, Moment, Reading

FLUSH_STEPS = 50
FLUSH_SECONDS = 0.75
"""With the quarter of a second between commits: what a killed run loses at most."""
TARGETS_EVERY = 10


class Recorder:
    """Records one stream from the hooks of its optimizer.

    `caught` gives the losses that led to the update which is being made, where they
    are caught at backward; without it they are told after the update by `add_loss`.
    """

    def __init__(
        self,
        watched: Watched,
        sink: Taker,
        options: Options,
        *,
        caught: Callable[[], list[torch.Tensor]] | None = None,
    ) -> None:
        self.watched = watched
        self.step = 0
        self.meter = Meter()
        self.shield = Shield(self._failed)
        self._sink = sink
        self._caught = caught
        self._calls = Calls(watched.roots.values(), self.meter, self.shield)
        self._instruments = self._equipped()
        self._histograms = Histograms(
            watched, doubling(options.budget if options.histograms else 0)
        )
        self._rings: dict[str, Ring] = {}
        self._agenda = Agenda(
            options.probes,
            every=options.every,
            budget=options.budget,
            off=self.shield.off,
        )
        self._losses = Losses(self._known, self._wired)
        self._awaiting: int | None = None
        search = Search(
            watched.name,
            sink.event,
            alone=not watched.needs_other_ranks,
            loss_fn=options.loss_fn,
        )
        self._finite = FiniteCheck(
            search, self.shield, asked=options.check_finite, skipped=self.skipped
        )
        self.curvature = Curvature(options, self.shield, sink, put=self.put)
        self._training = True
        self._last_update = time.perf_counter()
        self._flushed_step = 0
        self._flushed_at = time.monotonic()
        self._gradient_norms: tuple[int, Any] = (-1, None)
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
        return self.watched.facts(self._instruments.tap.order)

    @property
    def rhythms(self) -> Mapping[str, Rhythm]:
        """When the periodic probes run, by name."""
        return self._agenda.rhythms

    @property
    def wants_graph(self) -> bool:
        """Whether the next loss should come with its graph, to see how it is wired."""
        return self._losses.wants_graph

    def add_loss(self, loss: torch.Tensor) -> None:
        """The loss of the update just made.

        Several losses for one update, as in gradient accumulation, are averaged.
        """
        self._losses.add(loss)
        if self._awaiting is not None:
            self._record_loss(self._awaiting)

    def see_loss(self, loss: torch.Tensor) -> None:
        """A loss before its backward pass: its graph still holds the targets."""
        outlook = self._instruments.outlook
        if outlook.waiting:
            with self.meter:
                self.shield.run("outputs", lambda: outlook.see_loss(loss))

    def tell_batch(self, batch: Any) -> None:
        """The batch of the update just made, None if it stays unknown."""
        self._finite.told(batch)
        due = batch is not None and self.step % TARGETS_EVERY == 1
        for reading in target_statistics(self.step - 1, batch) if due else ():
            self.put(reading)
        if batch is not None and self._instruments.outlook.waiting:
            self.shield.run(
                "outputs", lambda: self._instruments.outlook.see_batch(batch)
            )
        self._run_told()
        seconds = self.meter.step_seconds
        self.curvature.told(batch, self.watched, self.step - 1, seconds=seconds)

    def put(self, reading: Reading) -> None:
        """Keep one reading until the next flush."""
        if reading.quantity == "grad_norm":
            self._gradient_norms = reading.step, reading.values
        ring = self._rings.get(reading.quantity)
        fits = ring is not None and ring.fits(reading)
        if ring is not None and (ring.full or not fits):
            self._hand_over(ring)
        if ring is None or not fits:
            ring = Ring(reading, FLUSH_STEPS, self.watched.name)
            self._rings[reading.quantity] = ring
        ring.put(reading)

    @property
    def gradient_norms(self) -> Any:
        """The norm of each gradient of the coming update, if measured already."""
        step, norms = self._gradient_norms
        return norms if step == self.step else None

    def take_gradient_norms(self) -> Any:
        """The norm of each gradient at the last update, as measured; goes out once."""
        (_, norms), self._gradient_norms = self._gradient_norms, (-1, None)
        return norms

    def flush(self) -> None:
        """Hand over all readings that wait on the device."""
        self._flushed_step, self._flushed_at = self.step, time.monotonic()
        for ring in self._rings.values():
            self._hand_over(ring)
        for field in self._histograms.drain():
            self._sink.field(field)

    def see_call(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """A call of a model that began before the hooks were on."""
        self._calls.see(module, args, kwargs)

    def skipped(self) -> None:
        """A GradScaler skips this update."""
        self._tell("skipped_step", reason="GradScaler found a non-finite gradient")

    def search_loss(self, loss: torch.Tensor, line: str) -> None:
        """Find the origin of a non-finite loss, before backward frees its graph.

        `line` is the source line that called backward.
        """
        calls, modules = self._calls.latest, self.watched.modules
        self._finite.loss(self.step, calls, modules, value=loss, line=line)

    def tell_metrics(self, names: Iterable[str]) -> None:
        """Metrics were logged: note in which mode the models were last evaluated."""
        body = self._calls.evaluated(names)
        if body is not None:
            event = Event(self.step, "evaluated", body, self.watched.name)
            self._sink.event(event)

    def close(self) -> None:
        """Take all hooks off and hand over what is left."""
        for handle in self._handles:
            handle.remove()
        self._instruments.remove()
        self._calls.remove()
        self.shield.run("last flush", self.flush)

    # --- the two hooks ---------------------------------------------------------

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """Before the update: gradients are final, weights still the old ones."""
        with self.meter, NoGrad():
            self._instruments.before(self._agenda.needs)
            if not _has_closure(args, kwargs):
                self.shield.run("recorder", self._gradients)

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """After the update: compare with before, move on to the next step."""
        with self.meter, NoGrad():
            if _has_closure(args, kwargs):
                self.shield.run("recorder", self._gradients)
            self.shield.run("recorder", self._updates)
            self.step += 1
            self._flush_if_due()
            self._prepare_next()
        self.meter.step()

    def _gradients(self) -> None:
        """Run the probes that look at the gradients, and check that they are finite."""
        self._run_all("before")
        if self.step >= self._histograms.rhythm.next_step:
            self.shield.run("histograms", self._count)
        if self._finite.wanted(self.watched):
            norms = self._rings.get("grad_norm")
            calls, watched = self._calls.latest, self.watched
            self._finite.step(self.step, norms, calls=calls, watched=watched)

    def _count(self) -> None:
        optimizer, seconds = self.watched.optimizer, self.meter.step_seconds
        self._histograms.see(self.step, optimizer, step_seconds=seconds)

    def _updates(self) -> None:
        """Run the probes that look at the update, and record loss and step time."""
        self._run_all("after")
        self._instruments.after(self.step)
        now = time.perf_counter()
        if self.step > 0:
            elapsed = (now - self._last_update,)
            self.put(Reading(self.step, "step_seconds", RUN, elapsed))
        self._last_update = now
        self._awaiting = self.step
        if self._caught is not None:
            for loss in self._caught():
                self._losses.add(loss)
            self._record_loss(self.step)
            self._run_told()
        self._note_mode()
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
        self._instruments.remove()
        self._calls.remove()
        self.watched = self.find()
        self._calls = Calls(self.watched.roots.values(), self.meter, self.shield)
        self._instruments = self._equipped()
        self._histograms = Histograms(self.watched, self._histograms.rhythm)
        self.on_first_step()

    # --- parts -----------------------------------------------------------------

    def _equipped(self) -> Instruments:
        calls = self._calls
        return Instruments(
            self.watched, self.meter, self.shield, passes=lambda: calls.passes
        )

    def _prepare_next(self) -> None:
        """Find which probes are due at the coming step, and get ready for them."""
        self._agenda.begin(self.step)
        if self._agenda.needs:
            self._instruments.arm(self._agenda.needs, self.step)

    def _run_all(self, when: str) -> None:
        """Run the probes that are due at this moment of the step."""
        probes = self._agenda.at(when)
        if probes:
            needs = {need for probe in probes for need in probe.needs}
            moment = self._moment(self._instruments.seen(needs))
            for probe in probes:
                self._run(probe, moment)

    def _run(self, probe: Probe, moment: Moment) -> None:
        """Run one probe, and tell its rhythm what it cost."""

        def read() -> None:
            for reading in probe.read(moment):
                self.put(reading)

        if probe.dense:
            self.shield.run(probe.name, read)
            return
        start = time.thread_time()
        self.shield.run(probe.name, read)
        cost = time.thread_time() - start + self._instruments.cost(probe.needs)
        self._agenda.spent(probe, cost, self.meter.step_seconds)

    def _run_told(self) -> None:
        """Run the probes that wait for loss and batch, where an output was seen."""
        outlook = self._instruments.outlook
        if not outlook.ready:
            return
        heads = self._losses.wired.heads if self._losses.wired is not None else ()
        scored = any(operation in SCORED for head in heads for operation in head)
        with NoGrad():
            output = outlook.take(scored=scored)
            if output is not None:
                moment = self._moment({"output": output}, output.step)
                for probe in self._agenda.probes:
                    if probe.when == "told":
                        self._run(probe, moment)

    def _moment(self, seen: Mapping[str, Any], step: int | None = None) -> Moment:
        """What the probes may see of this step."""
        watched = self.watched
        call = self._calls.latest[-1] if self._calls.latest else None
        return Moment(
            step=self.step if step is None else step,
            names=watched.names,
            weights=watched.weights,
            grads=[weight.grad for weight in watched.weights],
            optimizer=watched.optimizer,
            before=self._instruments.copies,
            activations=seen.get("activations"),
            batch=(call.args, call.kwargs) if call is not None else None,
            seen=seen,
        )

    def _record_loss(self, step: int) -> None:
        """Record the mean of the losses that belong to a step."""
        self._awaiting = None
        reading = self._losses.reading(step)
        if reading is not None:
            self.put(reading)
            if self._losses.wants_graph:
                self.shield.run("wiring", lambda: self._losses.wire(step))

    def _known(self) -> dict[str, torch.Tensor]:
        """The trainable parameters of the model, whether an optimizer holds them."""
        watched = self.watched
        held = dict(zip(watched.names, watched.weights, strict=True))
        every = {**held, **watched.unheld}
        return {name: weight for name, weight in every.items() if weight.requires_grad}

    def _wired(self, step: int, wired: Wiring) -> None:
        self._sink.event(Event(step, "wiring", asdict(wired), self.watched.name))

    def _note_mode(self) -> None:
        """Tell when the model was trained in another mode than before."""
        latest = self._calls.latest
        if latest and latest[-1].training != self._training:
            self._training = latest[-1].training
            self._tell("mode", training=self._training)

    def _hand_over(self, ring: Ring) -> None:
        series = ring.drain()
        if series is not None:
            for block in finished(series):
                self._sink.append(block)

    def _failed(self, name: str, error: str) -> None:
        self._tell("probe_off", probe=name, error=error)

    def _tell(self, kind: str, **body: Any) -> None:
        self._sink.event(Event(self.step, kind, body, self.watched.name))


def _has_closure(args: Any, kwargs: Any) -> bool:
    """Whether `optimizer.step` was called with a closure that computes gradients."""
    given = [*args[1:2], kwargs.get("closure")]
    return any(callable(value) for value in given)
