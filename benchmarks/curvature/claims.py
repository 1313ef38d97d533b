"""Measured numbers come in, beside what was aimed at they go out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.tables import table


@dataclass(frozen=True, slots=True)
class Claim:
    """One number that should be at most `target`; `before` is that of a prototype."""

    about: str
    where: str
    measured: float
    target: float
    before: str = ""

    @property
    def met(self) -> bool:
        return self.measured <= self.target + 1e-12


def claims_table(claims: Sequence[Claim]) -> str:
    """All claims, and which fell short."""
    rows = [
        [one.about, one.where, f"{one.measured:.3g}", f"≤ {one.target:g}", one.before,
         "met" if one.met else "NOT MET"]
        for one in claims
    ]  # fmt: skip
    heads = ("claim", "where", "measured", "target", "a prototype", "")
    met = sum(one.met for one in claims)
    return table(f"Aims: {met} of {len(claims)} met", heads, rows)
