"""Records to draw: a signature's name comes in, a planted record and its twin go out.

Most are those of `tests/cases.py`. The twin is the same run without the fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

import cases
from surefoot.signatures import across, detect
from surefoot.signatures.statistics import Array
from surefoot.signatures.streams import Stream
from surefoot.types import Event, Facts, Finding, Series

CASES: Mapping[str, str] = {
    "nonfinite": "nan_in_module",
    "half_precision": "halves_overflow",
    "divergence": "rate_jump",
    "loss_spike": "spike_of_bad_input",
    "not_learning": "saturated_layer",
    "dead_units": "dead_layer",
    "frozen": "unmoved_layer",
    "update_ratio": "rate_too_high",
    "wiring": "softmax_twice",
    "early_warning": "growing_before_the_loss",
    "plateau": "flat_ground",
}
"""The case to draw where the first one that fires is not the plainest."""

MORE: Mapping[str, tuple[str, ...]] = {
    "wiring": ("relu_before_the_loss", "probabilities_for_logs", "layers_in_a_list"),
    "update_ratio": ("rate_too_low",),
}
"""Further cases of signatures that have several kinds of findings."""

RANK = ("critical", "warning", "info")


@dataclass(frozen=True)
class Planted:
    """A record in which a symptom is found, and the same run without it."""

    name: str
    faulty: Stream
    healthy: Stream
    finding: Finding


@dataclass(frozen=True)
class Game:
    """Two streams of one run, in which a symptom is found, and two sound ones."""

    name: str
    faulty: tuple[Stream, ...]
    healthy: tuple[Stream, ...]
    finding: Finding


def planted(signature: str, record: str = "") -> Planted:
    """The record of a signature: that of a name, or the plainest one.

    Raises:
        LookupError: no record shows it, or the one that is named here does not.
    """
    wanted = record or CASES.get(signature, "")
    shown = [
        (RANK.index(finding.severity), place, case, finding)
        for place, case in enumerate(_faulty())
        if wanted in ("", case.name)
        for finding in findings(_stream(case), signature)
    ]
    if not shown:
        raise LookupError(
            f"no record shows {signature!r}{f' ({wanted!r} does not)' * bool(wanted)}; "
            "expected one in tests/cases.py; add it there, or to tools/planted.py"
        )
    _, _, case, finding = min(shown, key=lambda one: one[:2])
    faulty = _stream(case)
    return Planted(case.name, faulty, _twin(faulty), finding)


def findings(stream: Stream, signature: str) -> list[Finding]:
    """What one signature finds in a stream."""
    one = next(one for one in detect.ALL if one.name == signature)
    held = {name: rows for name, rows in stream.series.items() if rows.steps.size}
    if not all(need in held for need in one.needs):
        return []
    return one.detect(held, stream.facts, stream.events)


def game(comparison: str) -> Game:
    """The two streams of a comparison.

    Raises:
        LookupError: no streams are planted for it, or they do not show it.
    """
    if comparison not in GAMES:
        raise LookupError(f"no streams show {comparison!r}; add some to GAMES")
    faulty, healthy = GAMES[comparison]()
    found = [
        one
        for one in across.across({s.facts.stream: s for s in faulty})
        if one.signature == comparison
    ]
    if not found:
        raise LookupError(f"the two streams of {comparison!r} do not show it")
    return Game(comparison, faulty, healthy, found[0])


def with_loss(stream: Stream, change: Callable[[cases.Draft], None]) -> Stream:
    """The same stream with the loss of another run."""
    made = cases.draft(stream.facts)
    change(made)
    loss = made.frozen()["loss"]
    return replace(stream, series={**stream.series, "loss": loss})


def _stream(case: cases.Case) -> Stream:
    return Stream(case.facts, case.series, case.events)


@cache
def _faulty() -> list[cases.Case]:
    return [*cases.faulty_cases(), *_more_cases()]


# --- twins ------------------------------------------------------------------------

SOUND: Mapping[str, float] = {
    "attention_logit_absmax": 6.0,
    "attention_entropy": 0.7,
    "norm_gap": 0.2,
    "confidence": 0.8,
    "accuracy": 0.8,
}
"""Usual sizes of what the healthy record of `tests/cases.py` does not have."""


def _twin(faulty: Stream) -> Stream:
    """The healthy record with the layers of the faulty one."""
    made = cases.draft(_sound_facts(faulty.facts))
    series = made.frozen()
    rng = np.random.default_rng(7)
    for name, one in faulty.series.items():
        if name not in series:
            wobble = np.exp(0.1 * rng.standard_normal(one.values.shape))
            values = (SOUND[name] * wobble).astype(np.float32)
            series[name] = Series(name, one.layers, one.steps, values)
    return Stream(made.facts, series, _sound_events(faulty.events))


def _sound_facts(facts: Facts) -> Facts:
    """As they were before the case changed the optimizer's settings."""
    plain = cases.facts_of()
    if len(plain.modules) != len(facts.modules):
        return plain
    held = tuple(replace(one, held=True) for one in facts.parameters)
    return replace(facts, options=plain.options, parameters=held)


