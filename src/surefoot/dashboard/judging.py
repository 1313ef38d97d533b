"""A glance at a run and an examination come in, what is known to be wrong goes out."""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from surefoot.dashboard.examiner import Examiner, Outcome
from surefoot.dashboard.glances import UNREADABLE, Glance
from surefoot.dashboard.library import Mark
from surefoot.diagnosis.stored import installed, is_final
from surefoot.record.values import strict
from surefoot.report.contents import Judged
from surefoot.types import Diagnosis

_QUIET_NS = 2_000_000_000
"""A run that has just ended may be taking its last look, which leaves its diagnosis
in the record: it is not examined while the record still changes."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known of a run by now, and how far that knowledge reaches."""

    judged: Judged
    found: tuple[Diagnosis, ...] = ()

    def token(self, mark: Mark) -> str:
        """A short text that changes whenever diagnoses, state or trials do."""
        what = (strict(list(self.found)), asdict(self.judged)["state"], mark.trials)
        return f"{zlib.crc32(json.dumps(what).encode()):08x}"


class Judge:
    """Knows where the diagnosis of each run comes from.

    From its own lookout while it is alive, and where that left its last word; else
    from an examination in the background.
    """

    def __init__(self, examiner: Examiner) -> None:
        self._examiner = examiner
        self._today = installed()

    lost = Judged("failed", None, "The record is gone.")

    def of(
        self, path: Path, mark: Mark, seen: Glance, *, urgent: bool = False
    ) -> Judgement:
        """The judgement by now; an examination that it needs is asked for."""
        status = seen.status()
        known = judgement(seen, status, None, today=self._today)
        if known.judged.state != "pending" or status == "running":
            return known
        quiet = not 0 <= mark.age_ns(time.time_ns()) < _QUIET_NS
        outcome = self._examiner.outcome(path, mark, urgent=urgent) if quiet else None
        return judgement(seen, status, outcome, today=self._today)


def judgement(
    seen: Glance, status: str, outcome: Outcome | None, *, today: str = ""
) -> Judgement:
    """What is known of a run of that status, with or without an examination.

    `today` is the version of this surefoot, which may know more than an older one.
    """
    stored = seen.stored
    found = stored.found if stored is not None else ()
    steps = stored.steps if stored is not None else None
    if status == UNREADABLE:
        return Judgement(Judged("failed", None, "The record cannot be read."))
    if status == "running" and stored is None:
        return Judgement(Judged("pending", None, "Nothing has been looked at yet."))
    if stored is not None and status == "running":
        return Judgement(Judged("so_far", steps, stored.note), found)
    if stored is not None and is_final(stored, seen.steps, today):
        return Judgement(Judged("final", steps, stored.note), found)
    if outcome is None:
        return Judgement(
            Judged("pending", steps, "The record is being examined."), found
        )
    if outcome.stored is None:
        return Judgement(Judged("failed", steps, outcome.trouble), found)
    whole = outcome.stored
    return Judgement(Judged("final", whole.steps, whole.note), whole.found)
