"""A working folder comes in, a copy that may be written to goes out.

An attempt must not overwrite what the run wrote before it. Small files are copied,
large ones are linked, and what holds records or packages is left out.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LINKED_BYTES = 32_000_000
"""Files above this are linked: data sets mostly, which training reads."""

MOST_FILES = 20_000
LEFT_OUT = (".git", ".venv", "venv", "node_modules", "__pycache__", "surefoot-runs")
KEPT = "surefoot-rescue"
"""Where what a repaired run wrote is kept; of a later one, with a number behind."""


class MirrorError(OSError):
    """A working folder that cannot be copied; the message says why."""


def mirror(source: Path, to: Path) -> Path:
    """Copy a working folder to a new one.

    A large file is a link to the original: a script that opens it for writing, in
    place of putting a new one there, writes to the original.

    Raises:
        MirrorError: it holds more files than a working folder would.
        OSError: it cannot be read, or the copy cannot be written.
    """
    count = 0
    for place, folders, files in os.walk(source):
        folders[:] = [one for one in folders if not _left_out(one)]
        here = to / Path(place).relative_to(source)
        here.mkdir(parents=True, exist_ok=True)
        count += len(files)
        if count > MOST_FILES:
            raise MirrorError(
                f"{source} holds more than {MOST_FILES} files; expected the folder of "
                "a script; run the rescue in the script's own folder"
            )
        for name in files:
            _put(Path(place) / name, here / name)
    return to


def _left_out(folder: str) -> bool:
    return folder in LEFT_OUT or folder.startswith(KEPT)


def _put(file: Path, to: Path) -> None:
    """Copy one file, or link it if it is large; sockets and the like are left out."""
    if not file.is_file():
        return
    if file.stat().st_size > LINKED_BYTES:
        to.symlink_to(file.resolve())
    else:
        shutil.copy2(file, to)