def _sound_events(events: Sequence[Event]) -> tuple[Event, ...]:
    """What a sound run would have told in place of some events."""
    kinds = {one.kind for one in events}
    heads = [["NllLoss", "LogSoftmax", "Addmm"]]
    known = {
        "wiring": Event(0, "wiring", {"heads": heads, "loose": []}),
        "mode": Event(0, "mode", {"training": True}),
        "evaluated": Event(
            30, "evaluated", {"training": False, "metrics": ["val_loss"]}
        ),
    }
    return tuple(event for kind, event in known.items() if kind in kinds)


# --- cases of its own -------------------------------------------------------------


def bouncing(made: cases.Draft) -> None:
    """The loss jumps from one side of the valley to the other at every step."""
    swing = 0.6 * (-1.0) ** made.steps
    made.values["loss"][:, 0] = 2.0 + swing * (made.steps > 20)


def growing_before_the_loss(made: cases.Draft) -> None:
    """Gradients grow, and the loss follows ten steps later."""
    growth = np.ones(cases.STEPS)
    growth[150:] = 6.0
    made.values["grad_norm"] *= growth[:, None]
    made.values["loss"][160:200, 0] += 2.0 * np.exp(-np.arange(40) / 15)


def surer_than_right(made: cases.Draft) -> None:
    """Two thirds are right, and the network is certain of nearly all."""
    rows = len(made.sparse)
    rise = 1 - np.exp(-np.arange(rows) / 5)
    made.values["confidence"] = (0.1 + 0.87 * rise)[:, None]
    made.values["accuracy"] = (0.1 + 0.57 * rise)[:, None]


def flat_ground(made: cases.Draft) -> None:
    """The loss stays at a guess while the gradient fades to nothing."""
    cases.guesses(made)
    made.values["grad_norm"] *= np.exp(-made.steps / 40)[:, None]


def _more_cases() -> list[cases.Case]:
    found: list[cases.Case] = []
    for change in _MORE:
        made = cases.draft()
        change(made)
        found.append(cases.Case(change.__name__, made.frozen(), made.facts))
    return found


_MORE = (bouncing, growing_before_the_loss, flat_ground, surer_than_right)


# --- games ------------------------------------------------------------------------


def _player(stream: str, loss: Array) -> Stream:
    """A stream of which loss and learning rate are known, a row an update."""
    steps = np.arange(len(loss))
    rates = np.full(len(loss), 1e-3)
    known = (("loss", ("run",), loss), ("lr", ("group0",), rates))
    series = {
        name: Series(name, layers, steps, rows[:, None].astype(np.float32), stream)
        for name, layers, rows in known
        if len(rows)
    }
    return Stream(replace(cases.facts_of(), stream=stream), series)


def _rivals(won: float, lost: float) -> tuple[Stream, ...]:
    """Losses of two adversaries that end at shares of their first ones."""
    rng = np.random.default_rng(3)
    steps = np.arange(cases.STEPS)
    part = 1 - np.exp(-steps / 60)
    noise = np.exp(0.08 * rng.standard_normal((2, cases.STEPS)))
    return (
        _player("discriminator", 1.39 * (1 - (1 - won) * part) * noise[0]),
        _player("generator", 0.69 * (1 + (lost - 1) * part) * noise[1]),
    )


def _one_sided() -> tuple[tuple[Stream, ...], tuple[Stream, ...]]:
    return _rivals(0.005, 10.0), _rivals(0.8, 1.3)


def _never_stepped() -> tuple[tuple[Stream, ...], tuple[Stream, ...]]:
    fall = np.exp(-np.arange(cases.STEPS) / 60)
    main, second = _player("main", fall), _player("second", fall)
    return (main, _player("second", fall[:0])), (main, second)


def _replicas() -> tuple[tuple[Stream, ...], tuple[Stream, ...]]:
    """Copies of one network; in the first pair a layer of one goes its own way."""
    made = cases.draft()
    norms = made.frozen()["weight_norm"]
    drift = np.zeros_like(norms.values)
    drift[15:, 4] = 0.05 * np.arange(1, len(drift) - 14)
    own = replace(norms, values=norms.values + drift.astype(np.float32))
    one, same = _copy("rank0", norms), _copy("rank1", norms)
    return (one, _copy("rank1", own)), (one, same)


def _copy(stream: str, norms: Series) -> Stream:
    facts = replace(cases.facts_of(), stream=stream)
    series = {"weight_norm": replace(norms, stream=stream)}
    return Stream(facts, series)


GAMES: Mapping[str, Callable[[], tuple[tuple[Stream, ...], tuple[Stream, ...]]]] = {
    "one_sided_game": _one_sided,
    "never_stepped": _never_stepped,
    "replicas": _replicas,
}
