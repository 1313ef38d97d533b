"""Markdown: words come in, tables and sentences go out."""

from __future__ import annotations

from collections.abc import Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; a bar within a cell is escaped."""
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        for row in (heads, *rows)
    ]
    return "\n".join([lines[0], "|" + "-|" * len(heads), *lines[1:]])


def first_sentence(doc: str | None) -> str:
    """The first paragraph of a docstring on one line."""
    return one_line((doc or "").strip().partition("\n\n")[0])


def one_line(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


def decapitalised(text: str) -> str:
    """A sentence that goes on in the middle of another one."""
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
