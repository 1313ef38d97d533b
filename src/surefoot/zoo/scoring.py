"""The score of a zoo: labels and judgements come in, one table of numbers goes out.

A run counts as alarmed with any finding above "info". A fault that did no harm is
listed, not counted. A cause is right if it is any of the acceptable ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from surefoot.zoo.catalogue import fault_named
from surefoot.zoo.harm import Harm, harm
from surefoot.zoo.judging import Judgement, judge
from surefoot.zoo.recording import Label, label_of, processes, record_path
from surefoot.zoo.scenario import Scenario

SPREAD: Mapping[str, float] = {
    "mlp": 0.006,
    "tanh": 0.006,
    "conv": 0.004,
    "plain_conv": 0.010,
    "resnet": 0.006,
    "gpt": 0.004,
    "vit": 0.028,
    "lstm": 0.007,
    "gan": 0.050,
    "policy": 25.0,
    "replicas": 0.006,
}
"""Standard deviation of the held-out accuracy of each home (loss for gan and policy):
pooled over two configurations, three seeds of weights and data order each."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run, what was planted in it, what it cost, and what was said."""

    label: Label
    said: Judgement
    harm: Harm | None = None

    @property
    def name(self) -> str:
        """Name of the scenario."""
        return self.label.scenario.name

    @property
    def top(self) -> int | None:
        """Place of the first right cause, from 1; None if there is none."""
        truth = self.label.truth
        if truth is None:
            return None
        for place, cause in enumerate(self.said.causes, start=1):
            if cause in truth.causes:
                return place
        return None

    @property
    def layer_first(self) -> bool | None:
        """Whether the first diagnosis names a guilty layer; None: there is none."""
        truth = self.label.truth
        if truth is None or not truth.layers or not self.said.layers:
            return None
        return self.said.layers[0] in truth.layers

    @property
    def lead(self) -> int | None:
        """Steps by which the alarm came before the 6σ rule; None: no alarm."""
        if self.said.delay is None:
            return None
        rule = self.said.rule_delay
        return self.label.steps if rule is None else rule - self.said.delay


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `of`."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The share, NaN of nothing."""
        return self.hits / self.of if self.of else float("nan")


@dataclass(frozen=True, slots=True)
class Score:
    """The numbers of one half of the zoo.

    Delays and leads are in steps; `classes` gives found, right and all harmful runs
    of each fault; the lists name scenarios and what was said of them.
    """

    healthy_alarmed: Share
    alarms_per_100k_steps: float
    recall: Share
    top1: Share
    top3: Share
    layer_first: Share
    layers_named: float
    delay_median: float
    delay_p95: float
    lead: Share
    early: Share
    classes: Mapping[str, tuple[int, int, int]]
    false_alarms: tuple[str, ...]
    missed: tuple[str, ...]
    wrong: tuple[str, ...]
    harmless: tuple[str, ...]


def rows(chosen: Sequence[Scenario], folder: Path, *, jobs: int = 2) -> list[Row]:
    """Judge all runs that have a label and a record; harm is against their twins."""
    labels = {
        one: found
        for one in chosen
        if record_path(folder, one).exists() and (found := label_of(folder, one))
    }
    with processes(jobs) as pool:
        said = pool.map(partial(judge, folder=folder), labels.values(), chunksize=8)
        judged = dict(zip(labels, said, strict=True))
    return [
        Row(label, judged[one], _harm(label, folder, labels.get(one.twin)))
        for one, label in labels.items()
    ]


def _harm(label: Label, folder: Path, twin: Label | None) -> Harm | None:
    if label.truth is None:
        return None
    twin = twin or label_of(folder, label.scenario.twin)
    spread = SPREAD.get(label.scenario.home, 0.0)
    return harm(label.scores, None if twin is None else twin.scores, spread)


def score(found: Iterable[Row]) -> Score:
    """Count the rows of one half."""
    every = list(found)
    healthy = [row for row in every if row.label.truth is None]
    faulty = [row for row in every if row.label.truth is not None]
    harmful = [row for row in faulty if row.harm is not None and row.harm.held]
    seen = [row for row in harmful if row.said.found]
    alarms = sum(len(row.said.causes) for row in healthy)
    steps = sum(row.label.steps for row in healthy)
    tops = [row.top or 99 for row in harmful]
    places = [hit for row in seen if (hit := row.layer_first) is not None]
    delays = [row.said.delay for row in harmful if _is_abrupt(row)]
    known = [float(one) for one in delays if one is not None]
    leads = [row.lead for row in harmful if _is_spike(row)]
    return Score(
        healthy_alarmed=Share(sum(bool(r.said.alarms) for r in healthy), len(healthy)),
        alarms_per_100k_steps=1e5 * alarms / steps if steps else float("nan"),
        recall=Share(len(seen), len(harmful)),
        top1=Share(sum(top <= 1 for top in tops), len(harmful)),
        top3=Share(sum(top <= 3 for top in tops), len(harmful)),
        layer_first=Share(sum(places), len(places)),
        layers_named=_median([_layers_named(row) for row in seen if row.said.layers]),
        delay_median=_median(known),
        delay_p95=float(np.percentile(known, 95)) if known else float("nan"),
        lead=Share(sum(one is not None and one >= 5 for one in leads), len(leads)),
        early=Share(sum(bool(row.said.early) for row in faulty), len(faulty)),
        classes=_classes(harmful),
        false_alarms=tuple(
            f"{row.name}: {', '.join(row.said.alarms)} → {', '.join(row.said.causes)}"
            for row in healthy
            if row.said.alarms
        ),
        missed=tuple(row.name for row in harmful if not row.said.found),
        wrong=tuple(
            f"{row.name}: {', '.join(row.said.causes[:3]) or 'no cause'}"
            for row in seen
            if row.top != 1
        ),
        harmless=tuple(_cost(row) for row in faulty if row not in harmful),
    )


def _is_abrupt(row: Row) -> bool:
    fault = row.label.scenario.fault
    return fault is not None and fault_named(fault).abrupt


def _is_spike(row: Row) -> bool:
    fault = row.label.scenario.fault
    return fault is not None and fault_named(fault).spikes


def _layers_named(row: Row) -> float:
    """How many places the diagnoses of a run accuse."""
    return float(len({layer for layer in row.said.layers if layer != "run"}))


def _median(values: Sequence[float]) -> float:
    return float(median(values)) if values else float("nan")


def _classes(harmful: Iterable[Row]) -> dict[str, tuple[int, int, int]]:
    """Found, right at once, and all harmful runs, by fault."""
    table: dict[str, list[Row]] = defaultdict(list)
    for row in harmful:
        table[str(row.label.scenario.fault)].append(row)
    return {
        name: (sum(r.said.found for r in own), sum(r.top == 1 for r in own), len(own))
        for name, own in sorted(table.items())
    }


def _cost(row: Row) -> str:
    said = "alarmed" if row.said.found else "silent"
    if row.harm is None:
        return f"{row.name}: {said}"
    return f"{row.name}: {row.harm.effect:+.3f} {row.harm.measure}, {said}"
