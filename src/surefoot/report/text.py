"""Diagnoses, verdicts and runs come in, plain text for a terminal goes out.

Nothing is printed here. Colour is asked for by the caller, who knows about
terminals and NO_COLOR.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Literal, Protocol

from surefoot.report.words import (
    change_text,
    clean,
    counted,
    distance,
    headline,
    number,
    sentence,
    severity_of,
    spaced,
    technique_text,
)
from surefoot.types import (
    Diagnosis,
    Evidence,
    Finding,
    Prescription,
    Severity,
    Technique,
    Verdict,
)

Tone = Literal["critical", "warning", "info", "good", "strong", "soft", "act"]

_CODES: Mapping[Tone, str] = {
    "critical": "1;31",
    "warning": "1;33",
    "info": "1;34",
    "good": "1;32",
    "strong": "1",
    "soft": "2",
    "act": "36",
}
_SIGNS: Mapping[Severity, str] = {"critical": "✗", "warning": "!", "info": "i"}
_OTHERS = 4  # further causes that are told: the page lists them all
BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-~=*%#"
"""For terminals whose encoding has no blocks, from low to high."""


class RunLine(Protocol):
    """What a listing says about a run: `record.folder.RunSummary` or the like."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def created(self) -> datetime: ...  # noqa: D102

    @property
    def status(self) -> str: ...  # noqa: D102

    @property
    def steps(self) -> int: ...  # noqa: D102

    @property
    def last_loss(self) -> float | None: ...  # noqa: D102

    @property
    def trouble(self) -> str | None: ...  # noqa: D102


# --- diagnoses ------------------------------------------------------------------


def diagnosis_text(
    diagnoses: Sequence[Diagnosis],
    *,
    run_name: str,
    width: int = 80,
    colour: bool = False,
    steps: int | None = None,
    looked_at: Sequence[str] = (),
) -> str:
    """What is wrong in a run, where, since when, on what evidence, and what to do.

    The likeliest cause is told in full, the others in a few lines each.

    Args:
        diagnoses: Ranked, the likeliest cause first; empty for a healthy run.
        run_name: How the run is called.
        width: Columns of the terminal; lines are broken to fit.
        colour: Whether to write ANSI colours.
        steps: How many steps were recorded, told when nothing is wrong.
        looked_at: The quantities that were recorded, told when nothing is wrong.

    >>> print(diagnosis_text([], run_name="net", steps=300, looked_at=["loss"]))
    ✓ Nothing wrong found in 300 steps of net.
      Looked at loss.
    """
    page = _Page(max(width, 40), colour)
    if not diagnoses:
        page.healthy(run_name, steps, looked_at)
    for diagnosis in diagnoses[:1]:
        page.diagnosis(diagnosis)
    if len(diagnoses) > 1:
        page.others(diagnoses[1:])
    return page.text()


def in_use_text(
    techniques: Sequence[Technique], *, width: int = 80, colour: bool = False
) -> str:
    """What steadies a run, in a sentence; "" if nothing does.

    >>> print(in_use_text([Technique("optimizer", "SGD")]))
      In use: SGD.
    """
    page = _Page(max(width, 40), colour)
    told = ", ".join(dict.fromkeys(map(technique_text, techniques)))
    if told:
        page.write(f"In use: {told}.", "  ", tone="soft")
    return page.text()


