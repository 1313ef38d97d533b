"""A replay in words for a terminal: a Replayed comes in, text goes out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from surefoot.record.replays import BranchVerdict, Replayed

_MOST_DETAIL = 60


def replay_text(told: Replayed) -> str:
    """Verdicts as a table, the cause with its evidence, the remedy, what limits it."""
    lines = [_heading(told), _fidelity(told), "", *_table(told), ""]
    lines += _cause(told)
    lines.append(_remedy(told))
    lines += [f"note: {one}" for one in told.notes]
    lines.append(f"took {told.seconds:.1f} s")
    return "\n".join(lines) + "\n"


def _heading(told: Replayed) -> str:
    name = told.incident or "the incident"
    return (
        f"{name}: steps {told.first} to {told.last} again, branches part at step "
        f"{told.parting}, harm from step {told.onset}"
    )


def _fidelity(told: Replayed) -> str:
    if told.departs is not None:
        where = (
            f"from step {told.departs} on" if told.departs > told.first else "at once"
        )
        return f"the unchanged replay departs from the recorded losses {where}"
    if told.noise == 0.0:
        return "the unchanged replay gives the recorded losses, bit for bit"
    return (
        "the unchanged replay gives the recorded losses within "
        f"{told.noise:.2g} of each: the noise floor of all verdicts"
    )


def _table(told: Replayed) -> list[str]:
    header = ["branch", "verdict", "last loss", told.set_aside, ""]
    rows = [header, *(_row(one) for one in told.branches)]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    return [_laid_out(row, widths).rstrip() for row in rows]


def _row(one: BranchVerdict) -> list[str]:
    short = one.detail if len(one.detail) <= _MOST_DETAIL else (
        one.detail[: _MOST_DETAIL - 1] + "…"
    )  # fmt: skip
    return [
        one.prescription.remedy,
        one.verdict,
        _number(one.loss, one),
        _number(one.held_out, one),
        short,
    ]


def _number(value: float, one: BranchVerdict) -> str:
    if one.verdict == "does not apply":
        return ""
    return f"{value:.4g}" if math.isfinite(value) else "no number"


def _laid_out(row: Sequence[str], widths: Sequence[int]) -> str:
    name, verdict, loss, held, detail = row
    return (
        f"  {name:<{widths[0]}}  {verdict:<{widths[1]}}  {loss:>{widths[2]}}  "
        f"{held:>{widths[3]}}  {detail}"
    )


def _cause(told: Replayed) -> list[str]:
    if not told.cause:
        return []
    where = f" in {', '.join(told.layers[:3])}" if told.layers else ""
    return [f"cause: {told.cause}{where}", *(f"  - {one}" for one in told.evidence)]


def _remedy(told: Replayed) -> str:
    if told.remedy is not None:
        changes = ", ".join(
            f"{one.knob} {one.op} {_amount(one.amount)}" for one in told.remedy.changes
        )
        return f"cheapest remedy that prevented it: {told.remedy.remedy} ({changes})"
    if told.result == "nothing to prevent":
        return "nothing to prevent: these updates did the loss no harm"
    if told.result == "not reproduced":
        return (
            "the harm is not in what was recorded: the same batches, rates and random "
            "numbers do not bring it about"
        )
    return "no remedy helped"


def _amount(amount: float | str) -> str:
    return amount if isinstance(amount, str) else f"{amount:.4g}"
