"""Rows of the bench come in, tables as text go out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.rescue.classes import REPAIRABLE
from benchmarks.rescue.measure import Row

BRANCHES = ("left alone", "searched", "rescued")
TITLES = {
    "left alone": "left alone",
    "searched": "random search",
    "rescued": "surefoot rescue",
}


def shown(rows: Sequence[Row]) -> str:
    """Shares by part, each fault by its name, what was not repaired, and harm."""
    lines = ["| | tuning | reporting |", "|-|-|-|"]
    halves = [[row for row in rows if row.part == p] for p in ("tuning", "reporting")]
    for branch in BRANCHES:
        cells = [_share(_harmed(half), branch) for half in halves]
        lines.append(f"| {TITLES[branch]}: 95 % of the twin | {' | '.join(cells)} |")
    lines.append(f"| harm to healthy runs | {' | '.join(map(_harm, halves))} |")
    lines.append(
        f"| controls that were changed | {' | '.join(map(_touched, halves))} |"
    )
    lines.append(f"| harm, faults out of reach | {' | '.join(map(_worse, halves))} |")
    spent = [sum(r.spent for r in h) / max(1, len(h)) for h in map(_harmed, halves)]
    cells = [f"{one:.1f}" for one in spent]
    lines.append(f"| spent, in lengths of the run | {' | '.join(cells)} |")
    lines += ["", "not repaired:"]
    lines += [_line(row) for row in rows if _harmed([row]) and not row.good["rescued"]]
    lines += ["", "faults out of reach:"]
    out = [row for row in rows if row.fault and row.fault not in REPAIRABLE]
    lines += [_line(row) for row in out]
    lines += ["", "healthy runs that were changed:"]
    lines += [_line(row) for row in rows if not row.fault and row.changes]
    return "\n".join(lines)


def _harmed(rows: Sequence[Row]) -> list[Row]:
    """Runs with a repairable fault that cost them more than 5 %."""
    return [
        row for row in rows if row.fault in REPAIRABLE and not row.good["left alone"]
    ]


def _share(rows: Sequence[Row], branch: str) -> str:
    return f"{sum(row.good[branch] for row in rows)} of {len(rows)}"


def _harm(rows: Sequence[Row]) -> str:
    """Healthy runs with a held-out number that a rescue took below 95 % of itself."""
    healthy = [r for r in rows if not r.fault and math.isfinite(r.left_alone)]
    worse = [r for r in healthy if r.changes and not r.good["rescued"]]
    return f"{len(worse)} of {len(healthy)}"


def _touched(rows: Sequence[Row]) -> str:
    """Healthy runs without a held-out number, where nothing can tell good from harm."""
    blind = [r for r in rows if not r.fault and not math.isfinite(r.left_alone)]
    return f"{sum(bool(r.changes) for r in blind)} of {len(blind)}"


def _worse(rows: Sequence[Row]) -> str:
    """Runs with a fault out of reach that a rescue took below 95 % of left alone."""
    out = [row for row in rows if row.fault and row.fault not in REPAIRABLE]
    worse = [row for row in out if row.changes and _lost(row)]
    return f"{len(worse)} of {len(out)}"


def _lost(row: Row) -> bool:
    return row.good["left alone"] and not row.good["rescued"]


def _line(row: Row) -> str:
    return (
        f"  {row.name}: {row.ending}; {row.cause or 'no cause'}; left alone "
        f"{row.left_alone:.3g}, rescued {row.rescued:.3g}, twin {row.twin:.3g}; "
        f"{'; '.join(row.changes) or 'nothing changed'}"
    )
