"""A page for every signature: its name comes in, a page with its picture goes out.

What stands between the marks is written from the code; what stands between them and
is not marked, "Why it happens", is written by hand and kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from tools import planted, rules, views
from tools.tables import first_sentence, one_line, table

import cases
from surefoot.diagnosis.case import Cause
from surefoot.diagnosis.causes import page
from surefoot.record import quantities
from surefoot.remedies import prescribe
from surefoot.signatures import across, detect
from surefoot.testing.signatures import FACTS
from surefoot.types import Evidence, Finding

FOLDER = "signatures"
PLACEHOLDER = "## Why it happens\n\n"
MARKS = re.compile(r"(<!-- from the code: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
ANY = Finding("any", "0", 0, "info", (Evidence("any", 0.0, 0.0, "any"),))
WORDS = {
    "critical": "**critical**: the run is failing",
    "warning": "**warning**: the run is being harmed",
    "info": "*information*: true and harmless; it counts for or against the causes",
}
OF_EVENTS = ("wiring", "evaluation_mode", "evaluated", "half_precision", "nonfinite")
"""Symptoms that are read from events."""
MOST_CAUSES = 6
"""Causes that a page lists; a symptom that half of all causes can have says little."""


Pictures = Sequence[views.Picture]
"""The picture of a symptom, and those of its other kinds."""


@dataclass(frozen=True)
class Symptom:
    """What a page is about: a signature, or a comparison between streams."""

    name: str
    about: str
    looks_at: tuple[str, ...]
    sources: tuple[str, ...]
    severities: tuple[str, ...]

    @property
    def title(self) -> str:
        """Its name as a heading."""
        return self.name.replace("_", " ").capitalize()


def symptoms() -> tuple[Symptom, ...]:
    """All that there is a page of, in the order in which they are looked for."""
    own = [
        _symptom(one.name, one.about, (*one.needs, *one.uses), one.detect.__module__)
        for one in detect.ALL
    ]
    between = [
        _symptom(one.name, one.about, (), one.detect.__module__) for one in across.ALL
    ]
    return (*own, *between)


def _symptom(name: str, about: str, looks_at: tuple[str, ...], module: str) -> Symptom:
    held = vars(import_module(module))
    sources = tuple(text for key, text in held.items() if key.startswith("SOURCE"))
    return Symptom(name, about, looks_at, sources, rules.severities(module))


def skeleton(symptom: Symptom) -> str:
    """An empty page, to be written by `written` and by hand."""
    parts = [f"# {symptom.title}", _mark("top"), PLACEHOLDER.strip(), _mark("rest")]
    return "\n\n".join([*parts, ""])


def written(text: str, symptom: Symptom, shown: Pictures) -> str:
    """A page with its marked parts as the code has them."""
    parts = {"top": top(symptom, shown), "rest": rest(symptom, shown[0])}
    return MARKS.sub(lambda m: f"{m[1]}\n{parts[m[2]]}\n\n{m[3]}", text)


def by_hand(text: str) -> str:
    """What a person wrote on a page."""
    return MARKS.sub("", text).partition(PLACEHOLDER.strip())[2].strip()


def _mark(part: str) -> str:
    return f"<!-- from the code: {part} -->\n<!-- end -->"


# --- parts of a page --------------------------------------------------------------


def top(symptom: Symptom, shown: Pictures) -> str:
    """What it is, and what it looks like."""
    rows = [symptom.about, *_figure(shown[0], symptom.name)]
    for one in shown[1:]:
        rows += _figure(one, picture_name(symptom, one))
    return "\n\n".join(rows)


def picture_name(symptom: Symptom, shown: views.Picture) -> str:
    """The name of the file of a further picture."""
    return f"{symptom.name}-{shown.record.replace('_', '-')}"


def _figure(shown: views.Picture, file: str) -> list[str]:
    """The picture, its caption and its evidence."""
    finding = shown.finding
    where = "the whole run" if finding.layer == "run" else f"`{finding.layer}`"
    return [
        f"![{shown.told}](images/{file}.svg)",
        f"Left, a record with a planted fault: found in {where}, since step "
        f"{finding.onset}. Right, the same run without it.",
        *map(_evidence, finding.evidence),
    ]


def _evidence(one: Evidence) -> str:
    return (
        f"> {one_line(one.series)}: **{_number(one.observed)}**, "
        f"bound {_number(one.bound)}"
    )


def rest(symptom: Symptom, shown: views.Picture) -> str:
    """Bounds, severity, causes, look-alikes and remedies."""
    sections = [
        ("What it looks at", _quantities(symptom)),
        ("Bounds", "\n".join(f"- {_sentence(text)}." for text in symptom.sources)),
        ("Alarm or information", _severity(symptom, shown)),
        ("Causes it speaks for", _speaking(symptom)),
        ("Look-alikes", _look_alikes(symptom)),
        ("What helps", _remedies(symptom)),
    ]
    return "\n\n".join(f"## {head}\n\n{body}" for head, body in sections if body)


def _quantities(symptom: Symptom) -> str:
    if not symptom.looks_at and symptom.name in planted.GAMES:
        return "All streams of the run side by side: losses, updates and weights."
    rows = [
        f"- [`{name}`](../recorded.md): {quantities.named(name).about}"
        for name in symptom.looks_at
    ]
    if symptom.name in OF_EVENTS:
        rows.append("- the [events](../recorded.md) of the run")
    return "\n".join(rows)


def _severity(symptom: Symptom, shown: views.Picture) -> str:
    """What it can be, and what it is in the planted record when its loss changes."""
    can = [f"- {WORDS[name]}." for name in symptom.severities]
    said = f"The planted record above: {_bold(shown.finding.severity)}."
    told = [f"- {row}" for row in (said, *_other_losses(symptom))]
    return "\n".join(["It can be", "", *can, "", "Case by case:", "", *told])


def _other_losses(symptom: Symptom) -> list[str]:
    """How the same readings are judged beside a loss that falls, or does not."""
    if symptom.name in planted.GAMES or "loss" not in symptom.looks_at:
        return []
    if symptom.looks_at[0] == "loss":
        return []
    stream = planted.planted(symptom.name).faulty
    told = [
        (words, planted.findings(planted.with_loss(stream, change), symptom.name))
        for words, change in (
            ("falls as it should", cases.plain),
            ("stays at that of a guess", cases.guesses),
        )
    ]
    return [
        f"The same readings beside a loss that {words}: "
        f"{_bold(found[0].severity) if found else 'nothing'}."
        for words, found in told
    ]


def _bold(severity: str) -> str:
    return "*information*" if severity == "info" else f"**{severity}**"


def _speaking(symptom: Symptom) -> str:
    """The causes that the symptom speaks for, the most telling first."""
    found = rules.speaking_for(symptom.name)
    if not found:
        return (
            "None: it is shown beside the other findings, and no diagnosis rests on it."
        )
    rows = [(_linked(one), one_line(one.told_apart)) for one in found[:MOST_CAUSES]]
    shown = table(("cause", "how it is told from others"), rows)
    more = ", ".join(map(_linked, found[MOST_CAUSES:]))
    return f"{shown}\n\nAlso: {more}." if more else shown


def _look_alikes(symptom: Symptom) -> str:
    """Causes that show another symptom first and could be taken for this one."""
    found = rules.asking_for(symptom.name)
    if not found:
        return ""
    intro = (
        f"These causes are weighed against it: where *{symptom.title.lower()}* was "
        "found, or came first, they are less likely.\n\n"
    )
    rows = [(_linked(one), one_line(one.told_apart)) for one in found]
    return intro + table(("cause", "how it is told from others"), rows)


def _remedies(symptom: Symptom) -> str:
    """The remedies of the causes that it speaks for, each once."""
    causes = rules.speaking_for(symptom.name)[:MOST_CAUSES]
    names = list(dict.fromkeys(name for one in causes for name in one.remedies))
    rows = [
        (
            prescribe.ALL[name]((ANY,), FACTS).remedy,
            first_sentence(prescribe.ALL[name].__doc__),
            ", ".join(_linked(one) for one in causes if name in one.remedies),
        )
        for name in names
    ]
    if not rows:
        return ""
    more = "\n\nHow to try one: [Remedies](../remedies.md)."
    return table(("remedy", "what it does", "against"), rows) + more


def _sentence(text: str) -> str:
    line = one_line(text)
    return line if line.startswith("ln ") else line[:1].upper() + line[1:]


def _linked(cause: Cause) -> str:
    return f"[{cause.name}](../{page(cause.name)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def overview(found: Sequence[Symptom]) -> str:
    """A row for each symptom, with a link to its page."""
    rows = [
        (
            f"[{one.title}]({FOLDER}/{one.name}.md)",
            one.about,
            _looked_at(one),
        )
        for one in found
    ]
    return table(("signature", "what it says", "looks at"), rows)


def _looked_at(symptom: Symptom) -> str:
    if symptom.name in planted.GAMES:
        return "all streams"
    events = ["events"] if symptom.name in OF_EVENTS else []
    return ", ".join([*events, *(f"`{name}`" for name in symptom.looks_at[:3])])
