"""The command line: words come in, text or JSON and an exit status go out.

Status 0: nothing wrong was found; 1: something was; 2: the command was not
understood or what it asks for is not there. `surefoot run` ends with the status of
the script.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from surefoot.diagnosis.examine import examine
from surefoot.diagnosis.extent import left_out
from surefoot.diagnosis.in_use import seen
from surefoot.experiments.trial import TrialError, try_prescription
from surefoot.preflight.explain import explain as explain_name
from surefoot.record.export import export as export_record
from surefoot.record.folder import DEFAULT_FOLDER, find_run, list_runs
from surefoot.record.reader import RecordReader
from surefoot.record.schema import RecordError
from surefoot.record.trials import add_trial, trials_of
from surefoot.report.deeds import deeds_text
from surefoot.report.page import write_report
from surefoot.report.text import diagnosis_text, in_use_text, runs_table, verdict_text
from surefoot.terminal.follow import strict, watch_live
from surefoot.types import Diagnosis, Prescription, Verdict

HEALTHY, FINDING, USAGE, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="surefoot",
    help="Flight recorder, diagnostician and autopilot for training deep networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

RunName = Annotated[
    str, typer.Argument(help='A record, its name or beginning, or "last".')
]
Folder = Annotated[str, typer.Option(help="Where the records are.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
PASS_ON: Mapping[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True}
GIVEN: Mapping[str, Any] = {**PASS_ON, "help_option_names": []}
"""For a verb that is a program of its own, which has its own help."""
GIVEN_WITH_SIGN: Mapping[str, Any] = {**GIVEN, "allow_interspersed_args": False}
"""What follows -- is the script's: with options between, click drops the sign."""


def main() -> None:
    """Run the command line."""
    app()


