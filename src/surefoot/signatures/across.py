"""Symptoms between streams: all streams of a run come in, findings go out.

What no stream shows on its own: one of two adversaries has won, or an optimizer was
never stepped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from surefoot.signatures import never_stepped, one_sided_game, replicas
from surefoot.signatures.streams import Stream
from surefoot.types import Finding


@dataclass(frozen=True, slots=True)
class Comparison:
    """One symptom between streams; `detect` is pure."""

    name: str
    about: str
    detect: Callable[[Sequence[Stream]], list[Finding]]


ALL: tuple[Comparison, ...] = (
    Comparison("one_sided_game", one_sided_game.ABOUT, one_sided_game.detect),
    Comparison("never_stepped", never_stepped.ABOUT, never_stepped.detect),
    Comparison("replicas", replicas.ABOUT, replicas.detect),
)


def across(streams: Mapping[str, Stream]) -> list[Finding]:
    """Findings of all comparisons; each names the stream that it belongs to."""
    if len(streams) < 2:
        return []
    return [found for one in ALL for found in one.detect(tuple(streams.values()))]
