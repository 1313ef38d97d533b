"""One run judged: its record and its label come in, what was said of it goes out.

The record is diagnosed whole, and cut off at steps after the onset, as somebody who
looks at a live run would see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from surefoot.diagnosis.examine import judge as weigh
from surefoot.diagnosis.examine import streams as recorded
from surefoot.record.reader import RecordReader
from surefoot.signatures.streams import Stream
from surefoot.types import Diagnosis, Finding, Series
from surefoot.zoo.catalogue import fault_named
from surefoot.zoo.recording import Label, record_path

LOUD = ("warning", "critical")
LADDER = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 80, 120, 200, 300)
"""Steps after the onset at which the run is looked at."""

RULE_WINDOW, RULE_LEAST, RULE_SIGMA = 128, 20, 6.0
"""The rule of OLMo: a loss six deviations above the mean of the last 128."""


@dataclass(frozen=True, slots=True)
class Said:
    """Alarms and causes, most confident first."""

    alarms: tuple[Finding, ...]
    diagnoses: tuple[Diagnosis, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was said of one run.

    `alarms` are names of signatures above "info", `causes` and `layers` those of the
    diagnoses in their order, `early` the alarms raised before the onset (they do not
    make a fault `found`), `delay` the steps from the onset to the first other alarm
    (None: never), `rule_delay` the same for the 6σ rule on the loss.
    """

    alarms: tuple[str, ...]
    causes: tuple[str, ...]
    layers: tuple[str, ...]
    found: bool
    early: tuple[str, ...] = ()
    delay: int | None = None
    rule_delay: int | None = None


def judge(label: Label, folder: Path) -> Judgement:
    """Diagnose the record of a label; an error says which one it was."""
    try:
        return _judged(label, folder)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        error.add_note(f"while the record of {label.scenario.name} was diagnosed")
        raise


def _judged(label: Label, folder: Path) -> Judgement:
    streams = read(record_path(folder, label.scenario))
    whole = said(streams)
    truth, fault = label.truth, label.scenario.fault
    judged = Judgement(
        alarms=tuple(dict.fromkeys(one.signature for one in whole.alarms)),
        causes=tuple(one.cause for one in whole.diagnoses),
        layers=tuple(one.layer for one in whole.diagnoses),
        found=bool(whole.alarms),
    )
    if truth is None or fault is None:
        return judged
    onset = truth.onset
    before = said(cut(streams, onset - 1)).alarms if onset else ()
    early = tuple(dict.fromkeys(one.signature for one in before))
    found = any(one.signature not in early for one in whole.alarms)
    judged = replace(judged, found=found, early=early)
    kind = fault_named(fault)
    if found and (kind.abrupt or kind.spikes):
        delay = _delay(streams, onset, early)
        judged = replace(judged, delay=delay, rule_delay=_rule(streams, onset))
    return judged


def read(path: Path) -> dict[str, Stream]:
    """All that a record holds, by stream."""
    with RecordReader(path) as reader:
        return recorded(reader)


def said(streams: Mapping[str, Stream]) -> Said:
    """Alarms and diagnoses of all streams."""
    findings, diagnoses = weigh(streams)
    alarms = tuple(finding for finding in findings if finding.severity in LOUD)
    return Said(alarms, tuple(diagnoses))


def cut(streams: Mapping[str, Stream], stop: int) -> dict[str, Stream]:
    """What was known after step `stop`."""
    return {
        name: Stream(
            one.facts,
            {what: _until(series, stop) for what, series in one.series.items()},
            [event for event in one.events if event.step <= stop],
        )
        for name, one in streams.items()
    }


def _until(series: Series, stop: int) -> Series:
    kept = int(np.searchsorted(series.steps, stop, side="right"))
    return replace(series, steps=series.steps[:kept], values=series.values[:kept])


def _delay(
    streams: Mapping[str, Stream], onset: int, early: tuple[str, ...]
) -> int | None:
    """The first step of the ladder at which an alarm is raised that is not early."""
    for k in LADDER:
        alarms = said(cut(streams, onset + k)).alarms
        if any(one.signature not in early for one in alarms):
            return k
    return None


def _rule(streams: Mapping[str, Stream], onset: int) -> int | None:
    """Steps from the onset to the first alarm of the 6σ rule on the loss."""
    for one in streams.values():
        if "loss" in one.series:
            steps, losses = one.series["loss"].steps, one.series["loss"].values[:, 0]
            for place in np.flatnonzero(steps >= onset):
                if six_sigma(losses[: place + 1]):
                    return int(steps[place]) - onset
    return None


def six_sigma(losses: np.ndarray) -> bool:
    """Whether the last loss lies six deviations above the ones before it.

    >>> import numpy as np
    >>> calm = np.tile([1.0, 1.1], 30)
    >>> six_sigma(calm), six_sigma(np.append(calm, 2.0))
    (False, True)
    """
    before = losses[-1 - RULE_WINDOW : -1].astype(np.float64)
    if len(before) < RULE_LEAST:
        return False
    bound = before.mean() + RULE_SIGMA * before.std()
    return not losses[-1] <= bound
