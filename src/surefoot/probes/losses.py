"""The losses of an update: told or caught one by one, a reading and a Wiring go out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from surefoot.probes.wiring import MOST_HEADS, Wiring, wiring
from surefoot.types import RUN, Reading

Known = Callable[[], Mapping[str, torch.Tensor]]


class Losses:
    """Losses of one stream, until they are recorded.

    `known` gives the parameters that the losses should reach, by name; `told` takes
    the wiring of the first update. `wired` is that wiring, None before.
    """

    def __init__(self, known: Known, told: Callable[[int, Wiring], None]) -> None:
        self.wired: Wiring | None = None
        self.waiting: list[torch.Tensor | float] = []
        self._known = known
        self._told = told
        self._graphs: list[torch.Tensor] | None = []

    @property
    def wants_graph(self) -> bool:
        """Whether a loss should come with its graph: none was recorded yet."""
        return self._graphs is not None

    def add(self, loss: torch.Tensor) -> None:
        """One loss; several for one update, as in accumulation, are averaged."""
        self.waiting.append(_noted(loss))
        if self._graphs is not None and loss.grad_fn is not None:
            self._graphs.append(loss)

    def reading(self, step: int) -> Reading | None:
        """The mean of the losses of a step, None where there was none."""
        losses, self.waiting = self.waiting, []
        if not losses:
            return None
        known = [loss for loss in losses if isinstance(loss, float)]
        if len(known) == len(losses):
            return Reading(step, "loss", RUN, (sum(known) / len(known),))
        mean = torch.stack([torch.as_tensor(loss) for loss in losses]).mean()
        return Reading(step, "loss", RUN, mean.reshape(1))

    def wire(self, step: int) -> None:
        """Tell how the losses of the first update are tied to the network."""
        graphs, self._graphs = self._graphs, None
        if graphs:
            known = self._known()
            self.wired = joined([wiring(loss, known) for loss in graphs])
            self._told(step, self.wired)


def joined(wirings: Sequence[Wiring]) -> Wiring:
    """What several losses reach together.

    >>> joined([Wiring(unreached=("a", "b")), Wiring(unreached=("b",))]).unreached
    ('b',)
    """
    heads = dict.fromkeys(head for one in wirings for head in one.heads)
    missed = [set(one.unreached) for one in wirings]
    return Wiring(
        heads=tuple(heads)[:MOST_HEADS],
        loose=max((one.loose for one in wirings), key=len),
        unreached=tuple(n for n in wirings[0].unreached if all(n in m for m in missed)),
        whole=all(one.whole for one in wirings),
        after=max((one.after for one in wirings), key=len),
    )


def _noted(loss: torch.Tensor) -> torch.Tensor | float:
    """A loss to keep: a number if it is on the host, else detached from its graph."""
    return float(loss.item()) if loss.is_cpu else loss.detach().reshape(())
