"""The documentation is true: its code runs, its commands exist, its tables agree."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch
import typer.main

from source_code import PACKAGE, ROOT
from surefoot import cli, script

DOCS = ROOT / "docs"
ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = [*(ROOT / name for name in ROOT_PAGES), *sorted(DOCS.rglob("*.md"))]

OTHER_COMMANDS = ("cd", "git", "source")
"""Commands in the documentation that are not ours and need no check."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `line` is that of its fence."""

    page: Path
    line: int
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    fences = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [
        Block(page, text[: found.start()].count("\n") + 1, found[1], found[2])
        for found in fences
    ]


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# --- Python ---------------------------------------------------------------------

RUNNING = [
    page for page in PAGES if any(one.language == "python" for one in blocks(page))
]


@pytest.mark.parametrize("document", RUNNING, ids=named)
def test_the_code_of_a_page_runs_and_prints_what_it_says(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__page__"}
    found = blocks(document)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("error")
        for block in found:
            if block.language == "python":
                printed = _run(block, namespace)
                _agree(block, _shown_below(block, found), printed)


def _run(block: Block, namespace: dict[str, object]) -> str:
    """Run a block where its page left off; what it prints goes out."""
    place = f"{named(block.page)}"
    code = compile("\n" * block.line + block.text, place, "exec", dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, namespace)
    return printed.getvalue()


def _shown_below(block: Block, others: list[Block]) -> str:
    """The text block directly below a block of code; "" if there is none."""
    below = block.line + block.text.count("\n") + 3
    for other in others:
        if other.line == below and other.language == "text":
            return other.text
    return ""


def _agree(block: Block, shown: str, printed: str) -> None:
    same = doctest.OutputChecker().check_output(
        shown, printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    where = f"{named(block.page)}:{block.line}"
    assert same, f"{where} prints\n{printed}\nbut below it is shown:\n{shown}"


def test_the_pages_with_code_are_the_ones_that_teach() -> None:
    assert {"README.md", "docs/quick-start.md", "docs/records.md"} <= set(
        map(named, RUNNING)
    )


def test_the_diagnosis_in_the_readme_is_what_the_example_says(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "surefoot.script", "--folder", str(tmp_path)]
    done = subprocess.run(
        [*command, "examples/deep_plain_net.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    shown = next(
        one.text for one in blocks(ROOT / "README.md") if one.text.startswith("✗")
    )
    shown, _, _ = shown.partition("...")
    assert _without_numbers(shown) in _without_numbers(done.stderr)


def _without_numbers(text: str) -> str:
    """Words only: numbers differ a little between machines, and with them the lines."""
    return " ".join(re.sub(r"\d[\d.,]*(e[-+]?\d+)?", "#", text).split())


# --- commands -------------------------------------------------------------------


def commands() -> Iterator[tuple[str, str]]:
    """Where a command stands, and the command, for all of the documentation."""
    for page in PAGES:
        for block in blocks(page):
            if block.language != "console":
                continue
            for place, line in enumerate(block.text.splitlines(), start=1):
                if line.startswith("$ "):
                    yield f"{named(page)}:{block.line + place}", line[2:]


COMMANDS = list(commands())


@pytest.mark.parametrize(("where", "line"), COMMANDS, ids=[w for w, _ in COMMANDS])
def test_a_command_of_the_documentation_exists(where: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    name = Path(words[0]).name
    if name == "surefoot":
        _check_surefoot(words[1], words[2:])
    elif name == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(encoding="utf-8")
    elif name in ("python", "python3"):
        assert words[1] == "-m" or (ROOT / words[1]).is_file()
    elif name == "pip":
        _check_extras(line)
    elif name in ("pytest", "ruff", "pyright", "pre-commit"):
        paths = [word for word in words[1:] if "/" in word]
        assert all((ROOT / path).exists() for path in paths), paths
    else:
        assert name in OTHER_COMMANDS


def _check_surefoot(verb: str, arguments: list[str]) -> None:
    """A verb and its options, as the command line itself takes them."""
    if verb == "run":
        told = script._parser().parse_args(arguments)
        _check_script(told.script)
        return
    group = typer.main.get_command(cli.app)
    assert isinstance(group, typer.core.TyperGroup)
    command = group.commands[verb]
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    known = {option for one in command.params for option in one.opts}
    assert {word for word in own if word.startswith("-")} <= known
    context = command.make_context(verb, list(arguments))
    _check_script(str(context.params.get("script", "")))


def _check_script(path: str) -> None:
    """Scripts of ours must be there; `train.py` stands for the reader's own."""
    assert path in ("", "train.py") or (ROOT / path).is_file(), path


def _check_extras(line: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for extras in re.findall(r"\[([\w,]+)\]", line):
        assert (
            set(extras.split(",")) <= project["project"]["optional-dependencies"].keys()
        )


def test_commands_are_found() -> None:
    lines = [line for _, line in COMMANDS]
    assert "make demo" in lines
    assert "make test" in lines
    assert any(line.startswith("surefoot run ") for line in lines)


@pytest.mark.parametrize(
    "line",
    [
        "surefoot observe",
        "surefoot diagnose --deep",
        "surefoot run --loud train.py",
        "surefoot run examples/absent.py",
        "surefoot try --metrik accuracy train.py",
        "make coffee",
        'pip install "surefoot[everything]"',
        "curl example.org",
    ],
)
def test_a_command_that_does_not_exist_is_seen(line: str) -> None:
    with pytest.raises((AssertionError, KeyError, SystemExit)):
        test_a_command_of_the_documentation_exists("here", line)


# --- what is written from the code ----------------------------------------------


def _catalogue() -> ModuleType:
    spec = spec_from_file_location("write_docs", ROOT / "tools" / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CATALOGUE = _catalogue()


@pytest.mark.parametrize("document", sorted(DOCS.glob("*.md")), ids=named)
def test_the_catalogue_is_what_the_code_says(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert CATALOGUE.written(text) == text, (
        f"{named(document)} is out of date; run: python tools/docs.py"
    )


def test_every_part_of_the_catalogue_is_on_a_page() -> None:
    shown = [
        part
        for page in DOCS.glob("*.md")
        for part in CATALOGUE.parts_of(page.read_text(encoding="utf-8"))
    ]
    assert sorted(shown) == sorted(CATALOGUE.PARTS)


# --- words ----------------------------------------------------------------------


@pytest.mark.parametrize("document", PAGES, ids=named)
def test_files_that_a_page_names_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    told = re.findall(r"`((?:\.?\w[\w.-]*/)*[\w.-]+\.(?:py|md|yml|toml|txt))`", text)
    own = [name for name in told if name != "train.py"]
    absent = [
        name
        for name in own
        if not any((top / name).exists() for top in (ROOT, PACKAGE))
    ]
    assert not absent, absent


@pytest.mark.parametrize("document", PAGES, ids=named)
def test_links_of_a_page_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", text)
    absent = [
        link
        for link in links
        if "://" not in link and not (document.parent / link).exists()
    ]
    assert not absent, absent


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8"))
    assert sorted(listed) == sorted(page.name for page in DOCS.rglob("*.md"))
