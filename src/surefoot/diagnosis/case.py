"""One run before the judge: findings and facts come in, simple questions go out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from surefoot.signatures import network
from surefoot.types import Event, Facts, Finding

SATURATING = ("Sigmoid", "Tanh", "Softsign", "Hardtanh", "Hardsigmoid", "LogSigmoid")
RECTIFIED = ("ReLU", "ReLU6")
ALARMS = ("warning", "critical")
GREW = 100.0
"""Growth of the gradient before a non-finite value that makes it a victim."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that was found in one stream, and what is known about it.

    `traits` are numbers about the whole run, see `signatures.traits`.
    """

    findings: tuple[Finding, ...]
    facts: Facts
    events: Sequence[Event] = ()
    traits: Mapping[str, float] = field(default_factory=dict[str, float])

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

    @property
    def grew(self) -> bool:
        """Whether the gradient was growing when something became non-finite."""
        found = self.alarm("nonfinite")
        return found is not None and float(found.detail.get("growth", 1.0)) > GREW

    @property
    def sound_start(self) -> bool:
        """Whether the signal kept its size at the start: the init is not to blame."""
        fading = self.alarm("vanishing_gradients")
        full = self.alarm("saturation")
        # Both are seen in the forward pass before the first update.
        at_start = any(one is not None and one.onset == 0 for one in (fading, full))
        return self.alarm("activation_scale") is None and not at_start

    @property
    def adaptive(self) -> bool:
        """Whether the optimizer divides by the size of past gradients."""
        return "betas.1" in self.facts.options

    @property
    def attends(self) -> bool:
        """Whether the network is a transformer, by the names of its parts."""
        return network.attends(self.facts)

    @property
    def steps(self) -> int:
        """Updates made so far, 0 if unknown."""
        return int(self.traits.get("steps", 0))

    @property
    def warmed_up(self) -> bool:
        """Whether the learning rate rose at the start."""
        return self.traits.get("warm_up", 0.0) > 0

    @property
    def inputs_seen(self) -> bool:
        """Whether the inputs are numbers whose size was recorded, not tokens."""
        return self.traits.get("inputs_seen", 0.0) > 0

    @property
    def post_normalised(self) -> bool:
        """Whether each block of a transformer ends with its normalisation."""
        return self.attends and network.post_normalised(self.facts)

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


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a run does badly.

    `about` says in two sentences what it is, `told_apart` how it is told from its
    look-alikes, `remedies` names what helps (see `remedies.prescribe.ALL`), likeliest
    first, and `weigh` says what speaks for it in a given case.
    """

    name: str
    about: str
    told_apart: str
    remedies: tuple[str, ...]
    weigh: Callable[[Case], Account | None]
