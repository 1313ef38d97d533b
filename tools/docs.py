"""The catalogue in docs/ is written from the code: nothing comes in, pages go out.

    python tools/docs.py

Rewrites what stands between the marks `<!-- from the code: NAME -->` and `<!-- end -->`
of each page. A test fails where a page is out of date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from surefoot.autopilot.apply import KNOBS
from surefoot.diagnosis import causes
from surefoot.probes import catalogue
from surefoot.record import quantities
from surefoot.remedies import prescribe
from surefoot.signatures import detect
from surefoot.testing.signatures import FACTS
from surefoot.types import Evidence, Finding, Signature

DOCS = Path(__file__).resolve().parent.parent / "docs"

_PART = re.compile(r"(<!-- from the code: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

_ANY = Finding("any", "0", 0, "info", (Evidence("any", 0.0, 0.0, "any"),))


def recorded() -> str:
    """A row for each quantity."""
    rows = [
        (f"`{one.name}`", one.about, one.unit or "–", one.axis)
        for one in quantities.ALL
    ]
    return _table(("quantity", "what it is", "unit", "one value a"), rows)


def probes() -> str:
    """A row for each probe."""
    rows = [
        (
            one.name,
            "every step" if one.dense else "every 10 steps",
            "–" if one.dense else f"{one.percent:g} %",
            _first_sentence(one.read.__doc__),
        )
        for one in catalogue.ALL
    ]
    heads = ("probe", "runs", "CPU share at most", "what it returns")
    return _table(heads, rows)


def signatures() -> str:
    """A section for each signature."""
    return "\n\n".join(map(_signature, detect.ALL))


def _signature(one: Signature) -> str:
    looked_at = [f"`{name}`" for name in (*one.needs, *one.uses)]
    module = import_module(one.detect.__module__)
    sources = [text for name, text in vars(module).items() if name.startswith("SOURCE")]
    lines = [
        f"## {one.name}",
        "",
        one.about,
        "",
        f"- Looks at {', '.join(looked_at) or 'the parameters'}.",
        *(f"- Bound: {_one_line(text)}." for text in sources),
    ]
    return "\n".join(lines)


def all_causes() -> str:
    """A section for each cause."""
    parts = [
        f"## {one.name}\n\n{_one_line(one.about)}\n\n"
        f"- Told from its look-alikes: {_decapitalised(_one_line(one.told_apart))}\n"
        f"- Remedies: {', '.join(_named(name) for name in one.remedies)}."
        for one in causes.ALL
    ]
    return "\n\n".join(parts)


def remedies() -> str:
    """A row for each remedy."""
    rows = [
        (
            _named(name),
            _first_sentence(make.__doc__),
            "yes" if make((_ANY,), FACTS).changes else "advice",
            make((_ANY,), FACTS).source,
        )
        for name, make in prescribe.ALL.items()
    ]
    heads = ("remedy", "what it does", "can be tried", "source")
    return _table(heads, rows)


def knobs() -> str:
    """A row for each knob."""
    rows = [
        (f"`{knob}`", f"`{op}`", _first_sentence(action.__doc__))
        for knob, op, action in KNOBS
    ]
    return _table(("knob", "op", "what it does"), rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "recorded": recorded,
    "probes": probes,
    "signatures": signatures,
    "causes": all_causes,
    "remedies": remedies,
    "knobs": knobs,
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
    return prescribe.ALL[remedy]((_ANY,), FACTS).remedy


def _first_sentence(doc: str | None) -> str:
    return _one_line((doc or "").strip().partition("\n\n")[0])


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _decapitalised(text: str) -> str:
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (heads, *rows)]
    return "\n".join([lines[0], "|" + "-|" * len(heads), *lines[1:]])


def main() -> None:
    """Write all pages anew, and name those that changed."""
    for page in sorted(DOCS.glob("*.md")):
        old = page.read_text(encoding="utf-8")
        new = written(old)
        if new != old:
            page.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{page.relative_to(DOCS.parent)}\n")


if __name__ == "__main__":
    main()
