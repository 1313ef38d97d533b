"""What watching costs: a workload comes in, a table of shares and ratios goes out.

Each tool has a process of its own, with its own copy of the model; the processes
take turns in random order, a block of steps each. The cost that counts is the CPU
time that the training thread spends inside the tool, as a share of a step that nobody
watches: on a shared machine a difference of 1 % between wall times is noise.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import variants
from benchmarks.peers import missing
from benchmarks.tables import measured, table
from benchmarks.variants import BARE, Variant

ALWAYS_ON_PERCENT = 1.0
EXTRAS_PERCENT = 5.0
AUTOPILOT_PERCENT = 3.0
TARGETS = {
    "surefoot": ALWAYS_ON_PERCENT,
    "surefoot-run": ALWAYS_ON_PERCENT,
    "surefoot-quick": ALWAYS_ON_PERCENT,
    "surefoot-fixed": EXTRAS_PERCENT,
    "black-box": ALWAYS_ON_PERCENT,
    "surefoot-guard": AUTOPILOT_PERCENT,
    "surefoot-steer": AUTOPILOT_PERCENT,
}
HEAD = (
    "what watches",
    "CPU inside, % of step",
    "5-95 %",
    "µs a step",
    "thread CPU, difference",
    "process CPU, difference",
    "wall ratio",
)

Cost = dict[str, Any]


class ToolError(RuntimeError):
    """A tool's process ended; the message is the last line that it printed."""


class Worker:
    """The process of one tool."""

    def __init__(self, workload: str, variant: str, folder: Path) -> None:
        self._log = folder / f"{workload}-{variant}.log"
        own = folder / f"{workload}-{variant}"
        own.mkdir()
        module = [sys.executable, "-m", "benchmarks.worker"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*module, workload, variant, str(own)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=_environment(),
            )
        self.about = str(self._answer()["about"])

    def steps(self, count: int) -> Cost:
        """What a block of steps costs.

        Raises:
            ToolError: the process has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ToolError(self._last_words()) from None
        return self._answer()

    def close(self) -> None:
        """Let the tool end by itself."""
        try:
            self._process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _answer(self) -> Cost:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ToolError(self._last_words())
        return json.loads(line)

    def _last_words(self) -> str:
        self._process.wait(timeout=60)
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"


def _environment() -> dict[str, str]:
    """The environment of a worker.

    OpenMP threads that wait for each other must sleep: spinning counts as CPU time of
    a step, three times the step itself on a busy machine, and hides every overhead.
    """
    quiet = {"WANDB_SILENT": "true", "PULSEGRAD_CONSOLE": "off"}
    return {**os.environ, **quiet, "OMP_WAIT_POLICY": "passive"}


@dataclass(slots=True)
class Costs:
    """What was measured of each variant, block by block; `failed` says why not."""

    about: str = ""
    warm_up: dict[str, Cost] = field(default_factory=dict)
    blocks: dict[str, list[Cost]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def measure(workload: str, names: Sequence[str], *, rounds: int, block: int) -> Costs:
    """Run all variants in turns: `rounds` blocks of `block` steps each."""
    costs = Costs()
    order = random.Random(0)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name in names:
            started = _started(workload, name, Path(folder), costs)
            if started is not None:
                stack.callback(started.close)
                workers[name] = started
        for _ in range(rounds):
            turn = list(workers)
            order.shuffle(turn)
            for name in turn:
                _block(name, workers, block, costs)
    return costs


def _started(workload: str, name: str, folder: Path, costs: Costs) -> Worker | None:
    """A worker past its warm-up, or None, with the reason in `costs.failed`."""
    variant = variants.ALL[name]
    if variant.needs and importlib.util.find_spec(variant.needs) is None:
        why = missing().get(variant.needs, "`make bench` installs it")
        costs.failed[name] = f"{variant.needs} is not installed: {why}"
        return None
    try:
        worker = Worker(workload, name, folder)
        costs.about = worker.about
        costs.warm_up[name] = _warmed_up(worker, variant)
    except ToolError as error:
        _note(name, error, costs)
        return None
    costs.blocks[name] = []
    return worker


def _warmed_up(worker: Worker, variant: Variant) -> Cost:
    """The first steps, without the very first, in which memory is allocated."""
    worker.steps(1)
    return worker.steps(variant.warm_up)


def _block(name: str, workers: dict[str, Worker], block: int, costs: Costs) -> None:
    try:
        costs.blocks[name].append(workers[name].steps(block))
    except ToolError as error:
        _note(name, error, costs)
        del workers[name]


def _note(name: str, error: ToolError, costs: Costs) -> None:
    """A peer that fails is a row of the table; a failure of ours is one."""
    if not variants.ALL[name].needs:
        raise error
    costs.failed[name] = str(error)


# --- from costs to a table ------------------------------------------------------


def share(blocks: Sequence[Cost], step_seconds: float) -> float:
    """CPU time inside the tool in % of a bare step's."""
    own = sum(block["own"] for block in blocks)
    return 100 * own / sum(block["steps"] for block in blocks) / step_seconds


