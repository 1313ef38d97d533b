"""`python -m benchmarks.replay [--seeds 1] [--quick]`: tables on standard output.

Abrupt faults of the zoo, in rotating homes and strengths, and healthy runs at an
arbitrary moment. Bounds were chosen on even seeds; odd ones report. Times are CPU
seconds of one process on one thread. The exit status is 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.replay.incidents import made
from benchmarks.tables import table
from surefoot.blackbox.incident import Incident
from surefoot.blackbox.state import Trained
from surefoot.record.replays import Replayed
from surefoot.replay.causes import OUTSIDE
from surefoot.replay.conclude import Play, ask
from surefoot.replay.outcome import Outcome
from surefoot.replay.stage import Head, Stage, common, perform
from surefoot.replay.window import Window, replayed_steps
from surefoot.types import Prescription
from surefoot.zoo.catalogue import ALL
from surefoot.zoo.scenario import Scenario, planted, scenarios
from surefoot.zoo.task import Truth

OTHER_LOOPS = ("gan", "policy", "replicas")
"""Homes whose update is no loss of one batch: they are not played in one process."""

WRITTEN = ("dead_later",)
"""Faults that are planted by writing to weights: that is their right cause here."""


SMALL = ("tanh", "mlp", "plain_conv", "conv")
"""Homes of the quick subset, the cheapest first: each fault once, in a minute of CPU
time together."""

RIGHT, TIMES = 0.9, 10.0
"""What is aimed at: the share of right causes of abrupt faults, and the time until the
first verdict as a multiple of the window's own training time."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one scenario; `right` is None where no alarm was given."""

    name: str
    fault: str
    planted: str
    told: str
    right: bool | None
    result: str = ""
    remedy: str = ""
    exact: bool = True
    window: float = 0.0
    first: float = 0.0
    whole: float = 0.0


def main() -> int:
    """Run, and print the tables; the exit status goes out."""
    options = _parser().parse_args()
    torch.set_num_threads(1)
    found = [one for one in scenarios(options.seeds) if _played(one)]
    if options.healthy or options.faults:
        found = [one for one in found if (one.fault is None) == options.healthy]
    found = _quick(found) if options.quick else found[:: options.every]
    rows: list[Row] = []
    for scenario in found:
        rows.append(_row(scenario))
        sys.stderr.write(f"{len(rows)} of {len(found)}: {rows[-1]}\n")
        if options.json:
            told = json.dumps([asdict(one) for one in rows], indent=1)
            Path(options.json).write_text(told, encoding="utf-8")
    print(summary(rows))
    missed = failures(rows)
    print("\n".join(missed))
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--quick", action="store_true", help="each fault once")
    parser.add_argument("--every", type=int, default=1, help="every n-th of them only")
    parser.add_argument("--healthy", action="store_true", help="healthy runs only")
    parser.add_argument("--faults", action="store_true", help="faults only")
    parser.add_argument("--json", default="", help="write the rows here, too")
    return parser


def _quick(found: Sequence[Scenario]) -> list[Scenario]:
    """Each fault once, in the cheapest of its homes, and two healthy runs."""
    once: dict[str, Scenario] = {}
    for home in SMALL:
        for one in found:
            if one.home == home and (one.fault or home in SMALL[:2]):
                once.setdefault(one.fault or one.name, one)
    return [*once.values()]


def failures(rows: Sequence[Row]) -> list[str]:
    """Which targets were missed; healthy runs may be not reproduced, never accused."""
    faults = [one for one in rows if one.fault != "healthy"]
    judged = [one for one in faults if one.right is not None]
    share = sum(bool(one.right) for one in judged) / max(len(judged), 1)
    late = [one.name for one in rows if one.first > TIMES * one.window > 0]
    accused = [one.name for one in rows if one.fault == "healthy" and one.told]
    said = (
        [f"MISSED: {share:.0%} of causes are right"] if faults and share < RIGHT else []
    )
    said += [f"MISSED: the first verdict on {name} came late" for name in late]
    said += [f"MISSED: the healthy run {name} is laid to a cause" for name in accused]
    return said


def _played(scenario: Scenario) -> bool:
    abrupt = [one.name for one in ALL if one.abrupt]
    fits = scenario.fault is None or scenario.fault in abrupt
    return fits and scenario.home not in OTHER_LOOPS


