"""`surefoot rescue`: a script nobody changed comes in, a repaired run goes out.

Runs as a program of its own (`python -m surefoot.rescue_script`). Status 0: the run is
healthy or was repaired; 1: it is not, and no remedy helped or none is in reach; 2: the
command was not understood; 130: Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from surefoot.experiments.trial import SEED, TrialError
from surefoot.record.folder import DEFAULT_FOLDER
from surefoot.record.reader import RecordReader
from surefoot.record.rescues import add_rescue
from surefoot.record.schema import RecordError
from surefoot.report.page import write_report
from surefoot.report.text import verdict_text
from surefoot.rescue.attempt import Measure
from surefoot.rescue.confirm import confirmed
from surefoot.rescue.mirror import KEPT
from surefoot.rescue.rescue import Rescue, rescue
from surefoot.rescue.script_trainer import ScriptTrainer
from surefoot.rescue.search import BUDGET
from surefoot.rescue.told import rescue_json, rescue_text, rescue_told
from surefoot.terminal.follow import strict
from surefoot.types import Verdict

GOOD, BAD, USAGE, INTERRUPTED = 0, 1, 2, 130
ENDED_WELL = ("healthy", "improved", "repaired")


def main(arguments: Sequence[str] | None = None) -> int:
    """Rescue a script; an exit status goes out."""
    options = _parser().parse_args(arguments)
    given = options.arguments
    script_arguments = tuple(given[1:] if given[:1] == ["--"] else given)
    try:
        _check(options, script_arguments)
        with tempfile.TemporaryDirectory(prefix="surefoot-rescue-") as place:
            return _rescued(options, script_arguments, Path(place))
    except (TrialError, RecordError, OSError, ValueError) as error:
        _say(f"surefoot: {error}")
        return USAGE
    except KeyboardInterrupt:
        _say("surefoot: stopped; the script's own files are as its own run left them")
        return INTERRUPTED


def _rescued(
    options: argparse.Namespace, arguments: tuple[str, ...], place: Path
) -> int:
    trainer = ScriptTrainer(
        script=Path(options.script),
        arguments=_seeded(arguments, 0),
        measure=Measure(options.metric, not options.lower),
        records=Path(options.folder).absolute(),
        workplace=place,
    )
    search = not options.alarms_only
    found = rescue(trainer, budget=options.budget, search=search, tell=_say)
    kept = _keep(trainer, found)
    verdict = None
    if found.best is not None and options.seeds > 1:
        others = [
            replace(
                trainer,
                arguments=_seeded(arguments, seed),
                workplace=place / f"seed-{seed}",
                made=[],
            )
            for seed in range(1, options.seeds)
        ]
        verdict = confirmed(found, others, tell=_say)
    _show(options, found, verdict, kept)
    return GOOD if found.ending in ENDED_WELL else BAD


def _check(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    script = Path(options.script)
    if not script.is_file():
        raise ValueError(
            f"{script} is no file; expected a Python script; options of surefoot "
            "stand before it, the script's own after --"
        )
    if options.seeds > 1 and not any(SEED in one for one in arguments):
        raise ValueError(
            f"--seeds {options.seeds} came, and the script's arguments name no seed; "
            f"expected {SEED} where it takes its seed, as in: -- --seed {SEED}"
        )


def _seeded(arguments: Sequence[str], seed: int) -> tuple[str, ...]:
    return tuple(one.replace(SEED, str(seed)) for one in arguments)


def _keep(trainer: ScriptTrainer, found: Rescue) -> Path | None:
    """Keep what the repaired run wrote; all else of the attempts goes."""
    if found.best is None:
        return None
    kept, number = Path(KEPT).absolute(), 2
    while kept.exists():  # what an earlier rescue kept stays
        kept, number = Path(f"{KEPT}-{number}").absolute(), number + 1
    shutil.move(trainer.folder_of(found.best.attempt.plan), kept)
    return kept


def _show(
    options: argparse.Namespace,
    found: Rescue,
    verdict: Verdict | None,
    kept: Path | None,
) -> None:
    text = rescue_text(found)
    if found.first.record is not None:
        add_rescue(found.first.record, rescue_told(found))
    if verdict is not None:
        text = f"{text}\n\n{verdict_text(verdict)}"
    if options.report and found.first.record is not None:
        verdicts = () if verdict is None else (verdict,)
        with RecordReader(found.first.record) as reader:
            write_report(reader, found.first.diagnoses, options.report, verdicts)
    if options.json:
        body = {**rescue_json(found), "kept": kept and str(kept)}
        body["verdict"] = None if verdict is None else verdict.interval
        text = json.dumps(strict(body), indent=2)
    else:
        text += f"\n\n  what the repaired run wrote: {kept}" if kept else ""
        text += f"\n  report: {options.report}" if options.report else ""
    sys.stdout.write(f"{text}\n")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="surefoot rescue",
        description="Run a training script; if the run fails, find what repairs it.",
    )
    parser.add_argument(
        "--metric", default="accuracy", help="the text before its held-out number"
    )
    parser.add_argument("--lower", action="store_true", help="lower is better")
    parser.add_argument(
        "--budget", type=float, default=BUDGET, help="what to spend, in runs"
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="verify on so many; needs {seed} after --"
    )
    parser.add_argument(
        "--alarms-only",
        action="store_true",
        help="leave a run without an alarm alone: train it once",
    )
    parser.add_argument("--folder", default=DEFAULT_FOLDER, help="where records go")
    parser.add_argument("--report", default="", help="write a report page to this file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("script", help="the training script")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, help="its arguments, after --"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
