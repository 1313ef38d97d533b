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
from xml.etree import ElementTree

import pytest
import torch
import typer.main
from tools import planted
from tools.signature_pages import Symptom

import cases
from source_code import PACKAGE, ROOT
from surefoot import (
    check_script,
    cli,
    landscape_script,
    replay_script,
    rescue_script,
    script,
)
from surefoot.dashboard import __main__ as dashboard
from surefoot.diagnosis import causes
from surefoot.diagnosis.case import Cause
from surefoot.diagnosis.diagnose import diagnose
from surefoot.preflight.explain import explain
from surefoot.signatures import across, detect
from surefoot.signatures.across import Comparison
from surefoot.types import Signature
from surefoot.zoo import __main__ as zoo

DOCS = ROOT / "docs"
ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = [*(ROOT / name for name in ROOT_PAGES), *sorted(DOCS.rglob("*.md"))]

OTHER_COMMANDS = ("cd", "git", "source", "ssh")
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
    if verb == "check":
        _check_script(check_script._parser().parse_args(arguments).script)
        return
    if verb == "landscape":
        _check_script(landscape_script._parsed(arguments).script)
        return
    if verb == "replay":
        own, _ = replay_script._split(arguments)
        _check_script(replay_script._parser().parse_args(own).script)
        return
    if verb == "rescue":
        _check_script(rescue_script._parser().parse_args(arguments).script)
        return
    if verb == "ui":
        dashboard._parser().parse_args(arguments)
        return
    if verb == "zoo":
        zoo._parser().parse_args(arguments)
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
SYMPTOMS = CATALOGUE.signature_pages.symptoms()
NEAR_PIXELS = 0.3
NEAR = 2e-3
"""Difference of a drawn number, and share of a written one, that may be rounding."""


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


def test_the_pages_of_the_signatures_are_what_the_code_says() -> None:
    old = [
        named(path)
        for path, new in CATALOGUE.signature_files()
        if not path.exists()
        or not _same(path.read_text("utf-8"), new, drawn=path.suffix == ".svg")
    ]
    assert not old, f"{old} are out of date; run: python tools/docs.py"


def _same(old: str, new: str, *, drawn: bool) -> bool:
    """Whether texts agree, their numbers up to rounding on another machine."""
    number = re.compile(r"-?\d+(?:\.\d+)?")
    if number.sub("#", old) != number.sub("#", new):
        return False
    pairs = zip(number.findall(old), number.findall(new), strict=True)
    near = NEAR_PIXELS if drawn else 0.0
    return all(
        abs(float(a) - float(b)) <= max(near, NEAR * abs(float(a))) for a, b in pairs
    )


def test_a_changed_page_is_seen() -> None:
    assert _same('x="10.1" since step 5', 'x="10.2" since step 5', drawn=True)
    assert not _same('x="10.1"', 'x="10.5"', drawn=True)
    assert not _same("bound 0.02", "bound 0.03", drawn=False)
    assert not _same("warning", "critical", drawn=False)


def test_every_signature_has_a_page_and_no_page_is_without_one() -> None:
    pages = {page.stem for page in CATALOGUE.PAGES.glob("*.md")}
    assert pages == {one.name for one in SYMPTOMS}
    drawn = {path.name for path in CATALOGUE.PAGES.glob("images/*.svg")}
    shown = {
        name
        for page in CATALOGUE.PAGES.glob("*.md")
        for name in re.findall(r"\(images/([\w-]+\.svg)\)", page.read_text("utf-8"))
    }
    assert drawn == shown


@pytest.mark.parametrize("symptom", SYMPTOMS, ids=lambda one: one.name)
def test_a_person_wrote_why_a_symptom_happens(symptom: Symptom) -> None:
    page = CATALOGUE.PAGES / f"{symptom.name}.md"
    words = CATALOGUE.signature_pages.by_hand(page.read_text(encoding="utf-8"))
    assert words.count(".") >= 2, (
        f"{named(page)} does not say why it happens; write it below that heading"
    )


