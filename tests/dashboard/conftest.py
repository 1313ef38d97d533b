"""Folders of records, the application asked in memory, and real servers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from served import Asked, News, Served, write_judged_run


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ended runs with their last word, one healthy and one broken; not to be
    changed."""
    runs = tmp_path_factory.mktemp("two_runs") / "runs"
    runs.mkdir()
    write_judged_run(runs, "healthy")
    write_judged_run(runs, "broken", broken=True)
    return runs


@pytest.fixture
def folder(two_runs: Path, tmp_path: Path) -> Path:
    """A copy of the two runs that a test may change."""
    return Path(shutil.copytree(two_runs, tmp_path / "runs"))


@pytest.fixture(scope="session")
def answering(two_runs: Path) -> Iterator[Asked]:
    """The application of the two runs."""
    made = Asked(two_runs)
    yield made
    made.close()


@pytest.fixture
def asked() -> Iterator[Callable[[Path], Asked]]:
    """Makes the application of a folder; ended after the test."""
    made: list[Asked] = []

    def ask(folder: Path) -> Asked:
        made.append(Asked(folder))
        return made[-1]

    yield ask
    for one in made:
        one.close()


@pytest.fixture
def served() -> Iterator[Callable[..., Served]]:
    """Starts servers; killed after the test."""
    made: list[Served] = []

    def serve(*arguments: object) -> Served:
        # Any free port: tests side by side take the usual one from each other.
        port = [] if "--port" in arguments else ["--port", 0]
        made.append(Served(*arguments, *port, "--no-browser"))
        return made[-1]

    yield serve
    for one in made:
        one.kill()


@pytest.fixture
def news() -> Iterator[Callable[..., News]]:
    """Opens streams of news; closed after the test."""
    made: list[News] = []

    def follow(server: Served, run: str | None = None) -> News:
        made.append(News(server, run))
        return made[-1]

    yield follow
    for one in made:
        one.close()
