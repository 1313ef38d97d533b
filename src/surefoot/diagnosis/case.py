"""One run before the judge: findings and facts come in, simple questions go out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from surefoot.types import Event, Facts, Finding

SATURATING = ("Sigmoid", "Tanh", "Softsign", "Hardtanh", "Hardsigmoid", "LogSigmoid")
RECTIFIED = ("ReLU", "ReLU6")
ALARMS = ("warning", "critical")


@dataclass(frozen=True, slots=True)
class Case:
    """All that was found in one stream, and what is known about it."""

    findings: tuple[Finding, ...]
    facts: Facts
    events: Sequence[Event] = ()

    def alarm(self, signature: str, kind: str = "") -> Finding | None:
        """The first finding of a signature that is bad enough for an alarm."""
        return self._first(signature, kind, ALARMS)

    def sign(self, signature: str, kind: str = "") -> Finding | None:
        """The first finding of a signature, however harmless on its own."""
        return self._first(signature, kind, ("info", *ALARMS))

    def alarms(self, *signatures: str) -> tuple[Finding, ...]:
        """The alarms of some signatures, those that were found."""
        found = (self.alarm(name) for name in signatures)
        return tuple(finding for finding in found if finding is not None)

    def ratio(self, name: str) -> float:
        """Largest ratio of that name around the onset of any alarm (see context)."""
        alarms = [f for f in self.findings if f.severity in ALARMS]
        return max((float(f.detail.get(name, 1.0)) for f in alarms), default=1.0)

    def hidden(self, kinds: Sequence[str]) -> int:
        """Number of modules of some kinds."""
        return sum(module.kind in kinds for module in self.facts.modules)

    @property
    def normalised(self) -> bool:
        """Whether the network has normalisation layers."""
        return any("Norm" in module.kind for module in self.facts.modules)

    def _first(
        self, signature: str, kind: str, severities: Sequence[str]
    ) -> Finding | None:
        for finding in self.findings:
            fits = not kind or finding.detail.get("kind") == kind
            same = finding.signature == signature and fits
            if same and finding.severity in severities:
                return finding
        return None


@dataclass(frozen=True, slots=True)
class Account:
    """What speaks for a cause: how much (0 to 1), and which findings it explains."""

    confidence: float
    findings: tuple[Finding, ...]
    layer: str = ""
    onset: int | None = None
    confirmed: bool | None = None


def account(
    confidence: float,
    *findings: Finding | None,
    layer: str = "",
    onset: int | None = None,
    confirmed: bool | None = None,
) -> Account:
    """An account of the findings that are there."""
    held = tuple(dict.fromkeys(id(f) for f in findings if f is not None))
    by_id = {id(f): f for f in findings if f is not None}
    kept = tuple(by_id[i] for i in held)
    return Account(confidence, kept, layer, onset, confirmed)