class _Page:
    """Lines as they are written, wrapped to a width, coloured or not."""

    def __init__(self, width: int, colour: bool) -> None:
        self.width, self.colour = width, colour
        self.lines: list[str] = []

    def text(self) -> str:
        return "\n".join(self.lines)

    def blank(self) -> None:
        self.lines.append("")

    def write(
        self,
        text: str,
        indent: str = "",
        *,
        tone: Tone | None = None,
        first: str | None = None,
    ) -> None:
        """A paragraph; `first` stands before its first line in place of the indent."""
        told = paragraph(
            text, indent, self.width, tone=tone if self.colour else None, first=first
        )
        if told:
            self.lines.extend(told.split("\n"))

    def paint(self, text: str, tone: Tone | None) -> str:
        return painted(text, tone) if self.colour else text

    def healthy(
        self, run_name: str, steps: int | None, looked_at: Sequence[str]
    ) -> None:
        count = f" in {counted(steps, 'step')}" if steps is not None else ""
        self.write(
            f"Nothing wrong found{count} of {run_name}."
            if count
            else f"Nothing wrong found in {run_name}.",
            "  ",
            tone="good",
            first="✓ ",
        )
        if looked_at:
            self.write(
                f"Looked at {', '.join(map(spaced, looked_at))}.", "  ", tone="soft"
            )

    def diagnosis(self, diagnosis: Diagnosis) -> None:
        severity = severity_of(diagnosis)
        self.write(
            headline(diagnosis), "  ", tone=severity, first=f"{_SIGNS[severity]} "
        )
        self.write(diagnosis.about, "  ")
        doubt = "" if diagnosis.confirmed else ", unconfirmed: one signal alone"
        self.write(
            f"{severity}, confidence {diagnosis.confidence:.0%}{doubt}",
            "  ",
            tone="soft",
        )
        self.blank()
        self.write("Seen", "  ", tone="strong")
        for finding in diagnosis.findings:
            self.finding(finding)
        if diagnosis.prescriptions:
            self.blank()
            self.write("What to do", "  ", tone="strong")
        for rank, prescription in enumerate(diagnosis.prescriptions, 1):
            self.prescription(prescription, rank)
        if diagnosis.told_apart:
            self.blank()
            self.write(f"Told apart: {diagnosis.told_apart}", "  ", tone="soft")
        if diagnosis.page:
            self.write(f"Read on: docs/{diagnosis.page}", "  ", tone="soft")

    def others(self, diagnoses: Sequence[Diagnosis]) -> None:
        """Less likely causes: what, where, the first evidence, the first remedy."""
        self.blank()
        self.write("Also possible", "  ", tone="strong")
        for one in diagnoses[:_OTHERS]:
            severity = severity_of(one)
            share = f"{one.confidence:.0%}" + ("" if one.confirmed else ", unconfirmed")
            self.write(
                f"{headline(one)} ({share})",
                "    ",
                tone=severity,
                first=f"  {_SIGNS[severity]} ",
            )
            evidence = [told for finding in one.findings for told in finding.evidence]
            for told in evidence[:1]:
                self.write(f"{told.series}: {_numbers(told)}", "      ", first="    · ")
            for remedy in one.prescriptions[:1]:
                self.write(f"try: {sentence(remedy.remedy)}", "    ", tone="act")
        if len(diagnoses) > _OTHERS:
            self.write(f"and {len(diagnoses) - _OTHERS} more", "    ", tone="soft")

    def finding(self, finding: Finding) -> None:
        for one in finding.evidence:
            self.write(one.series, "      ", first="    · ")
            self.write(_numbers(one), "      ", tone="strong")
            if one.source:
                self.write(one.source, "      ", tone="soft")
        where = _nonfinite(finding)
        if where:
            self.write(where, "      ")

    def prescription(self, one: Prescription, rank: int) -> None:
        indent = "       "
        self.write(sentence(one.remedy), indent, tone="act", first=f"    {rank}. ")
        advice = one.advice or "; ".join(map(change_text, one.changes))
        if advice:
            self.write(advice, indent)
        if one.advice and one.changes:
            self.write("; ".join(map(change_text, one.changes)), indent)
        if one.expect:
            self.write(f"expect: {one.expect}", indent)
        if one.source:
            self.write(one.source, indent, tone="soft")


