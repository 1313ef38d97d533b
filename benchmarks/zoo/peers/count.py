"""The counting rule: alarms and the truth come in, what they are worth goes out.

It is the same for every tool, ours included:

- an alarm is what a tool itself calls a warning or more;
- a hit is an alarm at or after the onset whose rule stands for an acceptable word;
- the root is found if such a rule stands for a word that names the cause;
- wrong is a run with an alarm, but no hit;
- the layer is right if the first hit that names a layer names a guilty one;
- a tool that crashed on a run had no hit and raised no alarm there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.zoo.peers.alarm import Alarm
from benchmarks.zoo.peers.words import acceptable

TENSORS = ("weight", "bias")
"""Last parts of the names of parameters: a tool may name these or their module."""


@dataclass(frozen=True, slots=True)
class Planted:
    """What the zoo knows about one run; no `causes` means a healthy one."""

    causes: tuple[str, ...] = ()
    onset: int = 0
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one tool made of one run; `layer` is None where none was to be named.

    `lag` is the number of steps from the onset to the first hit.
    """

    alarmed: bool
    hit: bool = False
    root: bool = False
    layer: bool | None = None
    lag: int | None = None

    @property
    def wrong(self) -> bool:
        """Whether there was an alarm, but no acceptable one."""
        return self.alarmed and not self.hit


def outcome(
    alarms: Sequence[Alarm], planted: Planted, words: Mapping[str, tuple[str, ...]]
) -> Outcome:
    """What the alarms of one run are worth.

    A rule that is not in `words` stands for its own name only.
    """
    if not planted.causes:
        return Outcome(bool(alarms))
    accepted = acceptable(planted.causes)
    hits = [
        alarm
        for alarm in sorted(alarms, key=lambda one: one.step)
        if alarm.step >= planted.onset
        and accepted.hit.intersection(words.get(alarm.name, (alarm.name,)))
    ]
    root = any(
        accepted.root.intersection(words.get(one.name, (one.name,))) for one in hits
    )
    return Outcome(
        alarmed=bool(alarms),
        hit=bool(hits),
        root=root,
        layer=_right_layer(hits, planted.layers),
        lag=hits[0].step - planted.onset if hits else None,
    )


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """What several tools made of one run, each given the benefit of the others.

    It is generous: a hit, a root or a right layer of any counts for all of them.
    """
    lags = [one.lag for one in outcomes if one.lag is not None]
    layers = [one.layer for one in outcomes if one.layer is not None]
    return Outcome(
        alarmed=any(one.alarmed for one in outcomes),
        hit=any(one.hit for one in outcomes),
        root=any(one.root for one in outcomes),
        layer=any(layers) if layers else None,
        lag=min(lags, default=None),
    )


def _right_layer(hits: Sequence[Alarm], layers: Sequence[str]) -> bool | None:
    if not layers:
        return None
    named = next((alarm.layer for alarm in hits if alarm.layer), "")
    return any(same_layer(named, layer) for layer in layers)


def same_layer(named: str, guilty: str) -> bool:
    """Whether two names mean one layer, as module or as a parameter of it.

    >>> same_layer("net.0.weight", "net.0"), same_layer("net.0", "net.10")
    (True, False)
    """
    return bool(named) and _module(named) == _module(guilty)


def _module(name: str) -> str:
    head, _, last = name.rpartition(".")
    return head if last.startswith(TENSORS) else name
