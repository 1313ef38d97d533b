"""`surefoot landscape`: a script and checkpoints come in, the loss around them out.

It goes into the run's record, or a file. Runs as a program of its own
(`python -m surefoot.landscape_script`). The script runs until its first update would be
made; the loss is computed again from what it did to get it, with the weights of the
checkpoints. Nothing from a record or a checkpoint is executed: the script is named on
the command line.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from surefoot.check_script import Rehearsed, rehearsed, trained_by
from surefoot.landscape.checkpoints import Checkpoint, load_into, read_checkpoint
from surefoot.landscape.derivatives import eigenvector_directions, gradient_directions
from surefoot.landscape.directions import Mark, Slice, random_directions
from surefoot.landscape.forks import Forks
from surefoot.landscape.path import through, trajectory
from surefoot.landscape.summary import as_json, as_text
from surefoot.landscape.surface import Options, Surface, line, surface
from surefoot.landscape.targets import Targets, targets_of
from surefoot.landscape.written import FILMS, check_ending, write_surface
from surefoot.record.append import add_field, check_ended
from surefoot.record.folder import DEFAULT_FOLDER
from surefoot.record.schema import RecordError
from surefoot.types import Field

DONE, USAGE, INTERRUPTED = 0, 2, 130

DIRECTIONS = ("random", "eigenvectors", "gradient", "path", "checkpoints")

TITLES = (
    "random, filter-normalised",
    "along eigenvectors",
    "along the gradient",
    "the path of training",
    "through checkpoints",
)
"""What a slice is called, in the order of `DIRECTIONS`."""

PLANE_POINTS, LINE_POINTS = 21, 51
"""Along each direction: what a plane and a line are drawn with elsewhere."""

TOLD_PARTS = 10
"""Without a terminal progress is told so many times: each is a line."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is drawn, and where it goes."""

    told: argparse.Namespace
    targets: Targets
    output: Path | None

    @property
    def partial(self) -> Path:
        """Where losses are kept until all are computed."""
        beside = self.output or self.targets.record or Path("landscape")
        return beside.with_name(f"{beside.name}.partial")

    @property
    def training(self) -> bool | None:
        """The mode of all modules; None leaves each in the script's own."""
        return {"train": True, "eval": False, "script": None}[self.told.mode]


# --- the slice ------------------------------------------------------------------


def slice_for(job: Job, found: Rehearsed, states: Sequence[Checkpoint]) -> Slice:
    """The slice that was asked for; the model has the last checkpoint's weights.

    Raises:
        ValueError: the checkpoints do not span it.
    """
    told, model = job.told, found.model
    count = 1 if told.line else 2
    labels = [_label(job, at, one) for at, one in enumerate(states)]
    given: dict[str, Any] = {
        "loss_fn": found.loss_fn,
        "training": job.training,
        "seed": told.seed,
    }
    match told.directions:
        case "eigenvectors":
            return eigenvector_directions(model, found.batch, **given)
        case "gradient":
            return gradient_directions(model, found.batch, **given)
        case "path":
            plane = trajectory(model, [one.state for one in states], dimensions=count)
            marks = (
                Mark(tuple(map(float, at)), label)
                for at, label in zip(plane.path, labels, strict=True)
            )
            return replace(plane, marks=tuple(marks))
        case "checkpoints":
            return through(model, [one.state for one in states], labels=labels)
        case _:
            return random_directions(model, count=count, seed=told.seed)


def _label(job: Job, at: int, state: Checkpoint) -> str:
    step = job.targets.steps[at]
    step = state.step if step is None else step
    return state.path.name if step is None else f"step {step}"


def _load(job: Job, found: Rehearsed, states: Sequence[Checkpoint]) -> None:
    """Give the script's model the last checkpoint; say what it lacks."""
    last = states[-1]
    for name in load_into(found.model, last):
        _say(f"surefoot: {last.path} lacks the buffer {name}; the script's is used")
    kept = any("running_" in name for name, _ in found.model.named_buffers())
    if kept and job.training is False and len(states) > 1:
        _say(
            "surefoot: in eval mode norm layers use the running statistics of "
            f"{last.path.name} at every point, which fit no other; --mode train uses "
            "those of the batch"
        )


def draw(
    job: Job, found: Rehearsed, tell: Callable[[int, int], None]
) -> tuple[Surface, Field]:
    """Compute the loss on the slice that was asked for; it and its field go out.

    Raises:
        ValueError: checkpoints are of another model or do not span the slice; the loss
            has no second derivative; or what was kept belongs to another drawing.
    """
    told = job.told
    states = [read_checkpoint(path, found.model) for path in job.targets.files]
    _load(job, found, states)
    on = slice_for(job, found, states)
    flat = told.line or on.dimensions == 1
    title = TITLES[DIRECTIONS.index(told.directions)] + (", a line" if flat else "")
    with contextlib.ExitStack() as stack:
        forks = Forks(told.workers, found.model) if told.workers > 1 else None
        options = Options(
            extent=told.extent,
            exact=told.exact,
            training=job.training,
            seed=told.seed,
            progress=tell,
            executor=forks and stack.enter_context(forks),
            resume=job.partial,
            title=title,
        )
        made = (line if flat else surface)(
            found.model,
            found.batch,
            loss_fn=found.loss_fn,
            directions=on,
            points=told.points or (LINE_POINTS if flat else PLANE_POINTS),
            options=options,
        )
    step = job.targets.steps[-1]
    step = states[-1].step if step is None else step
    return made, made.field(step=step or 0, stream=job.targets.stream)


