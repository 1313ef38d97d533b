"""All tools at all runs: attempts come in, the table goes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from benchmarks.tables import table
from benchmarks.zoo.peers import catalogue
from benchmarks.zoo.peers.alarm import Peer, Watcher
from benchmarks.zoo.peers.count import together
from benchmarks.zoo.peers.run import Attempt

EVERY = "all others together"
STACKS = {
    "torchtest2 + torch-audit + sherlorch": ("torchtest2", "torch-audit", "sherlorch"),
    EVERY: tuple(peer.name for peer in catalogue.ALL if peer.name != "Surefoot"),
}
"""The quietest stack that one can install today, and all of them at once."""

HEAD = (
    "tool",
    "version",
    "recall",
    "root",
    "wrong",
    "healthy alarmed",
    "layer first",
    "lag",
    "cost",
    "crashed",
)


@dataclass(frozen=True, slots=True)
class Row:
    """What one tool reached; shares are of harmful faults, or of healthy runs."""

    peer: str
    version: str
    when: str
    faults: int
    hits: int
    roots: int
    wrong: int
    healthy: int
    false_alarms: int
    layered: int
    layers: int
    lag: float | None
    crashes: int
    costs: tuple[float, ...] = ()
    missed: tuple[str, ...] = field(default=())
    alarmed: tuple[str, ...] = field(default=())


def row(
    peer: Peer,
    attempts: Sequence[Attempt],
    harmful: Mapping[str, bool],
    costs: Sequence[float],
) -> Row:
    """One tool; `harmful` says of each faulty run whether the fault did harm."""
    own = [one for one in attempts if one.peer == peer.name]
    faults = [one for one in own if harmful.get(one.run)]
    sound = [one for one in own if one.run not in harmful]
    known = [one.outcome for one in faults if one.outcome is not None]
    lags = [one.lag for one in known if one.lag is not None]
    # A tool that crashed does not know whether there was a layer to be named.
    layered = {
        one.run for one in attempts if one.outcome and one.outcome.layer is not None
    }
    return Row(
        peer=peer.name,
        version=peer.needs.partition("==")[2] or peer.needs.rpartition("@")[2][:7],
        when=peer.when,
        faults=len(faults),
        hits=sum(one.hit for one in known),
        roots=sum(one.root for one in known),
        wrong=sum(one.wrong for one in known),
        healthy=len(sound),
        false_alarms=len(_alarmed(sound)),
        layered=sum(one.run in layered for one in faults),
        layers=sum(bool(one.layer) for one in known),
        lag=median(lags) if lags else None,
        crashes=sum(bool(one.crash) for one in own),
        costs=tuple(costs),
        missed=tuple(one.run for one in faults if not _hit(one)),
        alarmed=_alarmed(sound),
    )


def stacks(attempts: Sequence[Attempt], harmful: Mapping[str, bool]) -> list[Row]:
    """A row for each stack of tools that were all run."""
    run = {one.peer for one in attempts}
    return [
        row(
            Peer(name, "", "together", Watcher, {}),
            stacked(name, peers, attempts),
            harmful,
            (),
        )
        for name, peers in STACKS.items()
        if run.issuperset(peers) or (name == EVERY and run.intersection(peers))
    ]


def stacked(
    name: str, peers: Sequence[str], attempts: Sequence[Attempt]
) -> list[Attempt]:
    """Several tools as if they were one; a run where all crashed is a crash."""
    found: dict[str, list[Attempt]] = {}
    for one in attempts:
        if one.peer in peers:
            found.setdefault(one.run, []).append(one)
    return [_joined(name, run, each) for run, each in found.items()]


def _joined(name: str, run: str, each: Sequence[Attempt]) -> Attempt:
    known = [one.outcome for one in each if one.outcome is not None]
    if not known:
        return Attempt(name, run, crash="all crashed")
    return Attempt(name, run, together(known))


def _hit(attempt: Attempt) -> bool:
    return attempt.outcome is not None and attempt.outcome.hit


def _alarmed(attempts: Sequence[Attempt]) -> tuple[str, ...]:
    return tuple(one.run for one in attempts if one.outcome and one.outcome.alarmed)


def printed(rows: Sequence[Row], absent: Mapping[str, str]) -> str:
    """The table; tools that could not be installed stand below it with the reason."""
    count = f"{rows[0].faults} harmful faults, {rows[0].healthy} healthy runs"
    shown = table(
        f"Other tools at the same runs: {count}", HEAD, list(map(_cells, rows))
    )
    return "\n".join([shown, *(f"\n{name}: {why}" for name, why in absent.items())])


def _cells(one: Row) -> list[str]:
    spoken = {"live": f"{one.lag:g}" if one.lag is not None else "–", "together": "–"}
    low, high = (min(one.costs), max(one.costs)) if one.costs else (0, 0)
    return [
        one.peer,
        one.version or "–",
        _share(one.hits, one.faults),
        _share(one.roots, one.faults),
        _share(one.wrong, one.faults),
        _share(one.false_alarms, one.healthy),
        f"{one.layers}/{one.layered}",
        spoken.get(one.when, one.when),
        f"{low:.2f}–{high:.2f} ×" if one.costs else "–",
        str(one.crashes),
    ]


def _share(count: int, of: int) -> str:
    return f"{count / of:.2f}" if of else "–"


def as_json(rows: Sequence[Row], attempts: Sequence[Attempt]) -> dict[str, Any]:
    """All that was counted, for other programs."""
    return {
        "rows": [asdict(one) for one in rows],
        "attempts": [asdict(one) for one in attempts],
    }
