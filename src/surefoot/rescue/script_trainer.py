"""A script as a Trainer: each attempt is a process of its own, in a copy of its folder.

The run as it is runs where the user is, as `surefoot run` would; the attempts run in
copies, so that they overwrite nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from surefoot.diagnosis.examine import examine
from surefoot.experiments.trial import REFUSED, TrialError, metric_in
from surefoot.record.folder import list_runs
from surefoot.record.reader import RecordReader
from surefoot.rescue.attempt import Attempt, Measure, Plan
from surefoot.rescue.mirror import mirror
from surefoot.rescue.readings import losses_of, updates_of

INTERRUPTED = 128 + signal.SIGINT


@dataclass(frozen=True, slots=True)
class ScriptTrainer:
    """Trains by running a script with its arguments.

    `metric` is the text that the script prints before its held-out number, `records`
    where the records of whole runs are kept, `workplace` where attempts are made: each
    in a folder of its own below it, named by its number.
    """

    script: Path
    arguments: tuple[str, ...]
    measure: Measure
    records: Path
    workplace: Path
    made: list[Plan] = field(default_factory=list[Plan])

    def folder_of(self, plan: Plan) -> Path:
        """Where the files are that an attempt wrote."""
        if plan.untouched:
            return Path.cwd()
        return self.workplace / f"attempt-{self.made.index(plan)}"

    def attempt(self, plan: Plan) -> Attempt:
        """Run the script under a plan.

        Raises:
            TrialError: the script failed as it is, before any update.
            OSError: its folder cannot be copied.
            KeyboardInterrupt: it was ended by Ctrl-C.
        """
        self.made.append(plan)
        here = self.folder_of(plan)
        if not plan.untouched:
            mirror(Path.cwd(), here)
        with tempfile.TemporaryDirectory() as place:
            records = Path(place) if plan.until is not None else self.records
            before = {one.path for one in list_runs(records)}
            done = subprocess.run(
                [*_command(plan, records), str(self._script_in(here)), *self.arguments],
                capture_output=True,
                text=True,
                check=False,
                cwd=here,
                env=_environment(),
            )
            record = next(
                (r.path for r in list_runs(records) if r.path not in before), None
            )
            return self._attempt(plan, record, done)

    def _script_in(self, here: Path) -> Path:
        """The script, in the copy if it lies in the folder that was copied."""
        script, whole = self.script.resolve(), Path.cwd()
        if script.is_relative_to(whole):
            return here / script.relative_to(whole)
        return script

    def _attempt(
        self,
        plan: Plan,
        record: Path | None,
        done: subprocess.CompletedProcess[str],
    ) -> Attempt:
        last = "\n".join(done.stderr.strip().splitlines()[-3:])
        if done.returncode in (-signal.SIGINT, INTERRUPTED):
            raise KeyboardInterrupt
        if plan.changes and done.returncode == REFUSED:
            return Attempt(plan, 0, refused=last)
        if record is None:
            raise TrialError(
                f"{self.script} ended with status {done.returncode} and trained "
                f"nothing; expected a script that steps an optimizer of torch.optim; "
                f"its last words: {last}"
            )
        failed = f"status {done.returncode}: {last}" if done.returncode else ""
        with RecordReader(record) as reader:
            losses, steps = losses_of(reader), updates_of(reader)
            found = () if plan.until is not None else tuple(examine(reader))
        return Attempt(
            plan,
            steps=steps,
            losses=losses,
            metric=metric_in(done.stdout, self.measure.name),
            diagnoses=found,
            record=record if plan.until is None else None,
            failed=failed,
        )


def _command(plan: Plan, records: Path) -> list[str]:
    command = [sys.executable, "-m", "surefoot.script", "--quiet"]
    command += ["--folder", str(records)]
    if plan.changes:
        command += ["--changes", json.dumps([asdict(one) for one in plan.changes])]
        command += ["--changes-at", str(plan.at)]
    if plan.until is not None:
        command += ["--until", str(plan.until)]
    if plan.autopilot:
        command += ["--autopilot", plan.autopilot]
    return command


def _environment() -> Mapping[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", "SUREFOOT": "on"}
