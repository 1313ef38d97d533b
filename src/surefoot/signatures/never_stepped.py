"""Never stepped: an optimizer that makes no update while another one trains."""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.signatures.streams import Stream
from surefoot.types import Evidence, Finding

ABOUT = "An optimizer holds parameters and never makes a step."
PATIENCE = 50
SOURCE = (
    "updates of the other streams in the same time; adversaries take turns within a "
    "handful of steps (Arjovsky et al. 2017 train the critic 5 to 100 times as often)"
)
RARE = 100


def detect(streams: Sequence[Stream]) -> list[Finding]:
    """One finding for each stream without an update."""
    most = max(stream.steps for stream in streams)
    if most < PATIENCE:
        return []
    return [
        _finding(stream, most)
        for stream in streams
        if stream.steps == 0 and stream.facts.parameters
    ]


def _finding(stream: Stream, most: int) -> Finding:
    held = tuple(p.name for p in stream.facts.parameters if p.held)
    name = f"updates of {stream.facts.optimizer or 'the optimizer'}"
    layer = held[0] if held else "run"
    return Finding(
        signature="never_stepped",
        layer=layer,
        onset=0,
        severity="warning" if most >= RARE else "info",
        evidence=(Evidence(name, 0.0, float(most), SOURCE),),
        layers=held,
        stream=stream.facts.stream,
    )
