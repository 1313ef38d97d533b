"""Rows come in, an aligned text table goes out."""

from __future__ import annotations

from collections.abc import Sequence


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table under its title, columns aligned for a terminal too."""
    cells = [list(head), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [_line(row, widths) for row in cells]
    rule = ["-" * width for width in widths]
    return "\n".join(
        ["", f"### {title}", "", lines[0], _line(rule, widths), *lines[1:]]
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first = row[0].ljust(widths[0])
    rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
    return f"| {' | '.join([first, *rest])} |"


def measured(value: float, target: float, unit: str) -> str:
    """A measured number beside its target, and whether it is met."""
    verdict = "met" if value <= target else "NOT MET"
    return f"{value:.3g} {unit}, target ≤ {target:g} {unit}: {verdict}"