@contextmanager
def _refused() -> Generator[None]:
    """Turn errors of our own into a message and status 2."""
    try:
        yield
    except (RecordError, TrialError, OSError, ValueError) as error:
        errors.print(f"surefoot: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(USAGE) from error


def _become(program: str, context: typer.Context) -> None:
    """Go on as another program, without the packages of this one."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", program, *context.args])


@app.command(context_settings=GIVEN, add_help_option=False)
def run(context: typer.Context) -> None:
    """Run a training script under watch; no line of it needs to change.

    surefoot run [--folder F] [--report PAGE.html] [--sink S] [--quiet]
    [--autopilot advise|ask|guard|steer] [--black-box 1GB] [--persist] SCRIPT [ARG…]
    """
    _become("surefoot.script", context)


@app.command(context_settings=GIVEN, add_help_option=False)
def check(context: typer.Context) -> None:
    """Check a training script before its first update, and stop it there.

    surefoot check [--json] [--sarif F] [--baseline F] SCRIPT [ARGUMENTS…]
    """
    _become("surefoot.check_script", context)


@app.command(context_settings=GIVEN_WITH_SIGN, add_help_option=False)
def landscape(context: typer.Context) -> None:
    """Draw the loss around a checkpoint, or along the checkpoints of a run.

    surefoot landscape RUN|CHECKPOINT… --script SCRIPT [OPTIONS] [-- ARGUMENTS…]
    """
    _become("surefoot.landscape_script", context)


@app.command(context_settings=GIVEN_WITH_SIGN, add_help_option=False)
def replay(context: typer.Context) -> None:
    """Run the moments of an incident again, with one thing changed at a time.

    surefoot replay INCIDENT --script SCRIPT [OPTIONS] [-- ARGUMENTS…]
    """
    _become("surefoot.replay_script", context)


@app.command(context_settings=GIVEN_WITH_SIGN, add_help_option=False)
def rescue(context: typer.Context) -> None:
    """Run a training script; if the run fails, find what repairs it, and say so.

    surefoot rescue [--metric M] [--lower] [--budget N] [--seeds N] [--report PAGE.html]
    [--json] SCRIPT [-- ARGUMENTS…]
    """
    _become("surefoot.rescue_script", context)


@app.command()
def explain(
    name: Annotated[str, typer.Argument(help="An id, a symptom or a cause.")],
) -> None:
    """Say what a finding is, how it is told, and what to do about it."""
    with _refused():
        _write(explain_name(name))


@app.command()
def diagnose(
    run: RunName = "last", folder: Folder = DEFAULT_FOLDER, as_json: Json = False
) -> None:
    """Say what is wrong in a run: cause, layer, since when, evidence, remedies."""
    with _refused(), RecordReader(find_run(run, folder)) as reader:
        found = examine(reader)
        if as_json:
            _print_json([asdict(one) for one in found])
        else:
            _write(_told(reader, found))
        for note in filter(None, (reader.damage, left_out(reader))):
            errors.print(f"surefoot: {note}", markup=False, soft_wrap=True)
    raise typer.Exit(FINDING if found else HEALTHY)


@app.command("watch-live")
def watch_run(
    run: RunName = "last", folder: Folder = DEFAULT_FOLDER, as_json: Json = False
) -> None:
    """Show a run while it trains, from its record; ends when the run ends.

    Status 0: it ended and nothing is wrong; 1: something is; 130: Ctrl-C.
    """
    try:
        with _refused():
            found = watch_live(find_run(run, folder), console.file, as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(FINDING if found else HEALTHY)


@app.command()
def runs(folder: Folder = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """List the runs of a folder."""
    found = list_runs(folder)
    if as_json:
        _print_json([asdict(one) for one in found])
    elif found:
        _write(runs_table(found))
    else:
        console.print(f"no runs in {folder}; record one with: surefoot run SCRIPT.py")


@app.command()
def export(
    run: RunName = "last",
    to: Annotated[str, typer.Option(help="csv, parquet or tensorboard.")] = "csv",
    out: Annotated[str, typer.Option("--out", "-o", help="File or folder.")] = "",
    folder: Folder = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Write a run in a form that other programs read."""
    with _refused(), RecordReader(find_run(run, folder)) as reader:
        ending = {"csv": ".csv", "parquet": ".parquet"}.get(to, "-tensorboard")
        path = export_record(reader, to, out or Path(reader.path.stem + ending))
    if as_json:
        _print_json({"path": str(path), "format": to})
    else:
        console.print(f"{path}", markup=False, soft_wrap=True)


@app.command()
def report(
    run: RunName = "last",
    out: Annotated[str, typer.Option("--out", "-o", help="The page.")] = "report.html",
    folder: Folder = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Write a run's report: one page that opens anywhere, without a network."""
    with _refused(), RecordReader(find_run(run, folder)) as reader:
        found, tried = examine(reader), trials_of(reader.path)
        write_report(reader, found, Path(out), tried, note=left_out(reader))
    if as_json:
        _print_json({"path": out})
    else:
        console.print(out, markup=False, soft_wrap=True)


@app.command("try", context_settings=dict(PASS_ON))
def try_remedy(
    context: typer.Context,
    script: Annotated[Path, typer.Argument(help="The script that was recorded.")],
    after: Annotated[str, typer.Option(help="The record to take it from.")] = "last",
    metric: Annotated[
        str, typer.Option(help="The text before the held-out number it prints.")
    ] = "accuracy",
    seeds: Annotated[int, typer.Option(min=2, help="How many seeds.")] = 5,
    lower: Annotated[bool, typer.Option(help="Lower is better, as a loss.")] = False,
    out: Annotated[str, typer.Option("--report", help="Write the page here.")] = "",
    folder: Folder = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Try the first remedy of a run's diagnosis beside a do-nothing branch.

    Arguments after -- are the script's, with {seed} where the seed goes:
    surefoot try train.py --metric "val accuracy" -- --seed {seed}
    """
    with _refused(), RecordReader(find_run(after, folder)) as reader:
        found = examine(reader)
        prescription = _first_to_try(found)
        with _bar(f"trying: {prescription.remedy}") as tell:
            tried = try_prescription(
                script,
                prescription,
                arguments=context.args,
                metric=metric,
                seeds=range(seeds),
                tell=tell,
                higher_is_better=not lower,
            )
        _keep(reader.path, tried)
        if out:
            others = [one for one in trials_of(reader.path) if one != tried]
            note = left_out(reader)
            write_report(reader, found, Path(out), (*others, tried), note=note)
        _show_verdict(tried, out, as_json=as_json)
    raise typer.Exit(HEALTHY if tried.held else FINDING)


@app.command(
    context_settings={**PASS_ON, "help_option_names": []}, add_help_option=False
)
def zoo(context: typer.Context) -> None:
    """Plant faults in small training runs, and score what is said of them.

    surefoot zoo list|run|score [NAME…] [--seeds 0 1] [--quick] [--folder F] [--json]
    """
    # The zoo trains networks, and needs torch; the other verbs do not.
    _become("surefoot.zoo", context)


@app.command(
    context_settings={**PASS_ON, "help_option_names": []}, add_help_option=False
)
def ui(context: typer.Context) -> None:
    """Show the runs of a folder in a browser, while they train and afterwards.

    surefoot ui [FOLDER] [--port N] [--no-browser]
    """
    sys.stdout.flush()
    # -P: what lies in the working folder is not taken for a package.
    command = [sys.executable, "-P", "-m", "surefoot.dashboard", *context.args]
    os.execv(sys.executable, command)


def _first_to_try(found: list[Diagnosis]) -> Prescription:
    """The likeliest remedy that can be carried out without a person."""
    for diagnosis in found:
        for prescription in diagnosis.prescriptions:
            if prescription.changes:
                return prescription
    raise TrialError(
        "the run came without a remedy that can be tried; expected a diagnosis with "
        "one; see what was found with: surefoot diagnose"
    )


def _keep(record: Path, tried: Verdict) -> None:
    """Put a verdict beside the record, where the pages of the run find it."""
    try:
        add_trial(record, tried)
    except OSError as error:
        errors.print(
            f"surefoot: the verdict is not kept beside the record ({error}); expected "
            "a folder that can be written",
            markup=False,
            soft_wrap=True,
        )


def _show_verdict(tried: Verdict, out: str, *, as_json: bool) -> None:
    if as_json:
        _print_json(asdict(tried))
        return
    _write(verdict_text(tried))
    if out:
        console.print(f"report: {out}", markup=False, soft_wrap=True)


@contextmanager
def _bar(title: str) -> Generator[Callable[[int, int], None]]:
    """A progress bar on a terminal, plain lines elsewhere; how to tell it goes out."""
    if not errors.is_terminal:
        yield lambda done, total: errors.print(f"{title}: {done} of {total} trials")
        return
    with Progress(console=errors, transient=True) as progress:
        task = progress.add_task(title)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _told(reader: RecordReader, found: list[Diagnosis]) -> str:
    """A diagnosis as text, as wide as the terminal up to 100 columns."""
    steps = max((reader.last_step(s) or 0 for s in reader.streams()), default=-1) + 1
    width = min(console.width, 100)
    colour = console.is_terminal and not console.no_color
    used = [one for stream in reader.streams() for one in seen(reader, stream)]
    told = diagnosis_text(
        found, run_name=reader.path.stem, steps=steps, width=width, colour=colour
    )
    done = deeds_text(reader.events(), width=width, colour=colour)
    parts = (told.rstrip("\n"), done, in_use_text(used, width=width, colour=colour))
    return "\n".join(filter(None, parts))


def _write(text: str) -> None:
    """Text that is laid out already, to standard output."""
    console.file.write(text.rstrip("\n") + "\n")


def _print_json(value: Any) -> None:
    """Strict JSON on standard output: what is not finite becomes null."""
    console.file.write(json.dumps(strict(value), indent=2, default=str) + "\n")
