"""The package's own source comes in, modules, functions and imports go out."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "surefoot"

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One file of the package."""

    path: Path
    text: str

    @property
    def where(self) -> str:
        """The path below src/surefoot, as in "record/reader.py"."""
        return self.path.relative_to(PACKAGE).as_posix()

    @property
    def module(self) -> str:
        """The dotted name, as in "surefoot.record.reader"."""
        parts = self.path.relative_to(PACKAGE.parent).with_suffix("").parts
        return ".".join(part for part in parts if part != "__init__")

    @property
    def unit(self) -> str:
        """The folder or file below surefoot that it belongs to, as in "record"."""
        return self.where.partition("/")[0].removesuffix(".py")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @cached_property
    def lines(self) -> frozenset[int]:
        """Numbers of the lines that hold code: no blanks, comments or docstrings."""
        found: set[int] = set()
        silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER)
        shape = (tokenize.INDENT, tokenize.DEDENT)
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in (*silent, *shape):
                found.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(self.tree):
            if is_text(node):
                found.difference_update(range(node.lineno, node.end_lineno + 1))
        return frozenset(found)

    def place(self, node: ast.AST) -> str:
        """Where a node stands, as in "record/reader.py:12"."""
        return f"{self.where}:{getattr(node, 'lineno', 0)}"


@dataclass(frozen=True)
class Function:
    """A function or method; `owner` is the class that it stands in, or None.

    `public` means that neither it nor anything around it begins with "_".
    """

    source: Source
    node: FunctionNode
    owner: ast.ClassDef | None
    public: bool

    @property
    def name(self) -> str:
        """The place and name, as in "record/reader.py:RecordReader.close"."""
        prefix = f"{self.owner.name}." if self.owner else ""
        return f"{self.source.where}:{prefix}{self.node.name}"

    @property
    def code_lines(self) -> int:
        span = range(self.node.lineno, self.node.end_lineno + 1)
        return len(self.source.lines & set(span))

    @property
    def positional(self) -> list[str]:
        """Arguments that may be given by position, without self and cls."""
        names = [one.arg for one in (*self.node.args.posonlyargs, *self.node.args.args)]
        static = any(
            isinstance(one, ast.Name) and one.id == "staticmethod"
            for one in self.node.decorator_list
        )
        return names[1:] if self.owner is not None and not static else names

    @property
    def arguments(self) -> list[str]:
        return [*self.positional, *(one.arg for one in self.node.args.kwonlyargs)]


def is_text(node: ast.AST) -> bool:
    """Whether a statement is a text that stands alone, as docstrings do."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def sources() -> list[Source]:
    """All files of the package."""
    found = sorted(PACKAGE.rglob("*.py"))
    return [Source(path, path.read_text(encoding="utf-8")) for path in found]


def functions(source: Source) -> Iterator[Function]:
    """All functions of a file, inner ones too."""
    yield from _functions(source, source.tree, owner=None, public=True)


def classes(source: Source) -> Iterator[ast.ClassDef]:
    """All classes of a file."""
    return (one for one in ast.walk(source.tree) if isinstance(one, ast.ClassDef))


def _functions(
    source: Source, parent: ast.AST, *, owner: ast.ClassDef | None, public: bool
) -> Iterator[Function]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, FunctionNode):
            open_ = public and not node.name.startswith("_")
            yield Function(source, node, owner, open_)
            yield from _functions(source, node, owner=None, public=False)
        elif isinstance(node, ast.ClassDef):
            open_ = public and not node.name.startswith("_")
            yield from _functions(source, node, owner=node, public=open_)
        else:
            yield from _functions(source, node, owner=owner, public=public)


def imported(source: Source, known: set[str]) -> set[str]:
    """Modules of the package that a file imports, also for annotations only.

    `known` are the names of all modules: `from surefoot.signatures import network`
    imports a module, `from surefoot.types import Event` a name.
    """
    found: set[str] = set()
    for node in ast.walk(source.tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{one.name}" for one in node.names]
        for name in names:
            full = name if name in known else name.rpartition(".")[0]
            if full in known:
                found.add(full)
    return found - {source.module}


def packages_imported(source: Source) -> set[str]:
    """Top-level packages that a file imports, as in "torch"."""
    found: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found
