"""What is prepared for probes: the needs of a step come in, what was seen goes out.

An instrument is armed for one step at a time and leaves no hook on a module
otherwise. It keeps what it saw until the probe that asked for it runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch

from surefoot.probes.activations import Tap
from surefoot.probes.attending import Attending
from surefoot.probes.meter import Meter
from surefoot.probes.outlook import Outlook
from surefoot.probes.pairs import Pairs
from surefoot.probes.running import RunningStatistics
from surefoot.probes.shield import Shield
from surefoot.probes.streams import Watched
from surefoot.probes.weights import copies


class Instruments:
    """All instruments of one stream.

    `passes` counts the training passes of the stream so far.
    """

    def __init__(
        self,
        watched: Watched,
        meter: Meter,
        shield: Shield,
        *,
        passes: Callable[[], int],
    ) -> None:
        roots = watched.roots
        self.tap = Tap(watched.leaves, meter, shield)
        self.outlook = Outlook(roots.values(), meter, shield, passes=passes)
        self.attending = Attending(
            roots, watched.modules, watched.leaves, meter=meter, shield=shield
        )
        self.running = RunningStatistics(watched.leaves)
        # LBFGS holds the gradient of its last trial, not the one before the update.
        trials = isinstance(watched.optimizer, torch.optim.LBFGS)
        self.pairs = Pairs(() if trials else watched.weights)
        self.copies: list[torch.Tensor] | None = None
        self._weights = watched.weights
        self._shield = shield
        self._seconds: dict[str, float] = {}

    def arm(self, needs: Collection[str], step: int) -> None:
        """Prepare for the coming step what its probes need."""
        actions: dict[str, Callable[[], None]] = {
            "activations": self.tap.arm,
            "output": lambda: self.outlook.arm(step),
            "attention": self.attending.arm,
            "running": self.running.arm,
            "pair": self.pairs.arm,
        }
        for need in needs:
            if need in actions:
                self._timed(need, actions[need])

    def before(self, needs: Collection[str]) -> None:
        """Before an update: copy or sample the weights where that is needed."""
        if "copies" in needs and self.copies is None:
            self.copies = self._timed("copies", self._copy)
        if self.pairs.armed:
            self._timed("pair", self.pairs.before)

    def after(self, step: int) -> None:
        """After an update: sample what it changed; its passes are over."""
        self.copies = None
        if self.outlook.armed:
            self.outlook.remove()
        if self.pairs.armed:
            self._timed("pair", lambda: self.pairs.after(step))

    def seen(self, needs: Collection[str]) -> dict[str, Any]:
        """What was seen for the probes of a step, by the name of the need."""
        if not needs:
            return {}
        takes: dict[str, Callable[[], Any]] = {
            "activations": self.tap.samples,
            "attention": self.attending.take,
            "running": self.running.take,
        }
        found = {n: self._timed(n, takes[n]) for n in needs if n in takes}
        return found | {"pair": self.pairs.latest}

    def cost(self, needs: Collection[str]) -> float:
        """CPU seconds spent on some needs since the last time this was asked."""
        own: dict[str, Tap | Outlook | Attending] = {
            "activations": self.tap,
            "output": self.outlook,
            "attention": self.attending,
        }
        total = 0.0
        for need in needs:
            total += self._seconds.pop(need, 0.0)
            if need in own:
                total += own[need].cost_seconds
                own[need].cost_seconds = 0.0
        return total

    def remove(self) -> None:
        """Take all hooks off."""
        self.tap.remove()
        self.outlook.remove()
        self.attending.remove()

    def _copy(self) -> list[torch.Tensor]:
        return copies(list(self._weights))

    def _timed(self, need: str, action: Callable[[], Any]) -> Any:
        if need == "activations":  # the tap counts for itself
            return self._shield.run(need, action)
        start = time.thread_time()
        value = self._shield.run(_PROBES.get(need, need), action)
        spent = time.thread_time() - start
        self._seconds[need] = self._seconds.get(need, 0.0) + spent
        return value


_PROBES: Mapping[str, str] = {
    "copies": "weights",
    "output": "outputs",
    "running": "batch norms",
    "pair": "consecutive gradients",
}
"""The probe that is switched off where its instrument fails."""
