"""The library of building blocks comes in, a table of its public names goes out."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tools.tables import first_sentence, table

ROOT = Path(__file__).resolve().parent.parent

PACKAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("surefoot.nn.init", ("init",)),
    ("surefoot.nn.norm", ("norm", "recurrence")),
    ("surefoot.nn.flow", ("flow",)),
    ("surefoot.nn.regularize", ("regularize", "orthogonality")),
    ("surefoot.schedules", ("schedules",)),
    ("surefoot.gradients", ("gradients",)),
    ("surefoot.tasks.gan", ("gan",)),
    ("surefoot.tasks.rl", ("rl",)),
    ("surefoot.tasks.continual", ("continual",)),
    ("surefoot.tasks.multimodal", ("multimodal",)),
    ("surefoot.tasks.detection", ("detection-and-pose",)),
    ("surefoot.tasks.pose", ("detection-and-pose",)),
    ("surefoot.tasks.sequence", ("sequence",)),
)
"""Where names are imported from, and the pages that teach them."""


def blocks() -> str:
    """A section a package, a row for each public name."""
    return "\n\n".join(_section(name, pages) for name, pages in PACKAGES)


def corrections() -> str:
    """A line for each page of docs/corrections."""
    return "\n".join(
        f"- [{page.read_text(encoding='utf-8').splitlines()[0].removeprefix('# ')}]"
        f"(corrections/{page.name})"
        for page in sorted((ROOT / "docs" / "corrections").glob("*.md"))
    )


def _section(name: str, pages: tuple[str, ...]) -> str:
    links = ", ".join(f"[{page}](blocks/{page}.md)" for page in pages)
    module = importlib.import_module(name)
    rows = [
        (f"`{public}`", first_sentence(inspect.getdoc(getattr(module, public))))
        for public in public_names(module)
    ]
    return f"### `{name}`\n\n{links}\n\n{table(('name', 'what it is'), rows)}"


def public_names(module: ModuleType) -> Iterator[str]:
    """What a package offers: classes and functions, not types and constants."""
    for name in getattr(module, "__all__", sorted(vars(module))):
        value = getattr(module, name)
        own = value.__module__.startswith(module.__name__) if callable(value) else False
        if own and not name.startswith("_"):
            yield name
