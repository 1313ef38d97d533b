"""Alarm rate on healthy runs and recall on faulty ones: where the bounds come from.

    python -m benchmarks.calibrate_signatures record FOLDER --seeds 0 1 [--only NAME]
    python -m benchmarks.calibrate_signatures score FOLDER

`record` trains every healthy task, and every fault beside its twin without it, and
leaves a label beside each record. `score` diagnoses them all. A fault counts as
harmful if it cost the run a tenth of what its twin won. Bounds were chosen on the
seeds below 8; higher seeds, and the networks of `unseen`, only report.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import surefoot
from benchmarks.calibration import awkward, faults, healthy, loops, unseen
from benchmarks.calibration.nets import Task
from surefoot.diagnosis.diagnose import diagnose
from surefoot.record.reader import RecordReader
from surefoot.signatures.detect import detect
from surefoot.types import Diagnosis, Facts, Finding

ALARMS = ("warning", "critical")
HARM = 0.1


# --- recording --------------------------------------------------------------------


def trained(task: Task, folder: Path, name: str) -> Path:
    """Train a task under watch; the path of its record."""
    base = [group["lr"] for group in task.optimizer.param_groups]
    run = surefoot.watch(task.model, task.optimizer, folder=folder, name=name)
    for step in range(task.steps):
        if step in task.change:
            task.change[step]()
        if task.schedule is not None:
            for group, lr in zip(task.optimizer.param_groups, base, strict=True):
                group["lr"] = lr * task.schedule(step)
        run.step(update(task, step))
    run.close()
    return run.path


def update(task: Task, step: int) -> torch.Tensor:
    """One update; its loss."""
    if task.zero_grad:
        task.optimizer.zero_grad()
    losses = []
    for _ in range(task.accumulate):
        batch = next(task.batches)
        if step in task.batch_change:
            batch = task.batch_change[step](batch)
        loss = task.loss(task.model, batch)
        (loss / task.accumulate).backward()
        losses.append(loss.detach())
    if task.clip:
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), task.clip)
    task.optimizer.step()
    return torch.stack(losses).mean()


def label(path: Path, **body: Any) -> None:
    path.with_suffix(".json").write_text(json.dumps(body))


def seeded(*parts: int | str) -> np.random.Generator:
    number = sum(ord(c) * 31**i for i, c in enumerate(repr(parts))) % 2**31
    torch.manual_seed(number)
    return np.random.default_rng(number)


def record(folder: Path, seeds: list[int], only: str) -> None:
    """Train everything and keep the records."""
    for seed in seeds:
        for make in (*healthy.TASKS, *awkward.TASKS, *unseen.TASKS):
            if only in make.__name__:
                task = make(seeded(make.__name__, seed))
                path = trained(task, folder, f"{make.__name__}-{seed}")
                label(path, name=make.__name__, seed=seed, fault=None)
        for loop in loops.LOOPS:
            if only in loop.__name__:
                name = f"{loop.__name__}-{seed}"
                path = loop(seeded(loop.__name__, seed), folder, name)
                label(path, name=loop.__name__, seed=seed, fault=None)
        for place, (fault, bases) in enumerate(faults.FAULTS):
            if only in fault.__name__:
                base = bases[(seed // 2 + place + 3 * (seed % 2)) % len(bases)]
                record_fault(folder, fault, base, seed)


def record_fault(
    folder: Path, fault: faults.Fault, base: faults.Base, seed: int
) -> None:
    """Train a faulty task and its healthy twin."""
    name = f"{fault.__name__}-{base.__name__}-{seed}"
    rng = seeded(name)
    task = base(rng)
    expected = fault(task, rng)
    path = trained(task, folder, name)
    twin = trained(base(seeded(name)), folder, f"twin-{name}")
    label(twin, name=base.__name__, seed=seed, fault=None)
    label(
        path,
        name=base.__name__,
        seed=seed,
        fault=fault.__name__,
        twin=twin.name,
        causes=expected.causes,
        onset=expected.onset,
        layers=expected.layers,
    )


# --- scoring ----------------------------------------------------------------------


def labelled(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob("*.json")):
        yield path.with_suffix(".surefoot"), json.loads(path.read_text())


def read(path: Path) -> tuple[list[Finding], list[Diagnosis], np.ndarray]:
    """Findings, diagnoses and the losses of the first stream of a record."""
    findings: list[Finding] = []
    diagnoses: list[Diagnosis] = []
    losses = np.empty(0)
    with RecordReader(path) as reader:
        facts = reader.facts()
        for stream in reader.streams():
            own = facts.get(stream, Facts(stream=stream))
            names = reader.quantities(stream)
            series = {name: reader.series(name, stream) for name in names}
            events = reader.events(stream=stream)
            found = detect(series, own, events)
            findings += found
            diagnoses += diagnose(found, own, events)
            losses = losses if losses.size else series["loss"].values[:, 0]
    return findings, sorted(diagnoses, key=lambda one: -one.confidence), losses


def final(losses: np.ndarray) -> float:
    tail = losses[-max(5, losses.size // 10) :]
    return float(np.median(tail)) if np.isfinite(tail).all() else float("inf")


def score(folder: Path) -> None:
    """Print the table, for the tuning and for the reporting part."""
    parts: dict[str, list[tuple[Path, dict[str, Any]]]] = defaultdict(list)
    known = {make.__name__ for make in unseen.TASKS}
    for path, body in labelled(folder):
        kind = "tuning" if body["seed"] < 8 else "reporting"
        parts["unseen" if body["name"] in known else kind].append((path, body))
    for part, rows in parts.items():
        print(f"\n{part}: {len(rows)} runs")
        score_healthy([path for path, body in rows if body["fault"] is None])
        score_faulty([row for row in rows if row[1]["fault"]], folder)


def score_healthy(paths: list[Path]) -> None:
    alarmed = []
    for path in paths:
        loud = {f.signature for f in read(path)[0] if f.severity in ALARMS}
        if loud:
            alarmed.append(f"{path.stem}: {', '.join(sorted(loud))}")
    print(f"healthy runs alarmed: {len(alarmed)} of {len(paths)}")
    for line in alarmed:
        print(f"  {line}")


def score_faulty(rows: list[tuple[Path, dict[str, Any]]], folder: Path) -> None:
    table: dict[str, list[tuple[bool, bool, bool | None, int | None]]]
    table = defaultdict(list)
    for path, body in rows:
        findings, diagnoses, losses = read(path)
        twin = read(folder / body["twin"])[2]
        won = float(np.median(twin[:3])) - final(twin)
        if final(losses) - final(twin) <= HARM * abs(won):
            continue
        loud = any(one.severity in ALARMS for one in findings)
        first = diagnoses[0] if diagnoses else None
        right = first is not None and first.cause in body["causes"]
        place = None if not body["layers"] else False
        if first is not None and body["layers"]:
            place = first.layer in body["layers"]
        late = None if first is None else first.onset - body["onset"]
        table[body["fault"]].append((loud, right, place, late))
    print(f"{'harmful fault':24s} runs found cause layer  onset off by")
    for name, found in sorted(table.items()):
        places = [row[2] for row in found if row[2] is not None]
        late = [row[3] for row in found if row[3] is not None]
        print(
            f"{name:24s} {len(found):4d} {sum(row[0] for row in found):5d} "
            f"{sum(row[1] for row in found):5d} {sum(places):2d}/{len(places):<2d} "
            f"{np.median(late) if late else float('nan'):6.0f}"
        )
    every = [row for found in table.values() for row in found]
    print(
        f"{'all':24s} {len(every):4d} {sum(row[0] for row in every):5d} "
        f"{sum(row[1] for row in every):5d}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["record", "score"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.verb == "record":
        record(options.folder, options.seeds, options.only)
    else:
        score(options.folder)


if __name__ == "__main__":
    main()
