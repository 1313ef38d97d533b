"""What is asked of a tool, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.curvature.problems import Problem


@dataclass(frozen=True, slots=True)
class Request:
    """One measurement: numbers that a quantity does not need are ignored.

    `truth` are eigenvalues that a tool's best setting may be chosen by.
    """

    quantity: str
    seed: int = 0
    k: int = 1
    tolerance: float = 1e-3
    products: int = 60
    steps: int = 40
    probes: int = 3
    points: int = 21
    truth: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Numbers found, products used, and the error that the tool states, if it does."""

    values: Sequence[float]
    products: int = 0
    error: float | None = None
    note: str = ""
    weights: Sequence[float] = ()


Task = Callable[[Problem, Request], Answer]
Tasks = Mapping[str, Task]
