"""Watch a live run: models and optimizers come in, a record and a diagnosis go out.

Joins all stages: recorders on the optimizers, one record on disk, and a lookout
that reads the record while it grows and speaks once for each thing that goes wrong.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from surefoot.autopilot.joined import Autopilot
from surefoot.blackbox.box import BlackBox
from surefoot.blackbox.dispatch import Alarm, accused
from surefoot.blackbox.options import BlackBoxOptions
from surefoot.diagnosis.examine import examine
from surefoot.diagnosis.stored import steps_of
from surefoot.lookout import Lookout
from surefoot.preflight.check import check as check_before
from surefoot.preflight.report import Report
from surefoot.probes.options import Options
from surefoot.probes.recorder import Recorder
from surefoot.probes.streams import Watched
from surefoot.record.folder import name_of
from surefoot.record.reader import RecordReader
from surefoot.record.writer import RecordWriter
from surefoot.report.live import Live
from surefoot.report.notebook import Diagnoses, run_html
from surefoot.sinks.delivery import Delivery, close_all
from surefoot.terminal.follow import caught_up
from surefoot.types import Diagnosis, Event, Field, LossFunction, Series, Sink

Loss = torch.Tensor | float | Mapping[str, torch.Tensor | float]

_log = logging.getLogger("surefoot")


class SurefootWarning(UserWarning):
    """Something was used in a way that costs speed or hides what is recorded."""


class Run:
    """One run under watch: a record on disk, and what was found in it so far.

    Made by `watch`. Use it as a context manager, or call `close` at the end; a run
    that is neither closed nor left keeps all that was recorded.
    """

    def __init__(self, writer: RecordWriter | None) -> None:
        self._writer = writer
        self._recorders: dict[str, Recorder] = {}
        self._lookout: Lookout | None = None
        self._autopilot: Autopilot | None = None
        self._float_told = False
        self.closed = False
        self._sinks: list[Sink] = []
        self._deliveries: list[Delivery] = []
        self._process = os.getpid()
        self.box: BlackBox | None = None

    @property
    def path(self) -> Path | None:
        """The record on disk; None where nothing is recorded (switched off)."""
        return None if self._writer is None else self._writer.path

    @property
    def streams(self) -> Mapping[str, Recorder]:
        """The recorders of the run by the name of their stream."""
        return self._recorders

    def add(
        self,
        find: Callable[[], Watched],
        options: Options,
        *,
        caught: Callable[[], list[torch.Tensor]] | None = None,
    ) -> None:
        """Record one more stream; `caught` gives its losses where they are caught.

        `find` says what to watch. It is asked again when the optimizer is given new
        parameters: the stream goes on with them.
        """
        if self._writer is None:
            return
        watched = find()
        recorder = Recorder(watched, self, options, caught=caught)
        self._recorders[watched.name] = recorder
        recorder.find = find
        recorder.on_first_step = self._put_facts
        self._put_facts()

    def append(self, series: Series) -> None:
        """Take a block of readings from a recorder."""
        if self._writer is None or os.getpid() != self._process:
            return
        self._writer.append(series)
        for sink in self._sinks:
            sink.write(series)

    def field(self, field: Field) -> None:
        """Take a histogram, a spectrum or a surface."""
        if self._writer is not None:
            self._writer.field(field)

    def keep(self, options: BlackBoxOptions, about: Mapping[str, Any]) -> None:
        """Keep states and batches from now on, for an incident file on an alarm.

        `about` says which program this is. What is kept is told by `run.box.watch`.
        """
        if self._writer is not None:
            self.box = BlackBox(
                options,
                self._writer.path.with_suffix(""),
                tell=self.event,
                norms=self._gradient_norms,
                about=about,
            )

    def look_out(self, speak: Callable[[Diagnosis], None]) -> None:
        """Read the record while it grows; `speak` once for each new diagnosis."""

        def hear(diagnosis: Diagnosis) -> None:
            self._ask_for_incident(diagnosis)
            speak(diagnosis)
            if self._autopilot is not None:
                self._autopilot.hear(diagnosis)

        if self._writer is not None and self._lookout is None:
            self._lookout = Lookout(self._writer, hear, tell=self.event)

    def fly_by(self, autopilot: Autopilot) -> None:
        """Let an autopilot act on the run until it is closed, in all processes."""
        self._autopilot = autopilot

    def see_loss(
        self, loss: Loss, *, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """Tell the autopilot, if there is one, a loss that was caught."""
        if self._autopilot is not None:
            self._autopilot.see_loss(loss, optimizer=optimizer)

    def send_to(self, sink: Sink) -> None:
        """Hand all that is recorded from now on to a sink too.

        It is called on the training thread, so it must be quick and never raise;
        `deliver_to` takes any other. Whoever gives it closes it.
        """
        if self._writer is not None:
            self._sinks.append(sink)

    def deliver_to(self, sink: Sink) -> None:
        """Hand all that is recorded from now on to a sink on a thread of its own.

        However slow it is or whatever it raises, training does not feel it. It is
        closed with the run.
        """
        if self._writer is not None:
            delivery = Delivery(sink, self._writer.event)
            self._deliveries.append(delivery)
            self.send_to(delivery)

    def step(self, loss: Loss, batch: Any = None) -> None:
        """Tell the loss of the update that was just made; call it after each.

        Args:
            loss: a tensor with one element, as it was given to `backward`; it is not
                synchronised. With several optimizers, a mapping from the names of
                their streams. Under gradient accumulation call this once for each
                micro-batch: the losses of one update are averaged.
            batch: what was trained on, for the statistics of its targets: a tensor,
                `(inputs, targets)` or a mapping of tensors.

        Raises:
            TypeError: the loss is no tensor and no number.
            ValueError: the loss has more than one element, or names no stream.
        """
        self.see_loss(loss)
        if self._writer is None:
            return
        for name, recorder in self._recorders.items():
            value = loss.get(name) if isinstance(loss, Mapping) else loss
            if value is None:
                continue
            with recorder.meter:
                self._tell(recorder, value, batch)
        if self.box is not None:
            losses = [*loss.values()] if isinstance(loss, Mapping) else [loss]
            self.box.told(losses, batch)
        if isinstance(loss, Mapping) and not loss.keys() <= self._recorders.keys():
            raise ValueError(
                f"step() came with losses for {', '.join(loss)}; expected names of the "
                f"watched streams: {', '.join(self._recorders)}; they are the keys of "
                "the optimizers given to watch()"
            )

    def log(self, **metrics: float) -> None:
        """Record numbers of your own, such as `run.log(held_out_accuracy=0.97)`."""
        if self._writer is None or not metrics:
            return
        first = next(iter(self._recorders.values()), None)
        step = np.asarray([first.step if first else 0], dtype=np.int64)
        row = np.asarray([[float(v) for v in metrics.values()]], dtype=np.float32)
        stream = first.watched.name if first else "main"
        for recorder in self._recorders.values():
            recorder.tell_metrics(metrics)
        self.append(Series("metric", tuple(metrics), step, row, stream))

    def event(self, event: Event) -> None:
        """Record that something happened."""
        if self._writer is None or os.getpid() != self._process:
            return
        self._writer.event(event)
        for sink in self._sinks:
            sink.event(event)
        if self.box is not None:
            self.box.see_event(event)

    def checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Record that a checkpoint was written to `path`, after the last update.

        `surefoot run` does so by itself where a script calls `torch.save`.
        """
        place = Path(path)
        size = place.stat().st_size if place.is_file() else None
        body = {"path": str(place), "bytes": size}
        self.event(Event(self.last_step, "checkpoint", body))

    @property
    def last_step(self) -> int:
        """Updates made so far, in the stream that made most."""
        return max((r.step for r in self._recorders.values()), default=0)

    def diagnose(self) -> list[Diagnosis]:
        """What is wrong so far, most confident first; empty when nothing is.

        In a notebook the list shows as text, with evidence and what to do.
        """
        if self._writer is None:
            return Diagnoses(name="a run that was not recorded")
        self.flush()
        path = self._writer.path
        with RecordReader(path) as reader:
            return Diagnoses(
                examine(reader), name=name_of(path), steps=steps_of(reader)
            )

    def _repr_html_(self) -> str:
        """How a notebook shows the run so far: losses, and what is wrong."""
        if self._writer is None:
            return run_html(Live("a run that is not recorded"), [])
        self.flush()
        path = self._writer.path
        with RecordReader(path) as reader:
            live = caught_up(Live(name_of(path)), reader)
            return run_html(live, examine(reader))

    def preflight(self, batch: Any, loss_fn: LossFunction) -> Report:
        """Check what is watched on one batch, before training; see `surefoot.check`.

        Nothing of the check is recorded, and nothing is changed.
        """
        first = next(iter(self._recorders.values()), None)
        if first is None:
            return Report(skipped=("nothing is watched: the run is off or closed",))
        model = next(iter(first.watched.roots.values()))
        optimizer = first.watched.optimizer
        return check_before(model, batch, loss_fn=loss_fn, optimizer=optimizer)

    def flush(self) -> None:
        """Bring everything recorded so far to the disk."""
        if self._writer is None:
            return
        for recorder in self._recorders.values():
            recorder.flush()
        self._writer.flush()

    def close(self, status: str = "finished", error: str = "") -> None:
        """End the run: take all hooks off, write the rest; further calls do nothing.

        `status` is "finished", "failed" or "interrupted".
        """
        if self._autopilot is not None:
            self._autopilot.close()
            self._autopilot = None
        if self._writer is None or self.closed:
            return
        self.closed = True
        for recorder in self._recorders.values():
            recorder.close()
        self._put_facts()
        self.event(Event(self.last_step, "end", {"status": status, "error": error}))
        found = [] if self._lookout is None else self._lookout.stop()
        if self.box is not None:
            for diagnosis in found[:1] if status != "interrupted" else ():
                self._ask_for_incident(diagnosis)
            self.box.close(status, error)
        close_all(self._deliveries)
        self._writer.close()
        if self._writer.trouble is not None:
            _log.warning(
                "the record of this run is incomplete: %s", self._writer.trouble
            )
        self._recorders = {}

    def close_at_exit(self) -> None:
        """Close the run when the process ends, if nobody has by then."""
        alive = weakref.ref(self)

        def close() -> None:
            run = alive()
            if run is not None and not run.closed:
                run.close(*ending(getattr(sys, "last_value", None)))

        atexit.register(close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(*ending(error))

    def _ask_for_incident(self, found: Diagnosis) -> None:
        """A diagnosis was spoken of: what led to it is written."""
        if self.box is not None:
            reason = f"{found.cause} in {found.layer}: {found.about}"
            layers = accused(found.layer)
            self.box.alarm(Alarm(reason, found.onset, layers, found.stream))

    def _gradient_norms(self, stream: str) -> Any:
        """What the recorder of a stream measured of the gradients just used."""
        recorder = self._recorders.get(stream)
        return None if recorder is None else recorder.take_gradient_norms()

    def _tell(self, recorder: Recorder, loss: Any, batch: Any) -> None:
        """Check one loss and hand it to its recorder."""
        recorder.add_loss(self._checked(loss, recorder))
        recorder.shield.run("batch", lambda: recorder.tell_batch(batch))

    def _checked(self, loss: Any, recorder: Recorder) -> torch.Tensor:
        """The loss as a tensor with one element."""
        at = f"step {recorder.step}, stream {recorder.watched.name!r}"
        if isinstance(loss, (int, float)):
            if not self._float_told:
                self._float_told = True
                warnings.warn(
                    f"{at}: the loss came as a Python number; expected the tensor that "
                    "backward was called on; pass the tensor itself, since .item() "
                    "waits for the device at every step",
                    SurefootWarning,
                    stacklevel=4,
                )
            return torch.tensor(float(loss))
        if not isinstance(loss, torch.Tensor):
            raise TypeError(
                f"{at}: the loss came as {type(loss).__name__}; expected a tensor with "
                "one element; pass the loss that backward was called on"
            )
        if loss.numel() != 1:
            raise ValueError(
                f"{at}: the loss came with shape {tuple(loss.shape)}; expected one "
                "element; reduce it with .mean() or .sum(), as backward needs it too"
            )
        return loss

    def _put_facts(self) -> None:
        """Write what is constant over each stream, as far as it is known."""
        if self._writer is not None:
            facts = {name: asdict(r.facts) for name, r in self._recorders.items()}
            self._writer.put_meta("streams", facts)


def ending(error: BaseException | None) -> tuple[str, str]:
    """Status and message of a run that ended with this exception, or with none."""
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "finished", ""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", "Ctrl-C"
    return "failed", f"{type(error).__name__}: {error}"