# --- the command ----------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw a landscape; the exit status goes out."""
    told = _parsed(sys.argv[1:] if arguments is None else arguments)
    try:
        job = _job(told)
        found = _rehearsed(told)
        with _bar() as tell:
            made, field = draw(job, found, tell)
        _keep(job, made, field)
    except (ValueError, OSError, RecordError) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return _interrupted()
    job.partial.unlink(missing_ok=True)
    where = {"record": job.targets.record, "output": job.output}
    said = (
        as_json(made, step=field.step, **where) if told.json else as_text(made, **where)
    )
    sys.stdout.write(said)
    return DONE


def _job(told: argparse.Namespace) -> Job:
    """Whether all that was asked for can be done, before anything is run.

    Raises:
        ValueError, RecordError: it cannot; the message says why.
    """
    script = Path(told.script)
    if not script.is_file():
        kind = "a folder" if script.is_dir() else "no file"
        raise ValueError(
            f"{script} is {kind}; expected the script that trains the model"
        )
    targets = targets_of(told.targets, told.folder)
    several = len(targets.files)
    if told.directions is None:
        told.directions = (
            "path" if several > 2 else "checkpoints" if several > 1 else "random"
        )
    needed = {"path": 2 if told.line else 3, "checkpoints": 2}.get(told.directions, 1)
    if several < needed:
        raise ValueError(
            f"{several} checkpoint{'s' * (several != 1)} came for --directions "
            f"{told.directions}; expected {needed} or more; name more of them, or draw "
            "along --directions random"
        )
    output = Path(told.output).absolute() if told.output else None
    if targets.record is None and output is None:
        output = Path(f"{targets.files[-1].stem}-landscape.html").absolute()
    if output is not None:
        check_ending(output)
        flat = told.line or (told.directions == "checkpoints" and several == 2)
        if output.suffix in FILMS and (flat or told.directions != "path"):
            raise ValueError(
                f"{output.name} came for a slice without a path; expected another "
                "ending, as a film shows the path of training over three or more "
                "checkpoints: --directions path"
            )
        if flat and output.suffix == ".vts":
            raise ValueError(
                f"{output.name} came for a line; expected another ending, as .vts "
                "holds surfaces only"
            )
    if targets.record is not None:
        check_ended(targets.record)
    job = Job(told, targets, output)
    if not told.resume:
        job.partial.unlink(missing_ok=True)
    return job


def _rehearsed(told: argparse.Namespace) -> Rehearsed:
    """Run the script until its first update; what it prints is no result of ours.

    Raises:
        ValueError: it made none, or raised.
    """
    with contextlib.redirect_stdout(sys.stderr):
        rehearsal = rehearsed(Path(told.script), told.arguments)
    error = rehearsal.error
    if isinstance(error, KeyboardInterrupt):
        raise error
    if error is not None and not isinstance(error, SystemExit):
        traceback.print_exception(error)
    return trained_by(rehearsal)


def _keep(job: Job, made: Surface, field: Field) -> None:
    """Put a surface where it belongs.

    Raises:
        RecordError, OSError, ValueError: it cannot be written there.
    """
    targets, told = job.targets, job.told
    if targets.record is not None:
        add_field(targets.record, field)
    if job.output is not None:
        about = {"script": Path(told.script).name, "argv": list(told.arguments)}
        write_surface(made, field, job.output, about=about)


def _interrupted() -> int:
    _say(
        "surefoot: interrupted; losses that were computed are kept, and the same "
        "command goes on from there"
    )
    return INTERRUPTED


def _refuse(message: str) -> int:
    _say(f"surefoot: {message}")
    return USAGE


def _say(message: str) -> None:
    sys.stderr.write(message + "\n")


# --- how far it is --------------------------------------------------------------


@contextlib.contextmanager
def _bar() -> Generator[Callable[[int, int], None]]:
    """A progress bar on a terminal, a few plain lines elsewhere."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _lines()
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("computing losses", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _lines() -> Callable[[int, int], None]:
    parts = [-1]  # the last that was told

    def tell(done: int, total: int) -> None:
        part = TOLD_PARTS * done // total
        if part > parts[0]:
            parts[0] = part
            _say(f"computing losses: {done} of {total}")

    return tell


# --- the words that came --------------------------------------------------------


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Options and targets; what follows -- is the script's."""
    words = [*arguments, "--"]
    at = words.index("--")
    told = _parser().parse_args(words[:at])
    told.arguments = words[at + 1 : -1]
    return told


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="surefoot landscape",
        description="Draw the loss of a model around a checkpoint, or along the "
        "checkpoints of a run. Status 0: drawn; 2: it could not be; 130: Ctrl-C, then "
        "the same command goes on.",
        epilog="Arguments after -- are the script's.",
    )
    add = parser.add_argument
    add("targets", nargs="+", help="a run, or checkpoints in the order of training")
    add("--script", required=True, help="the script that trains the model")
    add("--folder", default=DEFAULT_FOLDER, help="where the records are")
    add("--output", default="", help="a file: .html, .png, .svg, .vts or .npz")
    add("--directions", choices=DIRECTIONS, default=None, help="of the slice")
    add("--line", action="store_true", help="along one direction only")
    add("--points", type=_number_of(2), default=None, help="along each direction")
    add("--extent", type=float, default=None, help="how far along each direction")
    add("--exact", action="store_true", help="compute all points, interpolate none")
    add("--mode", choices=("script", "train", "eval"), default="script", help=_MODES)
    add("--workers", type=_number_of(1), default=1, help="processes at once")
    add("--seed", type=int, default=0, help="of random directions and of dropout")
    add("--no-resume", dest="resume", action="store_false", help="begin anew")
    add("--json", action="store_true", help="print JSON")
    return parser


_MODES = "of norm and dropout layers; without it, as the script has them"


def _number_of(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"{text!r} came; expected a whole number of {least} or more"
            )
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())
