"""Values come in, words, short numbers and snippets of HTML for a notebook go out.

Imports nothing of ours and stands before the values, so that a value can show itself
in a notebook: what it needs of them it asks by name.

A snippet has no script and nothing from elsewhere, and every text is escaped: it is
safe in a notebook that is mailed on. It takes the notebook's own colours, and has
those of its severities twice, for light and dark.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Severity = Literal["info", "warning", "critical"]

_ORDER: tuple[Severity, ...] = ("critical", "warning", "info")
SIGNS: Mapping[str, str] = {"critical": "✗", "warning": "!", "info": "i"}
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"
    r"\u200e\u200f\u2028-\u202e\u2066-\u2069"  # turn the direction, end a line
    r"\ud800-\udfff]"  # half of a character: no encoding has it
)


def number(value: float) -> str:
    """Three significant digits; powers of ten outside 0.001 to 100,000.

    >>> number(3.14159e-9), number(12345), number(0.25), number(math.nan)
    ('3.14e-09', '12,345', '0.25', 'nan')
    """
    if not math.isfinite(value):
        return str(float(value))
    size = abs(value)
    if size >= 1e5 or 0 < size < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.3g}"


def distance(observed: float, bound: float) -> str:
    """How far an observed value lies from its bound; "" where that says nothing.

    >>> distance(2e-9, 1e-5), distance(7.0, 5.0)
    ('5,000 times below', '40% above')
    """
    if not (math.isfinite(observed) and math.isfinite(bound)) or observed == bound:
        return ""
    side = "above" if observed > bound else "below"
    if observed <= 0 or bound <= 0:
        return side
    ratio = max(observed / bound, bound / observed)
    if ratio < 2:
        return f"{abs(observed / bound - 1):.0%} {side}"
    return f"{number(float(f'{ratio:.2g}'))} times {side}"


def counted(count: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "seed"), counted(1200, "step")
    ('1 seed', '1,200 steps')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def clean(text: str) -> str:
    r"""Text of a record without what could steer a terminal or turn its direction.

    >>> clean("net.0\x1b[31m")
    'net.0�[31m'
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def spaced(name: str) -> str:
    """A name with its underscores as spaces."""
    words = name.replace("_", " ")
    return "non-finite value" if words == "nonfinite" else words


def sentence(name: str) -> str:
    """A name as the beginning of a sentence."""
    words = spaced(name)
    return words[:1].upper() + words[1:]


def headline_told(diagnosis: Any) -> str:
    """Cause, place and onset in one line."""
    place = "the whole run" if diagnosis.layer == "run" else diagnosis.layer
    return f"{sentence(diagnosis.cause)} in {place}, since step {diagnosis.onset:,}"


def worst_of(diagnosis: Any) -> Severity:
    """The worst severity among the findings."""
    found = {finding.severity for finding in diagnosis.findings}
    for one in _ORDER:
        if one in found:
            return one
    return "warning"


def change_told(change: Any) -> str:
    """One change in words."""
    amount = (
        number(change.amount)
        if isinstance(change.amount, int | float)
        else change.amount
    )
    signs = {"scale": " × ", "set": " → ", "add": " + "}
    sign = signs.get(change.op, f" {spaced(change.op)} ")
    where = f" in {', '.join(change.layers)}" if change.layers else ""
    return f"{spaced(change.knob)}{sign}{amount}{where}"


# --- snippets for a notebook ----------------------------------------------------

STYLE = """<style>
.surefoot{font:14px/1.45 system-ui,sans-serif;color:inherit;max-width:46em;
border-left:3px solid #6b7280;padding:.2em 0 .2em .9em;margin:.4em 0;
overflow-wrap:anywhere}
.surefoot p,.surefoot ul,.surefoot ol{margin:.25em 0;padding-left:1.3em}
.surefoot p{padding-left:0}
.surefoot .soft{opacity:.75}
.surefoot svg{display:block;margin:.3em 0}
.surefoot polyline{fill:none;stroke:#2f6fb0;stroke-width:1.5}
.surefoot line{stroke:#b4451f;stroke-width:1}
.surefoot.critical{border-color:#b4451f}.surefoot.warning{border-color:#8a6d00}
.surefoot.good{border-color:#2f6fb0}
@media (prefers-color-scheme:dark){.surefoot polyline{stroke:#7db4e6}
.surefoot line{stroke:#f0885f}.surefoot.critical{border-color:#f0885f}
.surefoot.warning{border-color:#d9b93b}.surefoot.good{border-color:#7db4e6}}
</style>"""


def diagnosis_html(diagnosis: Any) -> str:
    """One diagnosis: what, where, since when, on what evidence, and what to do."""
    severity = worst_of(diagnosis)
    doubt = "" if diagnosis.confirmed else ", unconfirmed: one signal alone"
    evidence = [one for finding in diagnosis.findings for one in finding.evidence]
    head = f"{SIGNS[severity]} {headline_told(diagnosis)}"
    parts = [
        f"<p><strong>{escaped(head)}</strong></p>",
        f"<p>{escaped(diagnosis.about)}</p>",
        f'<p class="soft">{severity}, confidence {diagnosis.confidence:.0%}{doubt}</p>',
        titled_list("Seen", "ul", [_evidence(one) for one in evidence]),
        titled_list("What to do", "ol", list(map(_remedy, diagnosis.prescriptions))),
    ]
    return framed("".join(parts), severity)


def titled_list(title: str, tag: str, items: Sequence[str]) -> str:
    """A list under a title; items are HTML already. "" where there are none."""
    if not items:
        return ""
    rows = "".join(f"<li>{item}</li>" for item in items)
    return f"<p><strong>{title}</strong></p><{tag}>{rows}</{tag}>"


def framed(body: str, tone: str) -> str:
    """A snippet with its style; the tone is a severity, or "good"."""
    return f'{STYLE}<div class="surefoot {tone}">{body}</div>'


def escaped(text: str) -> str:
    """Text of a record as HTML."""
    return html.escape(clean(text))


def _evidence(one: Any) -> str:
    far = distance(one.observed, one.bound)
    bound = f", bound {number(one.bound)}" + (f" ({far})" if far else "")
    told = number(one.observed) + (bound if math.isfinite(one.observed) else "")
    source = (
        f'<br><span class="soft">{escaped(one.source)}</span>' if one.source else ""
    )
    return f"{escaped(one.series)}: <strong>{escaped(told)}</strong>{source}"


def _remedy(one: Any) -> str:
    changes = "; ".join(map(change_told, one.changes))
    told = " ".join(filter(None, (one.advice, changes)))
    return f"<strong>{escaped(sentence(one.remedy))}</strong><br>{escaped(told)}"
