"""The catalogue in docs/ is written from the code: nothing comes in, pages go out.

    python tools/docs.py

Rewrites what stands between the marks `<!-- from the code: NAME -->` and `<!-- end -->`
of each page, the page and the picture of every signature, and the list of those pages
in mkdocs.yml. A test fails where one of them is out of date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # run as a file, it finds its neighbours and the cases
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tools import block_pages, cause_pages, rules, signature_pages, views, zoo_pages  # noqa: E402
from tools.signature_pages import ANY  # noqa: E402
from tools.tables import decapitalised, first_sentence, one_line, table  # noqa: E402

from surefoot.autopilot.apply import KNOBS  # noqa: E402
from surefoot.diagnosis import causes  # noqa: E402
from surefoot.preflight.catalogue import RULES  # noqa: E402
from surefoot.probes import catalogue  # noqa: E402
from surefoot.record import quantities  # noqa: E402
from surefoot.remedies import prescribe  # noqa: E402
from surefoot.testing.signatures import FACTS  # noqa: E402

DOCS = ROOT / "docs"
PAGES = DOCS / signature_pages.FOLDER
NAVIGATION = ROOT / "mkdocs.yml"

_PART = signature_pages.MARKS
_LISTED = re.compile(r"(# from the code: signatures\n).*?( *# end\n)", re.DOTALL)


def recorded() -> str:
    """A row for each quantity."""
    rows = [
        (f"`{one.name}`", one.about, one.unit or "–", one.axis)
        for one in quantities.ALL
    ]
    return table(("quantity", "what it is", "unit", "one value a"), rows)


def probes() -> str:
    """A row for each probe."""
    rows = [
        (
            one.name,
            "every step" if one.dense else "every 10 steps",
            "–" if one.dense else f"{one.percent:g} %",
            first_sentence(one.read.__doc__),
        )
        for one in catalogue.ALL
    ]
    heads = ("probe", "runs", "CPU share at most", "what it returns")
    return table(heads, rows)


def signatures() -> str:
    """A row for each signature, with a link to its page."""
    return signature_pages.overview(signature_pages.symptoms())


def all_causes() -> str:
    """A section for each cause."""
    parts = [
        f"## {one.name}\n\n{one_line(one.about)}\n\n"
        f"- Told from its look-alikes: {decapitalised(one_line(one.told_apart))}\n"
        f"- Symptoms: {_symptoms(one.name) or 'none of those below'}.\n"
        f"- Remedies: {', '.join(_named(name) for name in one.remedies)}."
        for one in causes.ALL
    ]
    return "\n\n".join(parts)


def _symptoms(cause: str) -> str:
    """Links to the signatures that speak for a cause, in the order of the tuple."""
    speaks = rules.rule(cause).speaks
    return ", ".join(
        f"[{one.title.lower()}]({signature_pages.FOLDER}/{one.name}.md)"
        for one in signature_pages.symptoms()
        if one.name in speaks
    )


def remedies() -> str:
    """A row for each remedy."""
    rows = [
        (
            _named(name),
            first_sentence(make.__doc__),
            "yes" if make((ANY,), FACTS).changes else "advice",
            make((ANY,), FACTS).source,
        )
        for name, make in prescribe.ALL.items()
    ]
    heads = ("remedy", "what it does", "can be tried", "source")
    return table(heads, rows)


def checks() -> str:
    """A row for each rule of preflight."""
    rows = [
        (f"`{one.id}`", one.title, one_line(one.told), one_line(one.advice))
        for one in RULES
    ]
    return table(("id", "what is wrong", "how it is told", "what to do"), rows)


def knobs() -> str:
    """A row for each knob."""
    rows = [
        (f"`{knob}`", f"`{op}`", first_sentence(action.__doc__))
        for knob, op, action in KNOBS
    ]
    return table(("knob", "op", "what it does"), rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "blocks": block_pages.blocks,
    "corrections": block_pages.corrections,
    "recorded": recorded,
    "probes": probes,
    "signatures": signatures,
    "causes": all_causes,
    "remedies": remedies,
    "knobs": knobs,
    "look_alikes": cause_pages.look_alikes,
    "same_jump": cause_pages.same_jump,
    "producers": cause_pages.producers,
    "phases": cause_pages.phases,
    "sure": cause_pages.sure,
    "claims": zoo_pages.claims,
    "faults": zoo_pages.faults,
    "homes": zoo_pages.homes,
    "controls": zoo_pages.controls,
    "checks": checks,
}


def written(text: str) -> str:
    """A page with all its marked parts as the code has them.

    Raises:
        KeyError: a mark names a part that there is not.
    """
    return _PART.sub(lambda m: f"{m[1]}\n{PARTS[m[2]]()}\n\n{m[3]}", text)


def parts_of(text: str) -> list[str]:
    """Names of the marked parts of a page."""
    return [match[1] for match in _PART.findall(text)]


# --- words ----------------------------------------------------------------------


def _named(remedy: str) -> str:
    """What a remedy is called in a prescription."""
    return prescribe.ALL[remedy]((ANY,), FACTS).remedy


def navigation(text: str) -> str:
    """mkdocs.yml with a line for the page of each signature."""
    match = _LISTED.search(text)
    if match is None:
        raise ValueError("mkdocs.yml lacks the marks of the signatures' pages")
    indent = re.match(" *", match[2])
    rows = [
        f"{indent[0] if indent else ''}- {one.title}: "
        f"{signature_pages.FOLDER}/{one.name}.md\n"
        for one in signature_pages.symptoms()
    ]
    return _LISTED.sub(lambda m: m[1] + "".join(rows) + m[2], text)


def signature_files() -> Iterator[tuple[Path, str]]:
    """The page and the picture of each signature, as the code has them."""
    for one in signature_pages.symptoms():
        shown = (views.picture(one.name), *views.more_pictures(one.name))
        path = PAGES / f"{one.name}.md"
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        text = old or signature_pages.skeleton(one)
        yield path, signature_pages.written(text, one, shown)
        yield PAGES / "images" / f"{one.name}.svg", shown[0].svg
        for more in shown[1:]:
            name = signature_pages.picture_name(one, more)
            yield PAGES / "images" / f"{name}.svg", more.svg


def files() -> Iterator[tuple[Path, str]]:
    """Every file that is written from the code, with its text."""
    for page in sorted(DOCS.glob("*.md")):
        yield page, written(page.read_text(encoding="utf-8"))
    yield from signature_files()
    yield NAVIGATION, navigation(NAVIGATION.read_text(encoding="utf-8"))


def main() -> None:
    """Write all files anew, and name those that changed."""
    (PAGES / "images").mkdir(parents=True, exist_ok=True)
    for path, new in files():
        old = path.read_text(encoding="utf-8") if path.exists() else None
        if new != old:
            path.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
