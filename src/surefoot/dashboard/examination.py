"""One examination, as a process of its own: a record's path in, JSON out.

`python -m surefoot.dashboard.examination PATH` writes the diagnosis, in the form in
which a run's lookout stores it, to standard output.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from surefoot.diagnosis.examine import examine
from surefoot.diagnosis.extent import left_out
from surefoot.diagnosis.stored import steps_of, to_store
from surefoot.record.reader import RecordReader
from surefoot.record.schema import RecordError

NICENESS = 10
"""Of 19: whatever trains on this machine goes first."""


def main(arguments: Sequence[str]) -> int:
    """Examine one record; status 2 and a sentence if it cannot be read."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    try:
        with RecordReader(Path(arguments[0])) as reader:
            steps = steps_of(reader)
            found, note = examine(reader), left_out(reader)
    except RecordError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(json.dumps(to_store(found, steps, note), allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
