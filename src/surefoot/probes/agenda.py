"""Which probes run at which step: steps and costs come in, what is due goes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.probes.catalogue import Probe
from surefoot.probes.rhythm import Rhythm

NEVER_AGAIN = 2**62


class Agenda:
    """The probes of one stream, and which of them are due.

    `every` and `budget` are those of `Options`; `off` names probes that failed.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        *,
        every: int,
        budget: float | None,
        off: Mapping[str, str],
    ) -> None:
        self.probes = tuple(probes)
        self.rhythms = {p.name: _rhythm(p, every, budget) for p in probes}
        self._off = off
        self._due: set[str] = set()
        self._lagging: set[str] = set()

    def begin(self, step: int) -> None:
        """Find which probes are due at the coming step."""
        self._lagging = {
            p.name for p in self.probes if p.name in self._due and "pair" in p.needs
        }
        self._due = {
            probe.name
            for probe in self.probes
            if not probe.dense
            and probe.name not in self._off
            and self.rhythms[probe.name].due(step)
        }

    def runs(self, probe: Probe) -> bool:
        """Whether a probe runs at this step; one that compares two, one step late."""
        if probe.dense:
            return True
        return probe.name in (self._lagging if "pair" in probe.needs else self._due)

    def at(self, when: str) -> list[Probe]:
        """The probes that run at this moment of the step."""
        return [p for p in self.probes if p.when == when and self.runs(p)]

    @property
    def needs(self) -> set[str]:
        """What must be prepared for the probes that are due."""
        if not self._due:
            return set()
        return {need for p in self.probes if p.name in self._due for need in p.needs}

    def spent(self, probe: Probe, seconds: float, step_seconds: float) -> None:
        """Tell what a probe just cost, and what a bare step costs, CPU seconds."""
        if not probe.dense:
            self.rhythms[probe.name].spent(seconds, step_seconds)


def _rhythm(probe: Probe, every: int, budget: float | None) -> Rhythm:
    if probe.once:
        return Rhythm(every=NEVER_AGAIN, percent=None)
    share = None if budget is None else budget * probe.percent
    return Rhythm(every=every, percent=share, next_step=probe.first)
