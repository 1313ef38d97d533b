"""What stands on a command line comes in: checkpoints go out, or those of a run.

Of a record only the paths and steps of its checkpoints are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from surefoot.record.folder import find_run
from surefoot.record.reader import RecordReader
from surefoot.record.schema import SUFFIX

CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
"""What names of checkpoints usually end with; others are looked at as well."""


class TargetError(ValueError):
    """There is nothing to draw around; the message says what came."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Checkpoints in the order of training, and the record that they belong to.

    `steps` are those that the record tells; None where nothing tells it.
    """

    files: tuple[Path, ...]
    steps: tuple[int | None, ...]
    record: Path | None = None
    stream: str = "main"


def targets_of(names: Sequence[str], folder: str | Path) -> Targets:
    """Checkpoints by their paths, or one run by its record or its name.

    Raises:
        TargetError: a file is not there, or the run has no checkpoint that is.
        RecordError: no run is meant, or the record cannot be read.
    """
    runs = [one for one in names if not _is_checkpoint(one)]
    if not runs:
        files = tuple(Path(one).absolute() for one in names)
        absent = [str(one) for one in files if not one.is_file()]
        if absent:
            raise TargetError(
                f"{absent[0]} is no file; expected a checkpoint, a record or the name "
                "of a run"
            )
        return Targets(files, (None,) * len(files))
    if len(names) > 1:
        raise TargetError(
            f"{len(names)} names came, and {runs[0]} is a run; expected one run, or "
            "checkpoints only; name the run's checkpoints yourself to add others"
        )
    return _of_run(find_run(runs[0], folder).absolute())


def _is_checkpoint(name: str) -> bool:
    path = Path(name)
    if path.suffix == SUFFIX:
        return False
    return path.is_file() or path.suffix in CHECKPOINTS


def _of_run(record: Path) -> Targets:
    """The checkpoints that a run wrote; of a path written again, the last."""
    with RecordReader(record) as reader:
        events = reader.events(kind="checkpoint")
        stream = next(iter(reader.streams()), "main")
    told: dict[str, int] = {}
    for event in events:
        told.pop(str(event.body.get("path", "")), None)
        told[str(event.body.get("path", ""))] = event.step
    there = {
        path: step
        for name, step in told.items()
        if (path := _found(name, record)) is not None
    }
    if not there:
        listed = f"{len(told)} that are gone" if told else "none"
        raise TargetError(
            f"{record.name} lists no checkpoint that is there ({listed}); expected "
            "files of torch.save that the run wrote; name a checkpoint yourself"
        )
    return Targets(tuple(there), tuple(there.values()), record, stream)


def _found(name: str, record: Path) -> Path | None:
    """Where a checkpoint lies: a path is that of the folder where the run began.

    That is this one or, as records lie in a folder below it, the one above theirs.
    """
    for base in (Path.cwd(), record.parent.parent, record.parent):
        path = base / name
        if name and path.is_file():
            return path
    return None
