"""Conformance of a signature: it comes in, a failure is an AssertionError.

It is run on made-up records; see `check_signature` for what must hold.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from surefoot.record import quantities
from surefoot.testing.claims import Attempt, require
from surefoot.types import (
    RUN,
    Event,
    Facts,
    Finding,
    Floats,
    Module,
    Parameter,
    Series,
    Signature,
)

MOST_NANOSECONDS = 100.0
"""CPU time of a signature for each reading that it is given: 2 s for a quantity of
200 layers over 10^5 steps, which is all that a whole diagnosis may take."""

ROOM_SECONDS = 0.02
"""CPU time that is free: what does not grow with the record."""

MANY_STEPS, MANY_LAYERS = 20_000, 50

FACTS = Facts(
    model="Sequential",
    optimizer="AdamW",
    options={"lr": 0.01},
    parameters=tuple(
        Parameter(f"{2 * place}.{kind}", str(2 * place), size)
        for place in range(4)
        for kind, size in (("weight", 64), ("bias", 8))
    ),
    modules=tuple(
        Module(str(place), ("Linear", "ReLU", "Linear", "Sigmoid")[place % 4])
        for place in range(7)
    ),
)
"""A made-up network of four linear layers, with ReLU and sigmoids between them."""

STILL: Mapping[str, float] = {
    "step_seconds": 0.01, "batch_size": 64.0, "lr": 0.01, "update_norm": 0.001,
    "input_mean": 0.0, "target_mean": 0.0, "activation_mean": 0.0,
    "zero_share": 0.0, "dead_share": 0.0, "saturated_share": 0.0,
}  # fmt: skip
"""Readings of a network at rest; those that are not listed are 1."""

Record = Mapping[str, Series]
Fill = Callable[[str, tuple[int, int]], Floats]

ELSEWHERE = ("run", "input", "loss", "model")
"""Places of a finding that are no layer of the network."""


def check_signature(
    signature: Signature,
    *,
    shows: Record | None = None,
    facts: Facts = FACTS,
    events: Sequence[Event] = (),
) -> None:
    """Run a signature on made-up records: it is pure, quick, and silent on nothing.

    On short and constant records, with and without the quantities that it can do
    without, it finds nothing. On records that are not finite, or of random readings,
    it neither raises nor warns; what it finds where
    no reading is finite rests on no finite number. Its findings have its name, a
    known layer, an onset within the record, and evidence with a source. It leaves
    what it is given alone, says the same twice, and takes at most 100 ns of CPU time
    a reading.

    Args:
        signature: What is checked.
        shows: A record by quantity in which it must find something.
        facts: Of that record.
        events: Of that record.

    Raises:
        AssertionError: one of this does not hold.

    >>> from surefoot.signatures.not_learning import SIGNATURE
    >>> check_signature(SIGNATURE)
    """
    _check_declared(signature)
    for steps in (1, 2, 5, 300):
        whole = _record(signature, steps, _still)
        bare = {name: whole[name] for name in signature.needs}
        for record in (whole, bare):
            found = _findings(signature, record)
            require(
                not found,
                f"signature {signature.name!r}: it found {found} in {steps} steps of a "
                "network at rest; expected nothing; ask for more steps, for a change",
            )
    for label, fill in (("NaN", _nan), ("infinite", _infinite)):
        for finding in _findings(signature, _record(signature, 300, fill)):
            require(
                not any(math.isfinite(one.observed) for one in finding.evidence),
                f"signature {signature.name!r}: it found {finding} where every reading "
                f"is {label}; expected no finite evidence; look at finite ones only",
            )
    for fill in (_random, _half_broken):
        _findings(signature, _record(signature, 300, fill))
    _check_time(signature)
    if shows is not None:
        require(
            _findings(signature, shows, facts, events),
            f"signature {signature.name!r}: it found nothing in the record that shows "
            "it; expected a finding",
        )


def _check_declared(signature: Signature) -> None:
    where = f"signature {signature.name!r}"
    require(
        signature.name.isidentifier() and signature.about.strip(),
        f"{where} is about {signature.about!r}; expected a name such as loss_spike, "
        "and a sentence on what it means",
    )
    require(
        not set(signature.needs) & set(signature.uses),
        f"{where} needs and uses {set(signature.needs) & set(signature.uses)}; "
        "expected each quantity once",
    )
    for name in (*signature.needs, *signature.uses):
        with Attempt(where):
            quantities.named(name)


def _findings(
    signature: Signature,
    record: Record,
    facts: Facts = FACTS,
    events: Sequence[Event] = (),
) -> list[Finding]:
    """What it finds, asked twice, once the findings and the record are checked."""
    where = f"signature {signature.name!r}"
    for series in record.values():
        series.values.flags.writeable = series.steps.flags.writeable = False
    with Attempt(where), warnings.catch_warnings():
        warnings.simplefilter("error")
        found = signature.detect(record, facts, events)
        again = signature.detect(record, facts, events)
    require(
        repr(found) == repr(again),
        f"{where}: it found {found}, then {again}; expected the same from the same",
    )
    ends = [int(one.steps[-1]) for one in record.values()]
    last = max([*ends, *(event.step for event in events)], default=0)
    for finding in found:
        _check_finding(finding, signature, facts, last=last)
    return found


def _check_finding(
    finding: Finding, signature: Signature, facts: Facts, *, last: int
) -> None:
    where = f"signature {signature.name!r}, {finding}"
    require(
        (finding.signature, finding.stream) == (signature.name, facts.stream),
        f"{where}: expected the signature's own name and the stream {facts.stream!r}",
    )
    require(0 <= finding.onset <= last, f"{where}: expected an onset from 0 to {last}")
    known = {*ELSEWHERE, *(one.name for one in (*facts.parameters, *facts.modules))}
    named = {name.removesuffix(" (input)") for name in (finding.layer, *finding.layers)}
    require(
        named <= known,
        f"{where}: the layers {sorted(named - known)} are not in the network; "
        "expected names of parameters or modules, or 'run'",
    )
    for one in finding.evidence:
        require(
            one.series.strip() and one.source.strip(),
            f"{where}: {one} came; expected what was looked at and the bound's source",
        )
    with Attempt(f"{where}, as JSON, which knows Python's numbers only"):
        json.dumps(asdict(finding))


def _check_time(signature: Signature) -> None:
    """CPU time on a long record; the best of three, since others use the machine."""
    layers = tuple(f"{place}.weight" for place in range(MANY_LAYERS))
    names = tuple(layer.partition(".")[0] for layer in layers)
    facts = replace(
        FACTS,
        parameters=tuple(
            Parameter(layer, name, 64)
            for layer, name in zip(layers, names, strict=True)
        ),
        modules=tuple(Module(name, "Linear") for name in names),
    )
    record = _record(signature, MANY_STEPS, _random, facts)
    readings = sum(series.values.size for series in record.values())
    best = min(_seconds(signature, record, facts) for _ in range(3))
    allowed = ROOM_SECONDS + MOST_NANOSECONDS * 1e-9 * readings
    require(
        best <= allowed,
        f"signature {signature.name!r}: it took {best:.3f} s of CPU time for "
        f"{readings:,} readings; expected at most {allowed:.3f} s; work on whole "
        "arrays, not step by step",
    )


def _seconds(signature: Signature, record: Record, facts: Facts) -> float:
    start = time.thread_time()
    signature.detect(record, facts, ())
    return time.thread_time() - start


# --- made-up records ------------------------------------------------------------


def _record(
    signature: Signature, steps: int, fill: Fill, facts: Facts = FACTS
) -> dict[str, Series]:
    """All that a signature needs or uses, filled in one way."""
    found: dict[str, Series] = {}
    for name in (*signature.needs, *signature.uses):
        layers = _layers(name, facts)
        values = fill(name, (steps, len(layers))).astype(np.float32)
        found[name] = Series(name, layers, np.arange(steps), values, facts.stream)
    return found


def _layers(quantity: str, facts: Facts) -> tuple[str, ...]:
    """Layers as the probes would name them."""
    axis = quantities.named(quantity).axis
    names = {
        "parameter": tuple(one.name for one in facts.parameters),
        "module": tuple(one.name for one in facts.modules),
        "group": ("group0",),
        "metric": ("held_out_accuracy",),
    }
    return names.get(axis, RUN)


def _still(quantity: str, shape: tuple[int, int]) -> Floats:
    return np.full(shape, STILL.get(quantity, 1.0), np.float32)


def _nan(quantity: str, shape: tuple[int, int]) -> Floats:
    return np.full(shape, np.nan, np.float32)


def _infinite(quantity: str, shape: tuple[int, int]) -> Floats:
    """Infinities where a quantity may be infinite; shares are numbers or absent."""
    bounded = quantity.endswith("_share")
    return np.full(shape, np.nan if bounded else np.inf, np.float32)


def _random(quantity: str, shape: tuple[int, int]) -> Floats:
    """Readings of any size around those at rest, the same for the same quantity."""
    seed = np.random.default_rng(list(quantity.encode()))
    spread = np.exp(2 * seed.standard_normal(shape))
    return (STILL.get(quantity, 1.0) * spread).astype(np.float32)


def _half_broken(quantity: str, shape: tuple[int, int]) -> Floats:
    """Random readings that break in the middle of the run."""
    values = _random(quantity, shape)
    values[shape[0] // 2 :: 2] = np.nan
    values[shape[0] // 2 + 1 :: 4] = np.inf
    return values
