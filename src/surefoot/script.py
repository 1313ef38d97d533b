"""`surefoot run`: a script nobody changed comes in, a record and a diagnosis go out.

Runs as a program of its own (`python -m surefoot.script`), without the packages of
the command line, so that the script finds the process as Python would give it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import get_args

import torch
from torch import nn

from surefoot.attach import Attachment
from surefoot.autopilot.apply import apply_changes, changes_from
from surefoot.autopilot.live import KnobError, Live
from surefoot.autopilot.policy import Mode, Policy, policy_of
from surefoot.blackbox.options import BlackBoxOptions
from surefoot.diagnosis.examine import examine
from surefoot.diagnosis.extent import left_out
from surefoot.diagnosis.in_use import seen
from surefoot.diagnosis.stored import last_word
from surefoot.progress import Progress
from surefoot.record.folder import name_of
from surefoot.record.reader import RecordReader
from surefoot.record.schema import RecordError
from surefoot.report.deeds import deeds_text
from surefoot.report.page import write_report
from surefoot.report.text import diagnosis_text, in_use_text
from surefoot.rescue.timing import after_updates, end_script
from surefoot.run import Run, ending
from surefoot.sinks.named import Opener, opener
from surefoot.terminal.streams import listen
from surefoot.terminal.view import View, manner_of
from surefoot.types import Change, Event
from surefoot.watching import deliver, fly, open_run, switched_off

USAGE = 2


@dataclass(slots=True)
class Session:
    """One script under watch, from its start to the diagnosis."""

    script: Path
    arguments: Sequence[str]
    folder: Path
    quiet: bool = False
    report: Path | None = None
    changes: tuple[Change, ...] = ()
    changes_at: int = 0
    until: int | None = None
    sinks: Sequence[Opener] = ()
    autopilot: Policy | None = None
    blackbox: BlackBoxOptions | None = None
    view: View | None = None
    progress: Progress | None = None
    run: Run | None = None

    def start(self) -> Run:
        """Open the record; called when the first optimizer is about to be used."""
        about = {"script": self.script.name, "argv": list(self.arguments)}
        try:
            self.run = open_run(self.folder, self.script.stem, about)
        except RecordError as error:
            self._say(f"surefoot: nothing is recorded, training goes on: {error}")
            self.run = Run(None)
        if self.blackbox is not None:
            self.run.keep(self.blackbox, about)
        deliver(self.run, self.sinks)
        path = self.run.path
        if self.view is not None and path is not None:
            self.progress = Progress(self.view, name_of(path), self.run.streams)
            self.run.send_to(self.progress)
            self.run.look_out(self.progress.alarm)
        elif self.blackbox is not None or self.autopilot is not None:
            # Who is to say nothing writes incidents and gives advice all the same.
            self.run.look_out(lambda diagnosis: None)
        return self.run

    def prepare(
        self,
        models: Mapping[str, nn.Module],
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> None:
        """Prepare the changes that this run is to be tried with, and its end."""
        if self.changes:
            live = Live(models, optimizers, self.changes_at)
            after_updates(optimizers[0], self.changes_at, partial(self._change, live))
        if self.until is not None:
            after_updates(optimizers[0], self.until, end_script)

    def _change(self, live: Live) -> None:
        """Carry out the changes; a change that does not fit ends the script."""
        if self.run is None:
            return
        why = "asked for on the command line"
        try:
            apply_changes(self.changes, live, why, self.run.event)
        except KnobError as error:
            # Training on without the change would pass for a trial of it.
            sys.stderr.write(f"surefoot: {error}\n")
            sys.exit(USAGE)

    def begun(
        self,
        models: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
    ) -> None:
        """Let the autopilot act if one was asked for; without it training goes on."""
        if self.autopilot is None or self.run is None:
            return
        run, policy = self.run, self.autopilot
        say = None if self.view is None else self.view.keep
        try:
            fly(run, policy, models=models, optimizers=optimizers, say=say)
        except KnobError as error:
            why = f"no autopilot flies this run, training goes on: {error}"
            sys.stderr.write(f"surefoot: {why}\n")
            run.event(Event(0, "autopilot", {"what": "off", "why": str(error)}))

    def end(self, error: BaseException | None) -> None:
        """Close the record, and say what was found in it."""
        if self.progress is not None:
            self.progress.close()
        if self.run is None:
            self._say(
                "no optimizer step was taken, so there was nothing to watch; expected "
                "a script that trains with an optimizer of torch.optim in this process"
            )
            return
        path = self.run.path
        self.run.close(*ending(error))
        if path is None or (self.quiet and self.report is None):
            return
        try:
            with RecordReader(path) as reader:
                self._diagnose(path, reader)
        except (RecordError, OSError) as trouble:
            self._say(f"surefoot: {trouble}")

    def _diagnose(self, path: Path, reader: RecordReader) -> None:
        # The run's last look left it in the record, unless there was none.
        told = last_word(reader)
        found = examine(reader) if told is None else told
        colour = self.view is not None and self.view.manner.colour
        steps = (
            max((reader.last_step(s) or 0 for s in reader.streams()), default=-1) + 1
        )
        self._say("")
        text = diagnosis_text(found, run_name=path.stem, steps=steps, colour=colour)
        used = [one for stream in reader.streams() for one in seen(reader, stream)]
        done = deeds_text(reader.events(), colour=colour)
        parts = (text, done, in_use_text(used, colour=colour))
        self._say("\n".join(filter(None, parts)))
        note = left_out(reader)
        if note:
            self._say(note)
        self._say(f"record: {path}")
        for incident in self.run.box.incidents if self.run and self.run.box else ():
            self._say(f"incident: {incident}")
        if self.report is not None:
            write_report(reader, found, self.report, note=note)
            self._say(f"report: {self.report}")

    def _say(self, text: str) -> None:
        if not self.quiet:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a script under watch; its exit status goes out."""
    options = _parser().parse_args(arguments)
    script = Path(options.script)
    if not script.is_file():
        kind = "a folder" if script.is_dir() else "no file"
        sys.stderr.write(
            f"surefoot: {script} is {kind}; expected a Python script; "
            "check the path, options of surefoot stand before it\n"
        )
        return USAGE
    try:
        changes = changes_from(options.changes) if options.changes else ()
        blackbox = _blackbox(options.black_box, persist=options.persist)
        sinks = [opener(name) for name in options.sink]
        _check_folder(Path(options.folder))
    except (KnobError, RecordError, ImportError, ValueError) as error:
        sys.stderr.write(f"surefoot: {error}\n")
        return USAGE
    session = Session(
        script=script,
        arguments=options.arguments,
        folder=Path(options.folder).absolute(),
        quiet=options.quiet,
        report=Path(options.report).absolute() if options.report else None,
        changes=changes,
        changes_at=options.changes_at,
        until=options.until,
        sinks=sinks,
        autopilot=policy_of(options.autopilot) if options.autopilot else None,
        blackbox=blackbox,
        view=None if options.quiet or switched_off() else _view(),
    )
    return watched(session)