def paragraph(
    text: str,
    indent: str,
    width: int,
    *,
    tone: Tone | None = None,
    first: str | None = None,
) -> str:
    """Text wrapped to a width; `first` stands before its first line for the indent."""
    start = indent if first is None else first
    wrapped = textwrap.wrap(
        clean(text),
        width,
        initial_indent=start,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    leads = [start, *([indent] * len(wrapped))]
    rows = zip(leads, wrapped, strict=False)
    return "\n".join(lead + painted(line[len(lead) :], tone) for lead, line in rows)


def painted(text: str, tone: Tone | None) -> str:
    """Text in the colour of its tone, as ANSI codes."""
    return text if tone is None else f"\x1b[{_CODES[tone]}m{text}\x1b[0m"


def _numbers(one: Evidence) -> str:
    if not math.isfinite(one.observed):
        return number(one.observed)
    far = distance(one.observed, one.bound)
    return f"{number(one.observed)}, bound {number(one.bound)}" + (
        f" ({far})" if far else ""
    )


def _nonfinite(finding: Finding) -> str:
    """Where a non-finite value was born, if the finding says so."""
    told = [
        f"{key} {finding.detail[key]}"
        for key in ("module", "operation", "line", "direction")
        if finding.detail.get(key)
    ]
    return ", ".join(told)


# --- verdicts, runs -------------------------------------------------------------


def verdict_text(verdict: Verdict, *, width: int = 80, colour: bool = False) -> str:
    """What a remedy did against a do-nothing branch, seed by seed."""
    page = _Page(max(width, 40), colour)
    name = sentence(verdict.prescription.remedy)
    held = "helped" if verdict.held else "not shown to help"
    sign, tone = ("✓ ", "good") if verdict.held else ("✗ ", "warning")
    page.write(f"{name}: {held}", "  ", tone=tone, first=sign)
    low, high = verdict.interval
    page.write(
        f"{spaced(verdict.metric)} {verdict.effect:+.3g}, 95 % interval "
        f"{low:+.3g} to {high:+.3g}, {counted(len(verdict.seeds), 'seed')}, "
        "same data order",
        "  ",
    )
    rows = [
        [f"seed {seed}", number(before), number(after), f"{after - before:+.3g}"]
        for seed, before, after in zip(
            verdict.seeds, verdict.baseline, verdict.treated, strict=True
        )
    ]
    page.lines.extend(
        f"  {line}" for line in table(["", "left alone", "treated", "change"], rows)
    )
    return page.text()


def runs_table(
    summaries: Sequence[RunLine], *, width: int = 80, colour: bool = False
) -> str:
    """A line for each run, newest last; troubles are told below their run."""
    if not summaries:
        return "No runs here. Record one: surefoot run SCRIPT.py"
    rows = [
        [
            clean(one.name),
            one.status,
            f"{one.steps:,}",
            "" if one.last_loss is None else number(one.last_loss),
            f"{one.created:%Y-%m-%d %H:%M}",
        ]
        for one in summaries
    ]
    page = _Page(max(width, 40), colour)
    lines = table(["run", "status", "steps", "last loss", "began"], rows, right=(2, 3))
    page.lines.append(page.paint(lines[0], "soft"))
    for one, line in zip(summaries, lines[1:], strict=True):
        page.lines.append(line)
        if one.trouble:
            page.write(one.trouble, "    ", tone="warning", first="  ! ")
    return page.text()


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Iterable[int] = (1, 2, 3),
) -> list[str]:
    """Columns as wide as their widest entry; the first line holds the heads."""
    every = [list(heads), *map(list, rows)]
    widths = [max(len(row[at]) for row in every) for at in range(len(heads))]
    ends = set(right)
    return [
        "  ".join(
            cell.rjust(wide) if at in ends else cell.ljust(wide)
            for at, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in every
    ]


def sparkline(
    values: Sequence[float],
    width: int,
    *,
    blocks: str = BLOCKS,
    broken: str = "×",
) -> str:
    """Values as blocks, oldest first; of each group the largest, "×" where not finite.

    >>> sparkline([1, 2, 3, math.nan], 10)
    '▁▅█×'
    """
    if width < 1 or not values:
        return ""
    count = min(width, len(values))
    edges = [round(at * len(values) / count) for at in range(count + 1)]
    groups = [values[a:b] for a, b in pairwise(edges)]
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    return "".join(
        _block(group, low, high, blocks) if all(map(math.isfinite, group)) else broken
        for group in groups
    )


def _block(group: Sequence[float], low: float, high: float, blocks: str) -> str:
    share = (max(group) - low) / ((high - low) or 1.0)
    return blocks[min(int(share * len(blocks)), len(blocks) - 1)]