def _row(scenario: Scenario) -> Row:
    fault = scenario.fault or "healthy"
    with tempfile.TemporaryDirectory() as folder:
        one = made(scenario, Path(folder))
    causes = one.truth.causes if one.truth else ("",)
    if one.incident is None:
        return Row(scenario.name, fault, causes[0], "no alarm", None)
    clock = _Clock(time.process_time())
    told = ask(one.incident, player(scenario, one.incident, clock))
    return Row(
        name=scenario.name,
        fault=fault,
        planted=causes[0],
        told=told.cause,
        right=right(told, one.truth, fault),
        result=told.result,
        remedy=told.remedy.remedy if told.remedy else "",
        exact=told.noise == 0.0 and told.departs is None,
        window=round(clock.window, 3),
        first=round(clock.first, 3),
        whole=round(time.process_time() - clock.began, 3),
    )


def right(told: Replayed, truth: Truth | None, fault: str) -> bool:
    """Whether the implied cause is the planted one; for a healthy run, none."""
    if truth is None:
        return told.cause == "" and told.result == "nothing to prevent"
    if fault in WRITTEN:
        named = all(one in truth.layers for one in told.layers)
        return told.cause == OUTSIDE and bool(told.layers) and named
    return told.cause in truth.causes


@dataclass(slots=True)
class _Clock:
    """CPU seconds: of the window once, and until the first change was judged."""

    began: float
    window: float = 0.0
    first: float = 0.0


def player(scenario: Scenario, incident: Incident, clock: _Clock) -> Play:
    """Plays branches with the zoo's own loop: what it changes between steps, too."""
    steps = replayed_steps(incident)

    def stage(window: Window, before: int) -> Stage:
        task, _ = planted(scenario)
        for step in sorted(task.change):
            if step < before:
                task.change[step]()

        def between(step: int) -> None:
            if step in task.change:
                task.change[step]()

        trained = Trained(task.models, task.optimizers)
        return Stage(trained, task.model, task.loss, None, between, task.clip or None)

    heads: dict[Window, Head] = {}

    def play(window: Window, asked: Sequence[Prescription]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        if window not in heads:
            start = time.process_time()
            own = stage(window, window.first)
            heads[window] = common(own, incident.state, steps, window=window)
            clock.window = time.process_time() - start
        for one in asked:
            where = stage(window, window.parting)
            start = time.process_time()
            outcomes.append(
                perform(where, heads[window], steps, window=window, prescription=one)
            )
            if one.remedy == "unchanged":
                clock.window += time.process_time() - start
            if one.changes and one.remedy != "no updates" and not clock.first:
                clock.first = time.process_time() - clock.began
        return outcomes

    return play


def summary(rows: Sequence[Row]) -> str:
    """Both tables: causes by fault, and what it cost."""
    kinds = list(dict.fromkeys(one.fault for one in rows))
    lines: list[list[str]] = []
    for kind in [*kinds, "all faults"]:
        own = [one for one in rows if one.fault == kind or (
            kind == "all faults" and one.fault != "healthy")]  # fmt: skip
        judged = [one for one in own if one.right is not None]
        lines.append(
            [
                kind,
                str(len(own)),
                str(len(judged)),
                str(sum(bool(one.right) for one in judged)),
                f"{_share(sum(bool(one.right) for one in judged), len(judged))}",
                str(sum(one.result == "prevented" for one in judged)),
                str(sum(one.exact for one in judged)),
            ]
        )
    header = ["planted", "runs", "alarms", "right", "share", "prevented", "exact"]
    judged = [one for one in rows if one.window > 0]
    times = sorted(one.first / one.window for one in judged if one.first)
    wholes = sorted(one.whole / one.window for one in judged)
    cost = (
        f"first verdict: {_middle(times):.1f}× the window's training time (median), "
        f"{times[-1]:.1f}× at most; all branches: {_middle(wholes):.1f}× (median)"
        if times
        else "no branch was played"
    )
    return table("Replay: causes of abrupt faults", header, lines) + "\n" + cost


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _middle(values: Sequence[float]) -> float:
    return values[len(values) // 2]


if __name__ == "__main__":
    sys.exit(main())
