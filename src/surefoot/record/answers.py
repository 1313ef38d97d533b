"""Answers to what a run asks: they come in from a page, and go out to the run.

A run writes its record alone, so answers lie in a file beside it, a line each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ENDING = ".answers.jsonl"
WORDS = ("yes", "no")

MOST_BYTES = 100_000
"""More than a thousand answers: no run asks so much, and nobody reads on."""


class AnswerError(ValueError):
    """An answer that is none."""


def answers_path(record: Path) -> Path:
    """Where the answers of a record lie."""
    return record.with_name(record.name + ENDING)


def put_answer(record: Path, question: int, answer: str) -> None:
    """Append an answer to a question of a run.

    Raises:
        AnswerError: it is neither yes nor no, the question has no number, or there
            are more answers already than a run has questions.
        OSError: the file cannot be written.
    """
    if answer not in WORDS or isinstance(question, bool) or question < 0:
        raise AnswerError(
            f"the answer {str(answer)[:20]!r} to question {question!r} came; expected "
            "'yes' or 'no', and the number of the question"
        )
    path = answers_path(record)
    if path.exists() and path.stat().st_size > MOST_BYTES:
        raise AnswerError(f"{path.name} is full; expected a few answers a run")
    line = json.dumps({"question": question, "answer": answer})
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def answers_of(record: Path) -> dict[int, str]:
    """The first answer to each question; lines that are none are left out."""
    path = answers_path(record)
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        text = file.read(2 * MOST_BYTES).decode("utf-8", errors="replace")
    found: dict[int, str] = {}
    for line in text.splitlines():
        row = _row(line)
        if row is not None:
            found.setdefault(*row)
    return found


def _row(line: str) -> tuple[int, str] | None:
    try:
        row: Any = json.loads(line)
    except ValueError:
        return None
    match row:
        case {"question": int(question), "answer": "yes" | "no" as answer}:
            return question, answer
        case _:
            return None