def _blackbox(budget: str, *, persist: bool) -> BlackBoxOptions | None:
    """The black box that was asked for; `--persist` alone asks for one too."""
    if not budget and not persist:
        return None
    return BlackBoxOptions(budget or BlackBoxOptions().budget, persist=persist)


def _view() -> View:
    """The view of the run, with which the script shares the terminal."""
    manner = manner_of(sys.stderr, os.environ, beside=sys.stdout)
    view = View(sys.stderr, manner)
    listen(view)
    return view


def _check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written before the script has cost any time."""
    there = next(
        p for p in (folder.absolute(), *folder.absolute().parents) if p.exists()
    )
    if not there.is_dir() or not os.access(there, os.W_OK):
        kind = "may not be written" if there.is_dir() else "is no folder"
        raise RecordError(
            f"the folder for records came as {folder}, and {there} {kind}; expected a "
            "folder that can be made and written; choose another with --folder"
        )


def watched(session: Session) -> int:
    """Run the script as `__main__`; behave as Python does when it ends."""
    script = _Main(session)
    if switched_off():
        script.run()
        return _finished(script)
    attachment = Attachment(
        session.start,
        session.prepare,
        session.begun,
        targets=session.blackbox is not None,
    )
    script.run()
    attachment.detach()
    session.end(script.error)
    return _finished(script)


class _Main:
    """Runs a script as `__main__`, and takes note of how it ended.

    As a context manager, so that every ending passes through one place: whatever
    ends the script is shown as Python would show it.
    """

    def __init__(self, session: Session) -> None:
        self.code = 0
        self.error: BaseException | None = None
        self._session = session

    def run(self) -> None:
        """Execute the script; nothing it raises comes out."""
        script = self._session.script
        module = ModuleType("__main__")
        module.__file__ = str(script)
        module.__dict__["__builtins__"] = __builtins__
        sys.modules["__main__"] = module
        sys.argv = [str(script), *self._session.arguments]
        sys.path[0] = str(script.resolve().parent)
        with self:
            source = script.read_bytes()
            exec(compile(source, str(script), "exec", dont_inherit=True), vars(module))

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> bool:
        self.error = error
        if isinstance(error, SystemExit):
            self.code = _status(error)
        elif error is not None:
            _show(error)
            interrupted = isinstance(error, KeyboardInterrupt)
            self.code = 128 + signal.SIGINT if interrupted else 1
        return True


def _status(stop: SystemExit) -> int:
    """Exit status of `sys.exit(...)`; a message goes to standard error."""
    if stop.code is None or isinstance(stop.code, int):
        return int(stop.code or 0)
    sys.stderr.write(f"{stop.code}\n")
    return 1


def _show(error: BaseException) -> None:
    """Print a traceback that begins in the script, through the script's own hook."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    shown = error.with_traceback(trace)
    if sys.excepthook is sys.__excepthook__:
        traceback.print_exception(shown)
    else:
        sys.excepthook(type(shown), shown, trace)


def _finished(script: _Main) -> int:
    """End as Python would: after Ctrl-C by the signal itself, for the shell to see."""
    if isinstance(script.error, KeyboardInterrupt):
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return script.code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="surefoot run", description="Run a training script under watch."
    )
    parser.add_argument("--folder", default="surefoot-runs", help="where records go")
    parser.add_argument("--report", default="", help="write a report page to this file")
    parser.add_argument("--changes", default="", help="changes to try, as JSON")
    parser.add_argument(
        "--changes-at", type=int, default=0, help="updates made before the changes"
    )
    parser.add_argument("--until", type=int, help="end after so many updates")
    parser.add_argument(
        "--sink",
        action="append",
        default=[],
        help="send readings there too: tensorboard, mlflow or wandb, as in "
        "tensorboard:logs; may come several times",
    )
    parser.add_argument(
        "--autopilot",
        choices=get_args(Mode),
        default="",
        help="what may be done about trouble while the script runs",
    )
    parser.add_argument(
        "--black-box",
        default="",
        metavar="BUDGET",
        help="keep the last good states and batches in this much memory, such as 1GB; "
        "they are written to an incident file when something goes wrong",
    )
    parser.add_argument(
        "--persist",
        action="store_true",
        help="mirror the black box to disk, so that it survives a killed process",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing")
    parser.add_argument("script", help="the training script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    return parser


if __name__ == "__main__":
    sys.exit(main())
