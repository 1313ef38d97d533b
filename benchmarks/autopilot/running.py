"""Jobs come in, a file of results grows; what is in it already is not run again."""

from __future__ import annotations

import json
import logging
import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch

from benchmarks.autopilot.methods import Row
from benchmarks.autopilot.rows import row_named
from benchmarks.autopilot.tasks import Task, task_named
from benchmarks.autopilot.training import Job, Result, result


def jobs(tasks: Sequence[Task], rows: Sequence[Row], seeds: Sequence[int]) -> list[Job]:
    """All runs of a table, seed by seed, so that a part of them is a table too."""
    return [
        Job(seed, task.name, row.name, rate)
        for seed in seeds
        for row in rows
        for task in tasks
        if task.adam or not row.adam_only
        for rate in ((1.0,) if row.one_rate else task.rates)
    ]


def read(place: Path) -> dict[Job, Result]:
    """The results of a file; none if it is not there, and no half-written line."""
    lines = place.read_text("utf-8").split("\n")[:-1] if place.exists() else []
    found = [Result.from_json(json.loads(line)) for line in lines]
    return {one.job: one for one in found}


def forget(place: Path, methods: Iterable[str]) -> None:
    """Take the results of some methods out of a file."""
    gone = set(methods)
    kept = [one for one in read(place).values() if one.job.method not in gone]
    text = "".join(json.dumps(one.as_json()) + "\n" for one in kept)
    fresh = place.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(place)


def run_all(wanted: Sequence[Job], place: Path, *, processes: int) -> dict[Job, Result]:
    """Run what is not in the file yet, and give the results of all."""
    done = read(place)
    left = [job for job in wanted if job not in done]
    spawned = multiprocessing.get_context("spawn")
    start = time.monotonic()
    with (
        ProcessPoolExecutor(processes, spawned, initializer=_alone) as pool,
        place.open("a", encoding="utf-8") as file,
    ):
        waiting = [pool.submit(_run, job) for job in left]
        for count, one in enumerate(as_completed(waiting), 1):
            found = one.result()
            done[found.job] = found
            file.write(json.dumps(found.as_json()) + "\n")
            file.flush()
            if count % 50 == 0:
                minutes = (time.monotonic() - start) / 60
                print(f"{count} of {len(left)}, {minutes:.1f} min", file=sys.stderr)
    return {job: done[job] for job in wanted}


def _alone() -> None:
    """One thread a process; what a dead unit leaves of a number is taken as zero."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    # What a run is found to suffer from is not asked here.
    logging.getLogger("surefoot").setLevel(logging.ERROR)
    # A step that is not taken is no oversight here.
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")


def _run(job: Job) -> Result:
    return result(task_named(job.task), row_named(job.method), job)
