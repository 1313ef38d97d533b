"""`python -m benchmarks.autopilot.healthy`: healthy runs come in, a count goes out.

Every healthy run of the zoo is trained twice from the same start: by nobody watched,
and under the autopilot in "guard". There may be no intervention, and every bit of
weights, optimizer states and losses must be the same. Even seeds are for tuning, odd
ones report.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import multiprocessing
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import surefoot
from benchmarks.autopilot.actions import actions
from surefoot.autopilot.policy import Policy
from surefoot.zoo.catalogue import HOMES
from surefoot.zoo.controls import CONTROLS
from surefoot.zoo.scenario import Scenario, planted
from surefoot.zoo.task import Losses, Task
from surefoot.zoo.train import Nobody, Watching, train

SEEDS = (0, 1, 2, 3)


class Noting(Nobody):
    """Nothing but the losses that it was told."""

    def __init__(self) -> None:
        self.losses: list[Losses] = []

    def after_update(self, step: int, loss: Losses, batch: Any) -> None:
        self.losses.append(loss)


class Guarded(Watching):
    """Surefoot with its autopilot in "guard"."""

    def start(self, task: Task) -> None:
        self.run = surefoot.watch(
            task.models,
            task.optimizers,
            loss_fn=task.loss if task.update is None else None,
            folder=self.folder,
            name=self.name,
            autopilot=Policy(mode="guard"),
        )

    def after_update(self, step: int, loss: Losses, batch: Any) -> None:
        super().after_update(step, loss, batch)
        self.losses.append(loss)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One healthy run: what the autopilot did, and whether every bit is the same."""

    scenario: Scenario
    did: tuple[str, ...]
    same: bool


def scenarios(seeds: Iterable[int]) -> list[Scenario]:
    """All homes and controls of the zoo with some seeds."""
    return [
        Scenario(name, None, 0, seed) for seed in seeds for name in (*HOMES, *CONTROLS)
    ]


def outcome(scenario: Scenario) -> Outcome:
    """Train twice and compare."""
    bare, nobody = planted(scenario)[0], Noting()
    train(bare, nobody)
    with TemporaryDirectory() as folder:
        guarded, watching = planted(scenario)[0], Guarded(Path(folder), scenario.name)
        train(guarded, watching)
        path = None if watching.run is None else watching.run.path
        did = tuple(actions(path))
    same = digest(bare, nobody.losses) == digest(guarded, watching.losses)
    return Outcome(scenario, did, same)


def digest(task: Task, losses: Sequence[Losses]) -> str:
    """One number for every bit of weights, buffers, optimizer states and losses."""
    told = hashlib.sha256()
    for one in (*task.models.values(), *task.optimizers.values()):
        for tensor in _tensors(one.state_dict()):
            told.update(_bytes(tensor))
    for tensor in _tensors(losses):
        told.update(_bytes(tensor))
    return told.hexdigest()


def _tensors(nest: Any) -> list[torch.Tensor]:
    """The tensors of a nest in its own order."""
    if isinstance(nest, torch.Tensor):
        return [nest]
    if isinstance(nest, Mapping):
        nest = list(nest.values())
    if isinstance(nest, (list, tuple)):
        return [tensor for one in nest for tensor in _tensors(one)]
    return []


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def outcomes(wanted: Sequence[Scenario], processes: int) -> Iterable[Outcome]:
    """Those of all scenarios as they come, in order."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawned, initializer=_alone) as pool:
        yield from pool.map(outcome, wanted)


def _alone() -> None:
    torch.set_num_threads(1)
    logging.getLogger("surefoot").setLevel(logging.ERROR)


def report(wanted: Sequence[Scenario], processes: int) -> str:
    """Counts of each half, and every intervention by its scenario."""
    found: list[Outcome] = []
    for one in outcomes(wanted, processes):
        found.append(one)
        if one.did or not one.same:
            print(f"{len(found)} of {len(wanted)}: {said(one)}", file=sys.stderr)
    lines = ["", "### Healthy runs of the zoo in guard", ""]
    for part, name in (
        ("tuning", "even seeds"),
        ("reporting", "odd seeds, other homes"),
    ):
        own = [one for one in found if one.scenario.part == part]
        if own:
            lines.append(_counts(name, own))
    return "\n".join([*lines, *(said(one) for one in found if one.did or not one.same)])


def _counts(name: str, found: Sequence[Outcome]) -> str:
    touched = sum(bool(one.did) for one in found)
    other = sum(not one.same for one in found)
    return (
        f"- {name}: {len(found)} runs, {touched} with an intervention, {other} that "
        "differ in a bit from the run that nobody watched; aimed at: none"
    )


def said(one: Outcome) -> str:
    """A run that was touched."""
    bits = "" if one.same else " (bits differ)"
    return f"- {one.scenario.name}{bits}: " + "; ".join(one.did[:6])


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.autopilot.healthy")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--only", nargs="+", help="homes and controls by name")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    told = parser.parse_args()
    wanted = [
        one for one in scenarios(told.seeds) if not told.only or one.home in told.only
    ]
    print(report(wanted, told.jobs))


if __name__ == "__main__":
    main()
