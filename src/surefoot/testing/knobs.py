"""Conformance of a knob: it comes in, a failure is an AssertionError."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from surefoot.autopilot.live import Applied, Live
from surefoot.testing.claims import Attempt, require
from surefoot.types import Change

STEPS = 3

Knob = Callable[[Live, Change], Applied]


def check_knob(knob: Knob, change: Change) -> None:
    """See that a change says what it does, and that its undo leaves nothing of it.

    It is carried out on a small network that has trained for a few updates, and undone
    at once: weights, moments, settings, the names of modules and the random streams are
    then those of a network to which nothing was done, and so is all that it goes on to
    learn. Once more it is carried out, and undone after some updates: no hook remains.

    Args:
        knob: a function as in `autopilot.apply.KNOBS`.
        change: one that it can carry out on `nn.Sequential(Linear, ReLU, Linear, ReLU,
            Linear)` under Adam.

    Raises:
        AssertionError: one of this does not hold.

    >>> from surefoot.autopilot.optimizer_knobs import scale_lr
    >>> check_knob(scale_lr, Change("lr", "scale", 0.5))
    """
    where = f"knob {change.knob} {change.op} {change.amount}"
    changed, plain = _Training(), _Training()
    for one in (changed, plain):
        one.train()
    stream = torch.get_rng_state()
    with Attempt(where):
        applied = knob(changed.live, change)
    for field in ("before", "after"):
        require(getattr(applied, field).strip(), f"{where}: {field!r} says nothing")
    applied.undo()
    require(
        torch.equal(stream, torch.get_rng_state()),
        f"{where}: it drew from the run's random stream; expected live.generator",
    )
    _compare(changed, plain, f"{where}: after its undo")
    for one in (changed, plain):
        one.train()
    _compare(changed, plain, f"{where}: some updates after its undo")
    with Attempt(where):
        applied = knob(changed.live, change)
        changed.train()
        applied.undo()
    require(not changed.hooks(), f"{where}: its undo leaves hooks: {changed.hooks()}")


class _Training:
    """A small network under Adam, always with the same data."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)
        )
        with torch.no_grad():
            for weight in self.model.parameters():
                weight.copy_(0.4 * torch.randn(weight.shape, generator=draw))
        self.adam = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.live = Live(
            {"model": self.model},
            [self.adam],
            generator=torch.Generator().manual_seed(0),
        )
        self._data = draw

    def train(self) -> None:
        """A few updates."""
        for _ in range(STEPS):
            x = torch.randn(16, 4, generator=self._data)
            self.adam.zero_grad()
            (self.model(x) - x[:, :2]).square().mean().backward()
            self.adam.step()
            self.live.step += 1

    def tensors(self) -> dict[str, Tensor]:
        """Weights and moments by name."""
        found = dict(self.model.state_dict())
        for name, weight in self.model.named_parameters():
            for key, value in self.adam.state.get(weight, {}).items():
                found[f"{key} of {name}"] = value
        return found

    def hooks(self) -> list[object]:
        """All that hangs on the network and its optimizer."""
        found: list[object] = []
        for module in self.model.modules():
            found += [*module._forward_hooks.values()]  # pyright: ignore[reportPrivateUsage]
            found += [*module._forward_pre_hooks.values()]  # pyright: ignore[reportPrivateUsage]
        found += [*self.adam._optimizer_step_pre_hooks.values()]  # pyright: ignore[reportPrivateUsage]
        return [*found, *self.adam._optimizer_step_post_hooks.values()]  # pyright: ignore[reportPrivateUsage]


def _compare(changed: _Training, plain: _Training, when: str) -> None:
    """Refuse any difference between the two."""
    ours, theirs = changed.tensors(), plain.tensors()
    require(
        ours.keys() == theirs.keys(),
        f"{when}: there are {sorted(ours.keys() ^ theirs.keys())} in one only",
    )
    odd = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    require(not odd, f"{when}: {', '.join(odd)} differ; expected the same bits")
    kept = [
        [{k: v for k, v in group.items() if k != "params"} for group in groups]
        for groups in (changed.adam.param_groups, plain.adam.param_groups)
    ]
    require(kept[0] == kept[1], f"{when}: the settings are {kept[0]}, not {kept[1]}")
