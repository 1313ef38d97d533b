"""Trials of a script: a prescription comes in, a Verdict on held-out data goes out.

Each trial is a process of its own that runs the unmodified script, once with the
changes of the prescription and once without, on the same seeds.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from surefoot.experiments.verdict import verdict
from surefoot.types import Change, Prescription, Verdict

SEED = "{seed}"
REFUSED = 2
"""Status of a script whose changes do not fit it."""
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)\b"


class TrialError(Exception):
    """A trial that could not be run or gave no metric; the message says why."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a script: its arguments with the seed filled in, and its changes.

    `metric` is the text that the script prints before the number that counts.
    """

    script: Path
    arguments: tuple[str, ...]
    changes: tuple[Change, ...]
    metric: str


def metric_in(text: str, metric: str) -> float | None:
    r"""The last number that stands after the metric's name, None if there is none.

    >>> metric_in("epoch 1 accuracy: 0.5\nepoch 2 accuracy: 0.75", "accuracy")
    0.75
    """
    pattern = re.escape(metric) + rf"\s*(?:[:=]|is)?\s*({_NUMBER})"
    found = re.findall(pattern, text, flags=re.IGNORECASE)
    return float(found[-1]) if found else None


def outcome(trial: Trial) -> float:
    """Run one trial; the metric goes out, NaN if the script failed after changes.

    Raises:
        TrialError: the unchanged script failed, or printed no such metric.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "surefoot.script", "--quiet"]
        command += ["--folder", folder]
        if trial.changes:
            command += ["--changes", json.dumps([asdict(c) for c in trial.changes])]
        command += [str(trial.script), *trial.arguments]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "SUREFOOT": "on"},
        )
    value = metric_in(done.stdout, trial.metric)
    if done.returncode == 0 and value is not None:
        return value
    if trial.changes and done.returncode not in (0, REFUSED):
        return math.nan
    what = (
        f"printed no number after {trial.metric!r}"
        if done.returncode == 0
        else f"ended with status {done.returncode}"
    )
    last = "\n".join(done.stderr.strip().splitlines()[-3:])
    raise TrialError(
        f"{trial.script} {' '.join(trial.arguments)} {what}; expected a script that "
        f"prints its held-out metric, as in 'accuracy 0.97'; its last words: {last}"
    )


def try_prescription(  # the arms share everything but the changes
    script: Path,
    prescription: Prescription,
    *,
    arguments: Sequence[str],
    metric: str,
    seeds: Sequence[int],
    executor: Executor | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
    higher_is_better: bool = True,
) -> Verdict:
    """Try a prescription beside a do-nothing branch, on the same seeds.

    `arguments` are the script's; "{seed}" in them becomes the seed of the trial.
    Any `concurrent.futures` executor will do; by default one trial a core runs at
    a time. `tell` hears how many trials are done.

    Raises:
        TrialError: a trial could not be run, or the seeds would all be alike.
    """
    if not any(SEED in argument for argument in arguments):
        raise TrialError(
            f"the arguments {' '.join(arguments) or '(none)'} name no seed; expected "
            f"{SEED} where the script takes its seed, as in: -- --seed {SEED}"
        )
    arms: list[tuple[Change, ...]] = [(), prescription.changes]
    trials = [
        Trial(script, _filled(arguments, seed), changes, metric)
        for changes in arms
        for seed in seeds
    ]
    values = _all_outcomes(trials, executor, tell)
    return verdict(
        prescription,
        metric,
        seeds=seeds,
        baseline=values[: len(seeds)],
        treated=values[len(seeds) :],
        higher_is_better=higher_is_better,
    )


def _filled(arguments: Sequence[str], seed: int) -> tuple[str, ...]:
    return tuple(argument.replace(SEED, str(seed)) for argument in arguments)


def _all_outcomes(
    trials: Sequence[Trial],
    executor: Executor | None,
    tell: Callable[[int, int], None],
) -> list[float]:
    """Outcomes in the order of the trials."""
    pool = executor or ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    try:
        waiting = [pool.submit(outcome, trial) for trial in trials]
        for done, future in enumerate(as_completed(waiting), start=1):
            future.result()
            tell(done, len(trials))
        return [future.result() for future in waiting]
    finally:
        if executor is None:
            pool.shutdown(cancel_futures=True)
