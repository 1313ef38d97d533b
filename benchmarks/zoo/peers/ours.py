"""Surefoot itself, counted like any other: what it says while a run goes on, and after.

The record is diagnosed as it was every ten steps, and whole. Every finding above "info"
and every diagnosis counts, also one that is taken back later: so it is for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.zoo.peers.alarm import Peer, Watcher
from surefoot.diagnosis.examine import judge, streams
from surefoot.record.reader import RecordReader
from surefoot.signatures.streams import Stream
from surefoot.zoo.train import Watching

SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "nonfinite": ("non-finite", "non-finite source"),
    "half_precision": ("non-finite",),
    "wiring": ("loss wiring",),
    "divergence": ("divergence",),
    "loss_spike": ("loss spike",),
    "not_learning": ("plateau",),
    "exploding_gradients": ("gradient explodes",),
    "vanishing_gradients": ("gradient vanishes",),
    "input_scale": ("input scale",),
    "input_shift": ("input shift",),
    "zero_start": ("initial variance",),
    "symmetric_start": ("initial variance",),
    "dead_units": ("dead units",),
    "saturation": ("saturation",),
    "frozen": ("unchanged weights",),
    "never_stepped": ("unchanged weights",),
    "accumulating_gradients": ("gradient explodes",),
    "stale_second_moment": ("stale moment",),
    "gradient_noise": ("gradient noise",),
    "label_noise": ("labels",),
    "class_imbalance": ("imbalance",),
    "overfitting": ("overfitting",),
    "few_values": ("tiny batch",),
    "norm_gap": ("random at evaluation",),
}
"""Symptoms, as far as they say more than the cause that they lead to; a cause stands
for itself."""

LOOK = 10
"""Steps between two looks at the record."""


class Surefoot(Watcher):
    """The lines of its first page."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.watching = Watching(folder, "run")

    def start(self, task: Any) -> None:
        self.watching.start(task)
        self.steps = task.steps

    def before_backward(self, step: int, loss: Any, batch: Any) -> None:
        self.watching.before_backward(step, loss, batch)

    def before_update(self, step: int) -> None:
        self.watching.before_update(step)

    def after_update(self, step: int, loss: Any, batch: Any) -> None:
        self.watching.after_update(step, loss, batch)

    def measured(self, step: int, metrics: Mapping[str, float]) -> None:
        self.watching.measured(step, metrics)

    def end(self) -> None:
        self.watching.end()
        assert self.watching.run is not None
        with RecordReader(self.watching.run.path) as reader:
            whole = streams(reader)
        for step in (*range(0, self.steps - 1, LOOK), self.steps - 1):
            self._look(step, {name: until(one, step) for name, one in whole.items()})

    def _look(self, step: int, record: Mapping[str, Stream]) -> None:
        """Say what `surefoot diagnose` would say of the record as it was then."""
        findings, diagnoses = judge(record)
        for diagnosis in diagnoses:
            self.say(step, diagnosis.cause, _layer(diagnosis.layer))
        for finding in findings:
            if finding.severity != "info":
                self.say(step, finding.signature, _layer(finding.layer))


def until(stream: Stream, step: int) -> Stream:
    """A stream as it was after a step."""
    series = {
        name: replace(one, steps=one.steps[kept], values=one.values[kept])
        for name, one in stream.series.items()
        if (kept := one.steps <= step).any()
    }
    events = [event for event in stream.events if event.step <= step]
    return replace(stream, series=series, events=events)


def _layer(name: str) -> str:
    return "" if name == "run" else name


PEER = Peer("Surefoot", "", "live", Surefoot, SIGNATURES)
