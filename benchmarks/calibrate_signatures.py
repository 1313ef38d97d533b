"""Alarm rate on healthy runs and recall on faulty ones, for the thresholds' sources.

    python benchmarks/calibrate_signatures.py record FOLDER [--seeds 3] [--only NAME]
    python benchmarks/calibrate_signatures.py score FOLDER

`record` trains every healthy task and every fault with its twin, and leaves the
records and a label beside each. `score` diagnoses them: even seeds are the tuning
half, odd seeds the reporting half.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import calibration_faults as faults
import calibration_healthy as healthy
import calibration_loops as loops
import numpy as np
import torch
from calibration_nets import Task

import surefoot

TORCH_THREADS = 1


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
        run.step(torch.stack(losses).mean(), batch=batch)
    run.close()
    return run.path


def _label(path: Path, **body: Any) -> None:
    path.with_suffix(".json").write_text(json.dumps(body))


def _seeded(*parts: int | str) -> np.random.Generator:
    number = sum(ord(c) * 31**i for i, c in enumerate(repr(parts))) % 2**31
    torch.manual_seed(number)
    return np.random.default_rng(number)


def record(folder: Path, seeds: list[int], only: str) -> None:
    """Train everything and keep the records."""
    for seed in seeds:
        for make in healthy.TASKS:
            if only in make.__name__:
                task = make(_seeded(make.__name__, seed))
                path = trained(task, folder, f"{make.__name__}-{seed}")
                _label(path, name=make.__name__, seed=seed, fault=None)
        for loop in loops.LOOPS:
            if only in loop.__name__:
                path = loop(
                    _seeded(loop.__name__, seed), folder, f"{loop.__name__}-{seed}"
                )
                _label(path, name=loop.__name__, seed=seed, fault=None)
        for place, (fault, bases) in enumerate(faults.FAULTS):
            if only in fault.__name__:
                base = bases[(seed // 2 + place + 3 * (seed % 2)) % len(bases)]
                _record_fault(folder, fault, base, seed)


def _record_fault(
    folder: Path, fault: faults.Fault, base: faults.Base, seed: int
) -> None:
    name = f"{fault.__name__}-{base.__name__}-{seed}"
    rng = _seeded(name)
    task = base(rng)
    expected = fault(task, rng)
    path = trained(task, folder, name)
    rng = _seeded(name)
    twin = trained(base(rng), folder, f"twin-{name}")
    _label(twin, name=base.__name__, seed=seed, fault=None)
    _label(
        path,
        name=base.__name__,
        seed=seed,
        fault=fault.__name__,
        twin=twin.name,
        causes=expected.causes,
        onset=expected.onset,
        layers=expected.layers,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["record"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    torch.set_num_threads(TORCH_THREADS)
    record(options.folder, options.seeds, options.only)


if __name__ == "__main__":
    main()