@pytest.mark.parametrize("signature", detect.ALL, ids=lambda one: one.name)
def test_what_is_drawn_shows_the_symptom_on_the_left_only(signature: Signature) -> None:
    drawn = planted.planted(signature.name)
    again = planted.findings(drawn.faulty, signature.name)
    assert repr(drawn.finding) in map(repr, again)
    beside = planted.findings(drawn.healthy, signature.name)
    assert [one for one in beside if one.severity != "info"] == []


@pytest.mark.parametrize("comparison", across.ALL, ids=lambda one: one.name)
def test_what_is_drawn_of_a_comparison_shows_it(comparison: Comparison) -> None:
    drawn = planted.game(comparison.name)
    assert drawn.finding.signature == comparison.name
    sound = {one.facts.stream: one for one in drawn.healthy}
    assert across.across(sound) == []


@pytest.mark.parametrize("symptom", SYMPTOMS, ids=lambda one: one.name)
def test_a_picture_is_one_that_anybody_can_read(symptom: Symptom) -> None:
    path = CATALOGUE.PAGES / "images" / f"{symptom.name}.svg"
    root = ElementTree.parse(path).getroot()
    words = ["".join(one.itertext()) for one in root.iter() if "text" in one.tag]
    assert root.get("role") == "img"
    assert any(one.startswith("Planted: ") for one in words)
    assert "The same run without the fault" in words
    assert path.stat().st_size < 32_000
    colours = set(re.findall(r"#[0-9a-f]{6}", path.read_text(encoding="utf-8")))
    assert all(_stands_out(one, on) for one in colours for on in ("#ffffff", "#1e2129"))


def _stands_out(colour: str, ground: str) -> bool:
    """Whether lines in a colour are seen on a ground: WCAG asks for 3 to 1.

    Lines in the background of a picture may have a little less.
    """
    high, low = sorted(map(_luminance, (colour, ground)), reverse=True)
    return (high + 0.05) / (low + 0.05) > (2.5 if colour == "#9aa1ab" else 3.0)


def _luminance(colour: str) -> float:
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (
        x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_what_a_cause_weighs_is_read_from_its_rule() -> None:
    high = CATALOGUE.rules.rule("learning rate too high")
    assert {"overshoot", "update_ratio", "divergence"} <= high.speaks
    dead = CATALOGUE.rules.rule("dead ReLU")
    assert "dead_units" in dead.speaks
    assert "update_ratio" in dead.asked


def test_what_a_diagnosis_rests_on_is_what_its_page_says() -> None:
    told: list[str] = []
    for case in cases.faulty_cases():
        found = detect.detect(case.series, case.facts, case.events)
        for one in diagnose(found, case.facts, case.events):
            seen = {finding.signature for finding in one.findings}
            if not seen <= CATALOGUE.rules.rule(one.cause).speaks:
                told.append(f"{one.cause} on {case.name}: {sorted(seen)}")
    assert not told, told


@pytest.mark.parametrize("cause", causes.ALL, ids=lambda one: one.name)
def test_the_section_of_a_cause_is_there(cause: Cause) -> None:
    page, _, section = causes.page(cause.name).partition("#")
    heads = re.findall(r"^## (.*)$", (DOCS / page).read_text("utf-8"), re.MULTILINE)
    assert cause.name in heads
    assert re.fullmatch(r"[a-z0-9-]+", section)
    assert [causes.page(one) for one in heads].count(f"{page}#{section}") == 1


@pytest.mark.parametrize("known", [*SYMPTOMS, *causes.ALL], ids=lambda one: one.name)
def test_what_is_explained_leads_to_a_page(known: Symptom | Cause) -> None:
    told = re.findall(r"^Read on: (\S+\.md)", explain(known.name), re.MULTILINE)
    assert told
    assert all((ROOT / page).is_file() for page in told), told


def test_the_navigation_is_what_the_code_says() -> None:
    text = CATALOGUE.NAVIGATION.read_text(encoding="utf-8")
    assert CATALOGUE.navigation(text) == text, "run: python tools/docs.py"


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
