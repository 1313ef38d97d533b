"""Readings whose truth can be recomputed from their step and layer alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from surefoot.record.reader import RecordReader
from surefoot.types import Series

Truth = Callable[..., np.ndarray]
Block = Callable[..., Series]


def _truth(steps: np.ndarray, layers: int, salt: int = 0) -> np.ndarray:
    grid = np.asarray(steps)[:, None] * 1000.0 + np.arange(layers)[None, :] + salt
    return np.sin(grid).astype(np.float32)


def _block(
    quantity: str = "grad_norm",
    first: int = 0,
    count: int = 50,
    layers: int = 4,
    stream: str = "main",
) -> Series:
    steps = np.arange(first, first + count, dtype=np.int64)
    names = tuple(f"net.{index}.weight" for index in range(layers))
    return Series(quantity, names, steps, _truth(steps, layers, len(quantity)), stream)


def _assert_true(series: Series) -> None:
    """Every reading is the one that `block` makes for its step, and steps rise."""
    assert np.all(np.diff(series.steps) > 0)
    expected = _truth(series.steps, len(series.layers), len(series.quantity))
    np.testing.assert_array_equal(series.values, expected)


@pytest.fixture
def block() -> Block:
    """A function `(quantity, first, count, layers, stream)` to a true block."""
    return _block


@pytest.fixture
def assert_true() -> Callable[[Series], None]:
    """Checks that a series of such blocks is right, bit for bit."""
    return _assert_true


@pytest.fixture
def read() -> Iterator[Callable[..., RecordReader]]:
    """Opens records and closes them after the test."""
    readers: list[RecordReader] = []

    def opened(path: str | Path) -> RecordReader:
        readers.append(RecordReader(path))
        return readers[-1]

    yield opened
    for reader in readers:
        reader.close()


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `python -c code args…` with pipes; killed after the test."""
    processes: list[subprocess.Popen[str]] = []

    def started(code: str, *args: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.communicate()
