"""A name comes in, what is known about it goes out as text.

Names are ids and names of preflight's rules, signatures, and causes. Runs without
torch.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from surefoot.diagnosis import causes
from surefoot.preflight.catalogue import RULES
from surefoot.preflight.rule import Rule
from surefoot.remedies import prescribe
from surefoot.signatures import across, detect
from surefoot.types import Facts

WIDTH = 80


def explain(name: str) -> str:
    """What a rule, a symptom or a cause is, how it is told, and what to do.

    Raises:
        ValueError: nothing has this name; the message offers near ones.

    >>> print(explain("SF403").splitlines()[0])
    SF403 inputs-all-the-same: all examples of the batch have the same input
    """
    known = _all()
    found = known.get(_key(name))
    if found is None:
        near = difflib.get_close_matches(_key(name), known, n=5, cutoff=0.4)
        raise ValueError(
            f"{name!r} is the name of nothing; expected an id such as SF103, a "
            "signature or a cause"
            + (f"; near it: {', '.join(near)}" if near else "; see docs/preflight.md")
        )
    return found


def _all() -> Mapping[str, str]:
    """Texts by name; where a symptom and a cause share one, both are told."""
    found: dict[str, str] = {}
    for rule in RULES:
        found[_key(rule.id)] = found[_key(rule.name)] = _rule(rule)
    for name, about, needs in _symptoms():
        found[_key(name)] = _laid_out(
            f"{name}: a symptom in the record of a run",
            ("What it is", about),
            ("It is read from", needs),
            ("Read on", f"docs/signatures/{name}.md"),
        )
    for cause in causes.ALL:
        text = _laid_out(
            f"{cause.name}: a cause",
            ("What it is", cause.about),
            ("How it is told", cause.told_apart),
            ("What helps", _helps(cause.remedies)),
            ("Read on", f"docs/{causes.page(cause.name)}"),
        )
        both = [one for one in (found.get(_key(cause.name)), text) if one]
        found[_key(cause.name)] = "\n\n".join(both)
    return found


def _helps(remedies: Sequence[str]) -> str:
    """What the remedies of a cause say to a person, without a run to fit them to."""
    nothing = Facts()
    found = [prescribe.ALL[name]((), nothing) for name in remedies]
    return " ".join(one.advice or f"{one.remedy}." for one in found)


def _symptoms() -> Iterator[tuple[str, str, str]]:
    """Name, meaning, and what it is read from, of every symptom."""
    for one in detect.ALL:
        read = ", ".join((*one.needs, *one.uses))
        yield one.name, one.about, read or "the events of the run"
    for one in across.ALL:
        yield one.name, one.about, "all optimizers of the run side by side"


def _rule(rule: Rule) -> str:
    return _laid_out(
        f"{rule.id} {rule.name}: {rule.title}",
        ("What it is", rule.about),
        ("How it is told", rule.told),
        ("What to do", rule.advice),
        ("Source", rule.source or "the bound stands beside what was measured"),
    )


def _laid_out(title: str, *parts: tuple[str, str]) -> str:
    lines = [title]
    for head, text in parts:
        lines += ["", textwrap.fill(f"{head}: {text}", WIDTH)]
    return "\n".join(lines)


def _key(name: str) -> str:
    return name.strip().lower().replace("_", " ").replace("-", " ")
