"""Names of tools and of a problem come in, processes that answer requests go out."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from benchmarks.curvature.truths import Array

WORKER = "benchmarks.curvature.worker"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One answer of one tool, with what it cost and changed."""

    values: Array
    weights: Array
    products: int
    error: float | None
    note: str
    cpu: float
    extra: float
    changed: Sequence[str]


@dataclass
class Workers:
    """Processes of several tools at one problem; `log` keeps what each left changed."""

    problem: str
    tools: Sequence[str]
    log: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def __enter__(self) -> Self:
        environment = {**os.environ, **ONE_THREAD}
        self._processes = {
            tool: subprocess.Popen(
                [sys.executable, "-m", WORKER, tool, self.problem],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for tool in self.tools
        }
        # Nobody is measured while others start.
        for tool in self.tools:
            self._read(tool)
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes.values():
            process.communicate()

    def ask(self, tool: str, quantity: str, **request: Any) -> Measured:
        """The answer of one tool; a request that fails has a note and no values."""
        answer = self._answer(tool, quantity, **request)
        self.log[tool] |= set(answer.changed)
        return answer

    def training_step(self, tool: str) -> float:
        """CPU seconds of forward and backward; they change what training changes."""
        steps = 3
        asked = [self._answer(tool, "training step", probes=steps) for _ in range(5)]
        return statistics.median(one.cpu for one in asked) / steps

    def _answer(self, tool: str, quantity: str, **request: Any) -> Measured:
        stream = self._processes[tool].stdin
        assert stream is not None
        stream.write(json.dumps({"quantity": quantity, **request}) + "\n")
        stream.flush()
        answer = self._read(tool)
        arrays = {key: np.array(answer.pop(key)) for key in ("values", "weights")}
        return Measured(**arrays, **answer)

    def _read(self, tool: str) -> dict[str, Any]:
        stream = self._processes[tool].stdout
        assert stream is not None
        line = stream.readline()
        if not line:
            raise RuntimeError(f"{tool} at {self.problem} ended; see above")
        return json.loads(line)
