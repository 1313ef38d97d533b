"""TensorBoard beside the dashboard: the same numbers in, seconds and memory out."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from benchmarks.dashboard.records import big_record
from benchmarks.dashboard.served import (
    Server,
    children,
    cpu_seconds,
    memory_mb,
    quiet_environment,
)
from surefoot.record.export import export
from surefoot.record.reader import RecordReader

PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Ready:
    """What it costs until a server that is started answers for all of a run.

    `wall` and `cpu` in seconds, `memory` in MB; with all processes that it started.
    """

    wall: float
    cpu: float
    memory: float


def available() -> bool:
    """Whether TensorBoard is here to be measured."""
    return find_spec("tensorboard") is not None


def compare(steps: int, layers: int) -> tuple[Ready, Ready]:
    """Surefoot and TensorBoard on a record of so many steps and layers."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "own").mkdir()
        record = big_record(folder / "own" / "run.surefoot", steps, layers)
        with RecordReader(record) as reader:
            export(reader, "tensorboard", folder / "events")
        return _own(folder / "own"), _tensorboard(folder / "events", steps)


def _own(folder: Path) -> Ready:
    start = time.perf_counter()
    with Server(folder) as server:
        page = server.get("/api/run/run")
        wall = time.perf_counter() - start
        assert page["streams"][0]["panels"]["loss"]["x"]
        return Ready(wall, server.cpu_seconds(), server.memory_mb())


def _tensorboard(folder: Path, steps: int) -> Ready:
    start = time.perf_counter()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    with subprocess.Popen(
        [*command, "--port", "0", "--bind_all"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=quiet_environment(),
    ) as process:
        try:
            return _loaded(process, start, steps)
        finally:
            for pid in reversed(children(process.pid)):
                subprocess.run(["kill", str(pid)], check=False)


def _loaded(process: subprocess.Popen[str], start: float, steps: int) -> Ready:
    assert process.stderr is not None
    address = ""
    for line in process.stderr:
        if "http://" in line:
            address = "http://127.0.0.1:" + line.split(":")[-1].split("/")[0].split()[0]
            break
    tag = quote("loss/run")
    wanted = f"{address}/data/plugin/scalars/scalars?run=main&tag={tag}"
    while time.perf_counter() - start < PATIENCE_SECONDS:
        if _last_step(wanted) >= steps - 1:
            wall = time.perf_counter() - start
            pids = children(process.pid)
            cpu = sum(cpu_seconds(pid) for pid in pids)
            return Ready(wall, cpu, sum(memory_mb(pid) for pid in pids))
        time.sleep(0.05)
    raise RuntimeError(f"TensorBoard did not answer {wanted} with step {steps - 1}")


def _last_step(address: str) -> int:
    """The last step of a tag that TensorBoard knows by now; -1 if none."""
    import json

    try:
        with urllib.request.urlopen(address, timeout=30) as reply:
            return max((int(row[1]) for row in json.load(reply)), default=-1)
    except (OSError, urllib.error.URLError, ValueError):
        return -1
