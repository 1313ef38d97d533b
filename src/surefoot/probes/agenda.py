"""Which probes run at which step: steps and costs come in, what is due goes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.probes.catalogue import Probe
from surefoot.probes.rhythm import Doubling, Rhythm

NEVER_AGAIN = 2**62

HISTOGRAM_PERCENT = 0.02
"""Share of the training thread's CPU time that histograms may take in a long run."""


class Agenda:
    """The probes of one stream, and which of them are due.

    `every` and `budget` are those of `Options`; `off` names probes that failed. At
    most steps nothing but the dense probes runs, and little is done to find that out.
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
        self.rhythms = {
            p.name: _rhythm(p, every, budget) for p in probes if not p.dense
        }
        self.needs: frozenset[str] = frozenset()
        """What must be prepared for the probes that are due."""
        self._dense = {
            when: [p for p in probes if p.dense and p.when == when]
            for when in ("before", "after", "told")
        }
        self._off = off
        self._due: frozenset[str] = frozenset()
        self._lagging: frozenset[str] = frozenset()

    def begin(self, step: int) -> None:
        """Find which probes are due at the coming step."""
        self._lagging = self._due
        if all(step < rhythm.next_step for rhythm in self.rhythms.values()):
            self._due = self.needs = frozenset()
            return
        due = [
            probe
            for probe in self.probes
            if not probe.dense
            and probe.name not in self._off
            and self.rhythms[probe.name].due(step)
        ]
        self._due = frozenset(probe.name for probe in due)
        self.needs = frozenset(need for probe in due for need in probe.needs)

    def at(self, when: str) -> list[Probe]:
        """The probes that run at this moment of the step.

        One that compares two updates runs one step after it was due.
        """
        if not self._due and not self._lagging:
            return self._dense[when]
        return [
            probe
            for probe in self.probes
            if probe.when == when and (probe.dense or self._runs(probe))
        ]

    def spent(self, probe: Probe, seconds: float, step_seconds: float) -> None:
        """Tell what a probe just cost, and what a bare step costs, CPU seconds."""
        if not probe.dense:
            self.rhythms[probe.name].spent(seconds, step_seconds)

    def _runs(self, probe: Probe) -> bool:
        late = "pair" in probe.needs
        return probe.name in (self._lagging if late else self._due)


def _rhythm(probe: Probe, every: int, budget: float | None) -> Rhythm:
    if probe.once:
        return Rhythm(every=NEVER_AGAIN, percent=None)
    share = None if budget is None else budget * probe.percent
    return Rhythm(every=every, percent=share, next_step=probe.first)


def doubling(budget: float | None) -> Doubling:
    """When histograms are taken: their share scaled by a budget; never if that is 0."""
    if budget == 0:
        return Doubling(next_step=NEVER_AGAIN)
    return Doubling(percent=None if budget is None else HISTOGRAM_PERCENT * budget)
