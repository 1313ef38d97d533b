"""What worked before: verdicts come in, a JSON-lines file and a ranking go out."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from surefoot.types import Diagnosis, Prescription, Verdict

NAME = "remedies.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger: whether a remedy helped against a cause."""

    cause: str
    remedy: str
    held: bool
    effect: float


def record_verdict(path: str | Path, verdict: Verdict, diagnosis: Diagnosis) -> None:
    """Append a verdict to the ledger at `path`; the file is made if absent.

    Numbers that are not finite, such as the metric of a branch that diverged, are
    written as null.

    Raises:
        OSError: the file cannot be written.
    """
    line: dict[str, Any] = {
        "cause": diagnosis.cause,
        "layer": diagnosis.layer,
        "remedy": verdict.prescription.remedy,
        **_finite(asdict(verdict)),
    }
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """The same JSON value with None for each number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return value


def entries(path: str | Path) -> list[Entry]:
    """All verdicts of a ledger; empty if there is none yet.

    Lines that are not whole, as after a crash, are left out.
    """
    file = Path(path)
    if not file.exists():
        return []
    found: list[Entry] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        entry = _entry(line)
        if entry is not None:
            found.append(entry)
    return found


def _entry(line: str) -> Entry | None:
    try:
        told = json.loads(line)
        return Entry(
            str(told["cause"]),
            str(told["remedy"]),
            bool(told["held"]),
            math.nan if told["effect"] is None else float(told["effect"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def rank(
    prescriptions: Sequence[Prescription], cause: str, ledger: Sequence[Entry]
) -> tuple[Prescription, ...]:
    """Prescriptions with those that helped against this cause first.

    Sorted by the share of verdicts that held, (held + 1) / (all + 2) as if one had
    held and one failed before (Laplace); equal shares keep their order.
    """

    def share(prescription: Prescription) -> float:
        own = [
            entry
            for entry in ledger
            if entry.cause == cause and entry.remedy == prescription.remedy
        ]
        return (sum(entry.held for entry in own) + 1) / (len(own) + 2)

    return tuple(sorted(prescriptions, key=lambda one: -share(one)))
