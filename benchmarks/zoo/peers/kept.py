"""Attempts that were made come in and stay in a file; those of before come out.

The whole comparison takes long, and is taken up where it was broken off.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.zoo.peers.alarm import Peer
from benchmarks.zoo.peers.count import Outcome
from benchmarks.zoo.peers.run import Attempt, attempts, harms
from surefoot.zoo.scenario import Scenario

Pair = tuple[Peer, Scenario]


def made(pairs: Sequence[Pair], path: Path, processes: int) -> Iterator[Attempt]:
    """All attempts; those that the file does not have yet are made and added to it."""
    before = {(one.peer, one.run): one for one in _read(path)}
    for peer, run in pairs:
        if (peer.name, run.name) in before:
            yield before[peer.name, run.name]
    lacking = [pair for pair in pairs if (pair[0].name, pair[1].name) not in before]
    for one in attempts(lacking, processes):
        _add(path, asdict(one))
        yield one


def harmful(runs: Iterable[Scenario], path: Path, processes: int) -> dict[str, bool]:
    """Whether each fault does harm, by the name of its run."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    lacking = [run for run in runs if run.name not in before]
    found = before | (harms(lacking, processes) if lacking else {})
    path.write_text(json.dumps(found), encoding="utf-8")
    return {run.name: found[run.name] for run in runs}


def _read(path: Path) -> Iterator[Attempt]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        yield restored(json.loads(line))


def restored(body: dict[str, Any]) -> Attempt:
    """An attempt as it was before it was written down."""
    found = body["outcome"]
    said = {name: (step, layer) for name, (step, layer) in body["said"].items()}
    return Attempt(**body | {"outcome": found and Outcome(**found), "said": said})


def _add(path: Path, body: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(body) + "\n")
