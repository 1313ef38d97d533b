"""The score as text: numbers come in, lines go out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.zoo.scoring import Score, Share

TARGETS: tuple[tuple[str, str, str], ...] = (
    ("healthy runs with a finding above info", "healthy_alarmed", "≤ 2 %"),
    ("alarms per 100,000 healthy steps", "alarms_per_100k_steps", "≤ 1"),
    ("recall of harmful faults", "recall", "≥ 95 %"),
    ("top-1 cause", "top1", "≥ 85 %"),
    ("top-3 cause", "top3", "≥ 97 %"),
    ("guilty layer first", "layer_first", "≥ 90 %"),
    ("layers named (median)", "layers_named", "1"),
    ("delay after an abrupt onset (median, steps)", "delay_median", "≤ 2"),
    ("delay after an abrupt onset (95 %, steps)", "delay_p95", "≤ 20"),
    ("spikes told 5 steps before the 6σ rule", "lead", "≥ 80 %"),
    ("faulty runs alarmed before the onset", "early", "—"),
)
"""What is claimed, its name in the score, and what it should reach."""


def table(scores: Mapping[str, Score]) -> str:
    """A Markdown table of the claims, one column for each half."""
    names = list(scores)
    lines = [f"| claim | target | {' | '.join(names)} |", "|-" * (2 + len(names)) + "|"]
    for title, field, target in TARGETS:
        cells = [_cell(getattr(scores[name], field)) for name in names]
        lines.append(f"| {title} | {target} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: Share | float) -> str:
    if isinstance(value, Share):
        return f"{100 * value.value:.1f} % ({value.hits}/{value.of})"
    return f"{value:.3g}"


def classes(scores: Mapping[str, Score]) -> str:
    """A Markdown table: found and right among the harmful runs of each fault."""
    names = list(scores)
    faults = sorted({fault for one in scores.values() for fault in one.classes})
    titles = " | ".join(f"{name}: found, cause right, harmful" for name in names)
    lines = [f"| fault | {titles} |", "|-" * (1 + len(names)) + "|"]
    for fault in faults:
        cells = [_counts(scores[name].classes.get(fault)) for name in names]
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _counts(counts: tuple[int, int, int] | None) -> str:
    return "–" if counts is None else ", ".join(str(one) for one in counts)


def details(name: str, one: Score) -> str:
    """Every false alarm, miss and wrong cause of one half, by scenario."""
    parts: tuple[tuple[str, Sequence[str]], ...] = (
        ("false alarms", one.false_alarms),
        ("missed", one.missed),
        ("cause not first", one.wrong),
        ("harmless faults", one.harmless),
    )
    lines: list[str] = []
    for title, entries in parts:
        lines.append(f"\n{name}, {title}: {len(entries)}")
        lines += [f"  {entry}" for entry in entries]
    return "\n".join(lines)
