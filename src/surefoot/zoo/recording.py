"""From scenarios to records: names come in, a folder of records and labels goes out.

Beside each record lies a label: what was planted, how the run did on held-out data,
and how long it took. A scenario that has a label is not run again.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surefoot.zoo.scenario import Scenario, planted
from surefoot.zoo.task import Scores, Truth
from surefoot.zoo.train import Watching, scored, train

Tell = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Label:
    """What is known of one run: `truth` is None for a healthy one.

    `failed` is the message of the error that ended it, if one did; `seconds` is
    processor time, `steps` the length that was planned.
    """

    scenario: Scenario
    truth: Truth | None
    scores: Scores | None
    steps: int
    seconds: float
    failed: str = ""


def record_path(folder: Path, scenario: Scenario) -> Path:
    """Where the record of a scenario is."""
    return folder / f"{scenario.name}.surefoot"


def label_path(folder: Path, scenario: Scenario) -> Path:
    """Where the label of a scenario is."""
    return folder / f"{scenario.name}.json"


def record(scenario: Scenario, folder: Path) -> Label:
    """Train a scenario under watch; its record and its label lie in the folder."""
    record_path(folder, scenario).unlink(missing_ok=True)
    start = time.process_time()
    task, truth = planted(scenario)
    watching, failed = Watching(folder, scenario.name), ""
    try:
        train(task, watching)
    except (RuntimeError, ValueError, ArithmeticError) as error:
        failed = f"{type(error).__name__}: {error}"
        watching.end()
    scores = None if failed else scored(task)
    seconds = round(time.process_time() - start, 2)
    label = Label(scenario, truth, scores, task.steps, seconds, failed)
    _name_record(folder, scenario, watching)
    label_path(folder, scenario).write_text(json.dumps(_body(label)), encoding="utf-8")
    return label


def _name_record(folder: Path, scenario: Scenario, watching: Watching) -> None:
    """Give the record the scenario's name, without the time that a run is given."""
    if watching.run is not None and watching.run.path is not None:
        watching.run.path.rename(record_path(folder, scenario))


def _body(label: Label) -> dict[str, Any]:
    body = asdict(label)
    if label.scores is not None:
        right = label.scores.right
        body["scores"] = {
            "loss": [float(f"{one:.5g}") for one in label.scores.loss],
            "right": None
            if right is None
            else "".join("01"[int(one)] for one in right),
        }
    return body


def label_of(folder: Path, scenario: Scenario) -> Label | None:
    """The label of a scenario, None if it has not been run."""
    path = label_path(folder, scenario)
    if not path.exists():
        return None
    body = json.loads(path.read_text(encoding="utf-8"))
    truth, scores = body["truth"], body["scores"]
    return Label(
        scenario=scenario,
        truth=None if truth is None else _truth(truth),
        scores=None if scores is None else _scores(scores),
        steps=body["steps"],
        seconds=body["seconds"],
        failed=body["failed"],
    )


def _truth(body: dict[str, Any]) -> Truth:
    texts = {name: tuple(one) for name, one in body.items() if name != "onset"}
    return Truth(onset=body["onset"], **texts)


def _scores(body: dict[str, Any]) -> Scores:
    right = body["right"]
    return Scores(
        np.asarray(body["loss"], dtype=np.float64),
        None if right is None else np.asarray([one == "1" for one in right]),
    )


def record_all(
    chosen: Sequence[Scenario], folder: Path, *, jobs: int = 2, tell: Tell | None = None
) -> list[str]:
    """Run what has not been run; messages of the runs that failed."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [one for one in chosen if not label_path(folder, one).exists()]
    failed: list[str] = []
    with processes(jobs) as pool:
        waiting = {pool.submit(record, one, folder): one for one in missing}
        for done, future in enumerate(as_completed(waiting), start=1):
            label = future.result()
            if label.failed:
                failed.append(f"{label.scenario.name}: {label.failed}")
            if tell is not None:
                tell(done, len(missing), label.scenario.name)
    return failed


def processes(jobs: int) -> ProcessPoolExecutor:
    """Processes that share nothing: forked ones would lack torch's threads."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare)


def _prepare() -> None:
    """One thread a process, and no words about what is planted on purpose."""
    torch.set_num_threads(1)
    logging.getLogger("surefoot").setLevel(logging.CRITICAL)
