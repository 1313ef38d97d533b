"""Notices come in; one Report goes out: as text, as JSON, or as an error.

Runs without torch.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from surefoot.preflight.catalogue import rule_of
from surefoot.preflight.sarif import sarif_log
from surefoot.types import Evidence

Level = Literal["error", "warning", "info"]

ORDER: Mapping[Level, int] = {"error": 0, "warning": 1, "info": 2}


class NotReadyError(AssertionError):
    """What is about to be trained has a flaw; the message is the report."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that was found before training.

    `id` is that of a rule in the catalogue, `layer` where it is ("run" for the whole),
    `layers` all that show it, `detail` one sentence on this very case.
    """

    id: str
    severity: Level
    layer: str
    detail: str
    evidence: tuple[Evidence, ...]
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a notice that nothing speaks for."""
        if not self.evidence:
            raise ValueError(
                f"notice {self.id} came without evidence; expected at least one "
                "Evidence; a check that has none must return no notice"
            )

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return rule_of(self.id).title

    @property
    def advice(self) -> str:
        """What to do about it, in one sentence."""
        return rule_of(self.id).advice

    @property
    def fingerprint(self) -> str:
        """What tells it from other notices from one version of a script to the next."""
        return f"{self.id}:{self.layer}"


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found, worst first; `skipped` says what was not checked, and why.

    `facts` are numbers worth knowing that are no flaw: the loss at the start, the
    largest stable learning rate, and the interval of rates to choose from.
    """

    findings: tuple[Notice, ...] = ()
    skipped: tuple[str, ...] = ()
    facts: Mapping[str, float] | None = None

    @property
    def ok(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return not self.flaws

    @property
    def flaws(self) -> tuple[Notice, ...]:
        """Errors and warnings."""
        return tuple(one for one in self.findings if one.severity != "info")

    def raise_if_errors(self) -> None:
        """Raise if an error was found; warnings pass.

        Raises:
            NotReadyError: with the whole report as its message.
        """
        if any(one.severity == "error" for one in self.findings):
            raise NotReadyError(str(self))

    def without(self, known: frozenset[str]) -> Report:
        """The report without flaws whose fingerprints are known and accepted."""
        kept = tuple(one for one in self.findings if one.fingerprint not in known)
        return Report(kept, self.skipped, self.facts)

    def to_json(self) -> str:
        """The report as JSON; numbers that are not finite become null."""
        body = {
            "ok": self.ok,
            "findings": [_row(one) for one in self.findings],
            "skipped": list(self.skipped),
            "facts": dict(self.facts or {}),
        }
        return json.dumps(_strict(body), indent=2)

    def to_sarif(self, script: str = "") -> str:
        """The report in SARIF 2.1.0, for the code scanning of a CI service."""
        rows = [_row(one) | {"fingerprint": one.fingerprint} for one in self.findings]
        return json.dumps(_strict(sarif_log(rows, script)), indent=2)

    def __str__(self) -> str:
        if not self.findings:
            return "\n".join(["ready: nothing was found", *self._remarks()])
        return "\n".join([*map(_told, self.findings), *self._remarks()])

    def _remarks(self) -> list[str]:
        facts = [f"  {name}: {value:.3g}" for name, value in (self.facts or {}).items()]
        return facts + [f"  not checked: {sentence}" for sentence in self.skipped]

    def _repr_html_(self) -> str:
        """The report in a notebook."""
        return f"<pre>{html.escape(str(self))}</pre>"


def _told(one: Notice) -> str:
    """One notice as text."""
    where = "" if one.layer == "run" else f" in {one.layer}"
    lines = [f"{one.severity} {one.id} {one.title}{where}", f"  {one.detail}"]
    lines += [
        f"  {e.series}: {e.observed:.3g} (bound {e.bound:.3g}; {e.source})"
        for e in one.evidence
    ]
    return "\n".join([*lines, f"  → {one.advice}"])


def _row(one: Notice) -> dict[str, Any]:
    return asdict(one) | {"title": one.title, "advice": one.advice}


def _strict(value: Any) -> Any:
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    if isinstance(value, dict):
        return {str(key): _strict(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(inner) for inner in value]
    return value