def interval(
    blocks: Sequence[Cost], step_seconds: float, draws: int = 1000
) -> tuple[float, float]:
    """5 and 95 % of the share under a bootstrap over blocks."""
    drawn = random.Random(0)
    found = sorted(
        share(drawn.choices(blocks, k=len(blocks)), step_seconds) for _ in range(draws)
    )
    return found[draws // 20], found[-draws // 20]


def ratio(blocks: Sequence[Cost], bare: Sequence[Cost], what: str) -> float:
    """Median over the rounds of a cost divided by the bare one of the same round."""
    pairs = zip(blocks, bare, strict=False)
    return median(one[what] / other[what] for one, other in pairs)


def report(costs: Costs) -> str:
    """The table of one workload, then what was aimed at."""
    bare = costs.blocks[BARE]
    step = {what: 1e3 * _step_seconds(bare, what) for what in ("thread", "wall")}
    title = f"{costs.about} (bare step: {step['thread']:.0f} ms of CPU on the training "
    title += f"thread, {step['wall']:.0f} ms wall)"
    shown = [name for name in costs.blocks if name not in (BARE, *costs.failed)]
    rows = [_row(name, costs.blocks, bare) for name in shown]
    failed = [
        f"{variants.ALL[name].title}: not measured: {why}"
        for name, why in costs.failed.items()
    ]
    return "\n".join([table(title, HEAD, rows), "", *_verdicts(costs), *failed])


def _step_seconds(blocks: Sequence[Cost], what: str) -> float:
    return median(block[what] / block["steps"] for block in blocks)


def _row(
    name: str, blocks: Mapping[str, list[Cost]], bare: Sequence[Cost]
) -> list[str]:
    own = blocks[name]
    step = _step_seconds(bare, "thread")
    low, high = interval(own, step)
    return [
        variants.ALL[name].title,
        f"{share(own, step):.2f}",
        f"{low:.2f}-{high:.2f}",
        f"{1e6 * sum(b['own'] for b in own) / sum(b['steps'] for b in own):,.0f}",
        f"{100 * ratio(own, bare, 'thread') - 100:+.1f} %",
        f"{100 * ratio(own, bare, 'process') - 100:+.1f} %",
        f"{ratio(own, bare, 'wall'):.3f}",
    ]


def _verdicts(costs: Costs) -> list[str]:
    """Surefoot's figures beside their targets, and what it says of itself."""
    lines: list[str] = []
    step = _step_seconds(costs.blocks[BARE], "thread")
    for name, target in TARGETS.items():
        own = costs.blocks.get(name)
        if not own:
            continue
        title = variants.ALL[name].title
        lines.append(f"{title}: {measured(share(own, step), target, '%')}")
        if variants.ALL[name].warm_up > 20:
            warm = costs.warm_up[name]
            first = share([warm], step)
            lines.append(f"  its first {warm['steps']} steps (burn-in): {first:.2f} %")
        told = [100 * block["own share"] for block in own if "own share" in block]
        if told:
            lines.append(f"  by its own meter: {sum(told) / len(told):.2f} %")
    return lines
