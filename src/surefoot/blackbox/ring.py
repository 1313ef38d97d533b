"""States come in one after another, a few of well spread ages stay, within a budget."""

from __future__ import annotations

from surefoot.blackbox.state import State

LATENCY = 200
"""Updates by which an alarm may come after what caused it. In our pilot study of
policies the alarms came within some dozens; a diagnosis waits for confirmation too."""


class Ring:
    """The last States that fit into a budget of bytes.

    The newest is always kept, and one that is older than any alarm is late, so that
    there is one from before the fault. Those between are spread such that the gaps
    grow with age. Where only one fits, it is renewed when it has become that old.

    >>> ring = Ring(0)
    >>> ring.states
    ()
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.latency = LATENCY
        self._states: list[State] = []
        self._held: set[int] = set()

    @property
    def states(self) -> tuple[State, ...]:
        """What is kept, oldest first."""
        return tuple(self._states)

    @property
    def nbytes(self) -> int:
        """The bytes of all states that are kept."""
        return sum(one.nbytes for one in self._states)

    def offer(self, state: State, *, beside: int = 0) -> bool:
        """Keep a state that is newer than all others; whether it was kept goes out.

        Older ones go for it where needed. `beside` are bytes of the budget that
        something else has.
        """
        room = self.budget_bytes - beside
        if state.nbytes > room:
            return False
        self.drop_after(state.step - 1)
        self._states.append(state)
        while self.nbytes > room:
            self._states.pop(self._dispensable([one.step for one in self._states]))
        return self.newest() is state

    def clear_for(self, step: int, nbytes: int, *, beside: int = 0) -> State | None:
        """Make room for a state that is not taken yet; one that went goes out.

        Its memory may be written over by the new one, so that memory stays within the
        budget at every moment. None where none went, or its memory is still in use.
        """
        gone: list[State] = []
        while self._states and self.nbytes + nbytes > self.budget_bytes - beside:
            steps = [*(one.step for one in self._states), step]
            place = self._dispensable(steps)
            if place == len(self._states):
                break
            gone.append(self._states.pop(place))
        free = [one for one in gone if id(one) not in self._held]
        return free[-1] if free else None

    def has_place(self, step: int, nbytes: int, *, beside: int = 0) -> bool:
        """Whether `offer` would keep a state of this size from before update `step`."""
        room = self.budget_bytes - beside
        if nbytes > room:
            return False
        alone = 2 * nbytes > room and len(self._states) == 1
        return not alone or step - self._states[0].step >= self.latency // 2

    def hold(self, state: State) -> None:
        """Somebody reads a state: its memory is not given away until `release`."""
        self._held.add(id(state))

    def release(self, state: State) -> None:
        """Nobody reads it any more."""
        self._held.discard(id(state))

    def newest(self, before: int | None = None) -> State | None:
        """The newest state, or the newest from before an update; None without one.

        A state of step n is from before the update n.
        """
        fitting = [one for one in self._states if before is None or one.step <= before]
        return fitting[-1] if fitting else None

    def drop_after(self, step: int) -> None:
        """Forget the states after an update: they belong to what was taken back."""
        self._states = [one for one in self._states if one.step <= step]

    def _dispensable(self, steps: list[int]) -> int:
        """Which of several goes: its neighbours are the closest, for its age."""
        now, last = steps[-1], len(steps) - 1
        if last == 1:
            return 0 if now - steps[0] >= self.latency // 2 else 1
        if now - steps[1] >= self.latency:
            return 0
        gaps = [
            (steps[i + 1] - steps[i - 1]) / (now - steps[i] + 1) for i in range(1, last)
        ]
        return 1 + gaps.index(min(gaps))
