"""`surefoot replay`: an incident and its script come in, verdicts on changes go out.

Runs as a program of its own (`python -m surefoot.replay_script`). Each branch is a
process in which the unmodified script plays the recorded steps; they run side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from surefoot.blackbox.errors import StateError
from surefoot.blackbox.incident import ENDING, Incident, read_incident
from surefoot.directed import Direction, directed
from surefoot.record.replays import Replayed, add_replay
from surefoot.record.schema import SUFFIX
from surefoot.record.values import strict, value_of
from surefoot.replay.branches import BRANCHES, chosen
from surefoot.replay.conclude import ask
from surefoot.replay.errors import ReplayError
from surefoot.replay.forking import Process, Starter, serve
from surefoot.replay.outcome import to_json
from surefoot.replay.processes import Processes, undisturbed
from surefoot.replay.said import replay_text
from surefoot.replay.window import Window
from surefoot.types import Prescription

CLEAN, FINDING, USAGE, INTERRUPTED = 0, 1, 2, 130

MOST_THREADS = 4096
"""More than any machine has cores: a file may say anything."""

Tell = Callable[[int, int, str], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay an incident, or play one branch of it; the exit status goes out."""
    own, given = _split(sys.argv[1:] if arguments is None else arguments)
    if own == ["--serve"]:
        return serve(main, sys.stdin, sys.stdout)
    options = _parser().parse_args(own)
    script, path = Path(options.script), Path(options.incident)
    for file, what in ((script, "a Python script"), (path, "an incident file")):
        if not file.is_file():
            kind = "a folder" if file.is_dir() else "no file"
            return _refuse(f"{file} is {kind}; expected {what}; check the path")
    try:
        incident = read_incident(path)
        if given is None:
            told = incident.about.get("argv")
            given = [str(one) for one in told] if isinstance(told, list) else []
        if options.play:
            return _play(incident, script, given, Path(options.play))
        return _replay(incident, path, options, given)
    except KeyboardInterrupt:
        sys.stderr.write("surefoot: interrupted before the first verdict\n")
        return INTERRUPTED
    except (ValueError, OSError) as error:
        return _refuse(str(error))


def _replay(
    incident: Incident, path: Path, options: argparse.Namespace, given: Sequence[str]
) -> int:
    """Play all branches, and say what they show; the exit status goes out."""
    branches = chosen(options.branches) if options.branches else BRANCHES
    off = {**os.environ, "SUREFOOT": "off"}
    with (
        Starter("surefoot.replay_script", off) as starter,
        _bar(f"replaying {path.name}") as tell,
    ):
        start = _start(path, options.script, given, starter)
        processes = Processes(start, options.jobs or _jobs(incident), tell)
        told = ask(incident, processes.play, branches=branches, name=path.name)
    with undisturbed():
        _keep(path, told)
        _show(told, as_json=options.json)
    if processes.interrupted:
        sys.stderr.write(
            "surefoot: interrupted; the other branches were not finished\n"
        )
        return INTERRUPTED
    return CLEAN if told.result == "nothing to prevent" else FINDING


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """The arguments of this program, and after -- those of the script, if it came."""
    words = list(arguments)
    if "--" not in words:
        return words, None
    place = words.index("--")
    return words[:place], words[place + 1 :]


def _start(
    path: Path, script: str, given: Sequence[str], starter: Starter
) -> Callable[[Path, Path], Process]:
    """How a branch is started: this program again, with a file that says which."""
    incident, names = str(path.absolute()), ["--script", script, "--play"]

    def start(task: Path, words: Path) -> Process:
        return starter.start([*names, str(task), incident, "--", *given], words)

    return start


def _jobs(incident: Incident) -> int:
    """As many branches as there are cores for the threads that each will have."""
    return max(1, (os.cpu_count() or 1) // (_threads(incident) or 1))


def _threads(incident: Incident) -> int | None:
    """With how many threads it was recorded: sums depend on it in their last bits."""
    threads = incident.about.get("threads")
    known = isinstance(threads, int) and 0 < threads <= MOST_THREADS
    return threads if known else None


# --- one branch -------------------------------------------------------------------


def _play(
    incident: Incident, script: Path, arguments: Sequence[str], task: Path
) -> int:
    """Play one branch in this process; its outcome replaces the task in the file."""
    told = json.loads(task.read_text(encoding="utf-8"))
    window = value_of(Window, told["window"])
    prescription = value_of(Prescription, told["prescription"])
    direction = Direction(incident, window, prescription)
    threads = _threads(incident)
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        directed(script, arguments, direction)
        answer: Any = {"outcome": to_json(direction.outcome)}
    except (ReplayError, StateError) as error:
        answer = {"error": str(error)}
    except KeyboardInterrupt:
        return INTERRUPTED
    task.write_text(json.dumps(answer), encoding="utf-8")
    return CLEAN


# --- what is said -----------------------------------------------------------------


def _show(told: Replayed, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(strict(told), indent=2) + "\n")
    else:
        sys.stdout.write(replay_text(told))


def _keep(path: Path, told: Replayed) -> None:
    """Put the replay beside the record of the run, where its pages find it."""
    stem = path.name.removesuffix(ENDING)
    names = (stem, stem.rpartition(".")[0], stem.rpartition("-")[0])
    record = next((path.parent / f"{n}{SUFFIX}" for n in names if n
                   and (path.parent / f"{n}{SUFFIX}").is_file()), None)  # fmt: skip
    if record is None:
        return
    try:
        add_replay(record, told)
    except OSError as error:
        sys.stderr.write(
            f"surefoot: the replay is not kept beside the record: {error}\n"
        )


@contextmanager
def _bar(title: str) -> Generator[Tell]:
    """A progress bar on a terminal, plain lines elsewhere."""
    errors = Console(stderr=True, highlight=False)
    if not errors.is_terminal:

        def line(done: int, total: int, name: str) -> None:
            sys.stderr.write(f"{title}: {done} of {total} branches, {name}\n")

        yield line
        return
    with Progress(console=errors, transient=True) as progress:
        task = progress.add_task(title)
        yield lambda done, total, name: progress.update(
            task, completed=done, total=total, description=f"{title}: {name}"
        )


def _refuse(message: str) -> int:
    sys.stderr.write(f"surefoot: {message}\n")
    return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="surefoot replay",
        usage="surefoot replay INCIDENT --script SCRIPT [OPTIONS] [-- ARGUMENTS…]",
        description="Run the moments of an incident again, with one thing changed at a "
        "time. Status 0: nothing to prevent; 1: something was found; 2: it could not "
        "be replayed; 130: Ctrl-C.",
    )
    parser.add_argument("incident", help="an incident file")
    parser.add_argument("--script", required=True, help="the script that was recorded")
    parser.add_argument("--jobs", type=int, default=0, help="branches side by side")
    parser.add_argument(
        "--branches", default="", help='some only: "clip, half the rate"'
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--play", default="", help=argparse.SUPPRESS)
    return parser


def _finished(status: int) -> int:
    """All is said: one more Ctrl-C has nothing to interrupt but the end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status


if __name__ == "__main__":
    sys.exit(_finished(main()))
