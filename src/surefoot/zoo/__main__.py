"""`surefoot zoo`: words come in, names, records or a score go out.

    surefoot zoo list [PATTERN …]
    surefoot zoo run [PATTERN …] [--seeds 0 1] [--quick] [--folder F] [--jobs 2]
    surefoot zoo score [PATTERN …] [--seeds 0 1] [--quick] [--folder F] [--json]

`run` goes on where it was stopped. Records stay in the folder; `score` reads them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from surefoot.zoo import table
from surefoot.zoo.recording import record_all
from surefoot.zoo.scenario import Scenario, matching, quick, scenarios, with_twins
from surefoot.zoo.scoring import Score, rows, score

HEALTHY, FAILED, USAGE = 0, 1, 2


def main(words: list[str] | None = None) -> int:
    """Run one verb; its exit status goes out: 0, 1 if a run failed, 2 for usage."""
    options = _parser().parse_args(words)
    chosen = matching(quick() if options.quick else scenarios(options.seeds),
        options.patterns)  # fmt: skip
    if not chosen:
        _say(
            f"no scenario is called {options.patterns}; see: surefoot zoo list",
            error=True,
        )
        return USAGE
    if options.verb == "list":
        _say("\n".join(one.name for one in chosen))
        return HEALTHY
    if options.verb == "run":
        return _run(chosen, options.folder, options.jobs)
    return _score(chosen, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "surefoot zoo", description="Planted faults and their healthy twins."
    )
    parser.add_argument("verb", choices=["list", "run", "score"])
    parser.add_argument("patterns", nargs="*", help="names, * and ? allowed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--quick", action="store_true", help="a sample of seed 1")
    parser.add_argument("--folder", type=Path, default=default_folder())
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--json", action="store_true", help="numbers, not text")
    return parser


def default_folder() -> Path:
    """Where records are kept between two calls: the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "surefoot" / "zoo"


def _say(text: str, *, error: bool = False) -> None:
    (sys.stderr if error else sys.stdout).write(f"{text}\n")


def _run(chosen: list[Scenario], folder: Path, jobs: int) -> int:
    failed = record_all(with_twins(chosen), folder, jobs=jobs, tell=_tell)
    _say(f"records in {folder}")
    for line in failed:
        _say(f"ended by an error: {line}")
    return HEALTHY


def _tell(done: int, total: int, name: str) -> None:
    _say(f"{done}/{total} {name}", error=True)


def _score(chosen: list[Scenario], options: argparse.Namespace) -> int:
    found = rows(chosen, options.folder, jobs=options.jobs)
    if not found:
        _say(
            "no records of these scenarios; make them with: surefoot zoo run",
            error=True,
        )
        return FAILED
    halves = {
        part: score(row for row in found if row.label.scenario.part == part)
        for part in ("tuning", "reporting")
    }
    _say(_json(halves) if options.json else _text(halves))
    return HEALTHY


def _json(halves: dict[str, Score]) -> str:
    return json.dumps({name: asdict(one) for name, one in halves.items()}, indent=2)


def _text(halves: dict[str, Score]) -> str:
    parts = [table.table(halves), table.classes(halves)]
    parts += [table.details(name, one) for name, one in halves.items()]
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
