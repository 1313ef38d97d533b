"""The conformance checks pass all that we ship, and catch what they are for."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from surefoot.probes import catalogue
from surefoot.probes.catalogue import Probe
from surefoot.probes.gradients import grad_norm
from surefoot.remedies import prescribe
from surefoot.signatures import detect
from surefoot.testing.prescriptions import check_prescription
from surefoot.testing.probes import check_probe
from surefoot.testing.signatures import FACTS, check_signature
from surefoot.types import (
    RUN,
    Change,
    Evidence,
    Finding,
    Moment,
    Prescription,
    Reading,
    Series,
    Signature,
)

# --- what we ship ---------------------------------------------------------------


@pytest.mark.parametrize("probe", catalogue.ALL, ids=lambda one: one.name)
def test_shipped_probes_conform(probe: Probe) -> None:
    check_probe(probe)


@pytest.mark.parametrize("probe", catalogue.ALL, ids=lambda one: one.name)
def test_no_shipped_probe_waits_for_the_device(probe: Probe) -> None:
    if probe.needs:
        with pytest.raises(AssertionError, match="periodic probes only"):
            check_probe(replace(probe, dense=True))
    else:
        check_probe(replace(probe, dense=True))


@pytest.mark.parametrize("signature", detect.ALL, ids=lambda one: one.name)
def test_shipped_signatures_conform(signature: Signature) -> None:
    check_signature(signature)


FINDINGS = {
    "without detail": Finding(
        "not_learning", "run", 0, "critical", (Evidence("loss", 2.3, 2.2, "ln C"),)
    ),
    "with detail": Finding(
        "nonfinite",
        "0",
        7,
        "critical",
        (Evidence("loss", float("nan"), 0.0, "IEEE 754"),),
        detail={
            "operation": "log",
            "line": "net.py:3",
            "kind": "high",
            "ratio": 0.5,
            "typical": 2.0,
            "lr_ratio": 4.0,
        },
    ),
}


@pytest.mark.parametrize("name", prescribe.ALL)
@pytest.mark.parametrize("finding", FINDINGS.values(), ids=FINDINGS)
def test_shipped_remedies_conform(name: str, finding: Finding) -> None:
    check_prescription(prescribe.ALL[name]((finding,), FACTS))


# --- probes with a fault --------------------------------------------------------


def probe_of(read: Callable[[Moment], list[Reading]], **rest: Any) -> Probe:
    return Probe("planted", read, "before", **rest)


def row(moment: Moment, values: Any, **rest: Any) -> list[Reading]:
    told = {"quantity": "grad_norm", "layers": moment.names, **rest}
    return [Reading(moment.step, values=values, **told)]


def norms(moment: Moment) -> torch.Tensor:
    return torch.as_tensor(grad_norm(moment)[0].values)


def test_a_probe_that_changes_a_weight_is_caught() -> None:
    def read(moment: Moment) -> list[Reading]:
        with torch.no_grad():
            moment.weights[0].mul_(1.5)
        return row(moment, norms(moment))

    with pytest.raises(AssertionError, match=r"it changed the weight 0\.weight"):
        check_probe(probe_of(read))


def test_a_probe_that_clips_a_gradient_is_caught() -> None:
    def read(moment: Moment) -> list[Reading]:
        for grad in moment.grads:
            if grad is not None:
                grad.clamp_(-1e-9, 1e-9)
        return row(moment, norms(moment))

    with pytest.raises(AssertionError, match="it changed the gradient of"):
        check_probe(probe_of(read))


def test_a_probe_that_changes_the_optimizer_is_caught() -> None:
    def read(moment: Moment) -> list[Reading]:
        moment.optimizer.param_groups[0]["lr"] *= 0.5
        return row(moment, norms(moment))

    with pytest.raises(AssertionError, match="it changed the optimizer"):
        check_probe(probe_of(read))


@pytest.mark.parametrize(
    ("draw", "whose"),
    [
        (lambda: torch.rand(1), "torch"),
        (random.random, "Python"),
        (np.random.random, "NumPy"),
    ],
)
def test_a_probe_that_draws_from_a_common_stream_is_caught(
    draw: Callable[[], object], whose: str
) -> None:
    def read(moment: Moment) -> list[Reading]:
        draw()
        return row(moment, norms(moment))

    with pytest.raises(AssertionError, match=f"it changed {whose}'s random stream"):
        check_probe(probe_of(read))


def test_a_probe_that_raises_on_parameters_without_a_gradient_is_caught() -> None:
    def read(moment: Moment) -> list[Reading]:
        whole: Any = moment.grads
        return row(moment, torch.stack([grad.float().norm() for grad in whole]))

    with pytest.raises(AssertionError, match="without a gradient, step 0: it raised"):
        check_probe(probe_of(read))


def test_a_dense_probe_that_waits_for_the_device_is_caught() -> None:
    def read(moment: Moment) -> list[Reading]:
        return row(moment, [float(value) for value in norms(moment)])

    check_probe(probe_of(read))
    with pytest.raises(AssertionError, match=r"on the meta device.*it raised"):
        check_probe(probe_of(read, dense=True))


def test_a_probe_whose_values_are_live_memory_is_caught() -> None:
    def read(moment: Moment) -> list[Reading]:
        first = moment.weights[0].detach().reshape(-1)
        layers = tuple(str(i) for i in range(first.numel()))
        if first.dtype != torch.float32:
            return []
        return [Reading(moment.step, "metric", layers, first)]

    with pytest.raises(AssertionError, match="a view of live memory"):
        check_probe(probe_of(read))


def test_a_probe_with_half_precision_values_is_caught() -> None:
    def read(moment: Moment) -> list[Reading]:
        return row(moment, norms(moment).half())

    with pytest.raises(AssertionError, match="expected a detached float32 tensor"):
        check_probe(probe_of(read))


def test_a_probe_of_an_unknown_quantity_is_caught() -> None:
    def read(moment: Moment) -> list[Reading]:
        return row(moment, norms(moment), quantity="gradient_joy")

    with pytest.raises(AssertionError, match="unknown quantity 'gradient_joy'"):
        check_probe(probe_of(read))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": RUN}, "one value each"),
        ({"quantity": "loss"}, "for an axis of kind 'run'"),
    ],
)
def test_a_probe_with_wrong_layers_is_caught(
    change: Mapping[str, Any], message: str
) -> None:
    def read(moment: Moment) -> list[Reading]:
        return row(moment, norms(moment), **change)

    with pytest.raises(AssertionError, match=message):
        check_probe(probe_of(read))


def test_a_probe_that_is_no_function_of_the_moment_is_caught() -> None:
    calls: list[int] = []

    def read(moment: Moment) -> list[Reading]:
        calls.append(1)
        return row(moment, norms(moment) + len(calls))

    with pytest.raises(AssertionError, match="a second read gave other values"):
        check_probe(probe_of(read))


def test_a_probe_that_returns_nothing_is_caught() -> None:
    with pytest.raises(AssertionError, match="returned no reading"):
        check_probe(probe_of(lambda moment: []))


def test_a_probe_that_needs_what_nobody_prepares_is_caught() -> None:
    with pytest.raises(AssertionError, match="needs among"):
        check_probe(probe_of(grad_norm, needs=("hessian",)))


def test_checking_a_probe_leaves_the_random_stream_alone() -> None:
    before = torch.get_rng_state()
    check_probe(probe_of(grad_norm))
    assert torch.equal(torch.get_rng_state(), before)


# --- signatures with a fault ----------------------------------------------------


def signature_of(find: Callable[..., list[Finding]], **rest: Any) -> Signature:
    told = {"name": "planted", "about": "A fault.", "needs": ("loss",), **rest}
    return Signature(detect=find, **told)


def finding(**rest: Any) -> Finding:
    told: dict[str, Any] = {
        "signature": "planted",
        "layer": "run",
        "onset": 0,
        "severity": "warning",
        "evidence": (Evidence("loss, step 0", 9.0, 1.0, "our experiments"),),
    }
    return Finding(**{**told, **rest})


def found_if_high(**rest: Any) -> Callable[..., list[Finding]]:
    """A signature that looks at the last loss, and finds what it is told to."""

    def find(series: Mapping[str, Series], facts: Any, events: Any) -> list[Finding]:
        loss = series["loss"].values[:, 0]
        high = loss.size > 0 and np.isfinite(loss[-1]) and loss[-1] > 5
        return [finding(**rest)] if high else []

    return find


def high_loss() -> dict[str, Series]:
    values = np.full((40, 1), 9.0, np.float32)
    return {"loss": Series("loss", RUN, np.arange(40), values)}


def test_a_sound_signature_passes_and_is_seen_to_fire() -> None:
    check_signature(signature_of(found_if_high()), shows=high_loss())


def test_a_signature_that_never_fires_is_caught() -> None:
    with pytest.raises(AssertionError, match="found nothing in the record that shows"):
        check_signature(signature_of(lambda *given: []), shows=high_loss())


def test_a_signature_that_always_fires_is_caught() -> None:
    with pytest.raises(AssertionError, match="of a network at rest"):
        check_signature(signature_of(lambda *given: [finding()]))


def test_a_signature_that_raises_on_a_short_record_is_caught() -> None:
    def find(series: Mapping[str, Series], *rest: Any) -> list[Finding]:
        return [finding()] if series["loss"].values[-3, 0] > 5 else []

    with pytest.raises(AssertionError, match="it raised IndexError"):
        check_signature(signature_of(find))


def test_a_signature_that_asks_for_more_than_it_needs_is_caught() -> None:
    def find(series: Mapping[str, Series], *rest: Any) -> list[Finding]:
        return [finding()] if series["lr"].values[-1, 0] > 5 else []

    with pytest.raises(AssertionError, match="it raised KeyError"):
        check_signature(signature_of(find, uses=("lr",)))


def test_a_signature_that_warns_is_caught() -> None:
    def find(series: Mapping[str, Series], *rest: Any) -> list[Finding]:
        return [finding()] if np.nanmax(series["loss"].values) > 5 else []

    with pytest.raises(AssertionError, match="it raised"):
        check_signature(signature_of(find))


def test_a_signature_that_makes_evidence_of_nothing_is_caught() -> None:
    def find(series: Mapping[str, Series], *rest: Any) -> list[Finding]:
        loss = series["loss"].values
        return [finding()] if loss.size > 0 and not np.isfinite(loss).any() else []

    with pytest.raises(AssertionError, match="expected no finite evidence"):
        check_signature(signature_of(find))


def test_a_signature_that_writes_to_its_series_is_caught() -> None:
    def find(series: Mapping[str, Series], *rest: Any) -> list[Finding]:
        series["loss"].values[:] = 0
        return []

    with pytest.raises(AssertionError, match="read-only"):
        check_signature(signature_of(find))


def test_a_signature_with_a_memory_is_caught() -> None:
    calls: list[int] = []

    def find(series: Mapping[str, Series], *rest: Any) -> list[Finding]:
        calls.append(1)
        return [finding(onset=len(calls))] if series["loss"].values.max() > 5 else []

    with pytest.raises(AssertionError, match="expected the same from the same"):
        check_signature(
            signature_of(lambda series, *rest: _if_any(series, find)), shows=high_loss()
        )


def _if_any(
    series: Mapping[str, Series], find: Callable[..., list[Finding]]
) -> list[Finding]:
    return find(series) if series["loss"].values.size else []


def test_a_signature_that_goes_step_by_step_is_caught() -> None:
    def find(series: Mapping[str, Series], *rest: Any) -> list[Finding]:
        for value in series["loss"].values[:, 0]:
            for _ in range(100):
                float(value)
        return []

    with pytest.raises(AssertionError, match="work on whole arrays"):
        check_signature(signature_of(find))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"signature": "other"}, "the signature's own name"),
        ({"stream": "critic"}, "the stream 'main'"),
        ({"onset": 40}, "an onset from 0 to 39"),
        ({"onset": np.int64(3)}, "Python's numbers only"),
        ({"layer": "9.weight"}, "not in the network"),
        ({"layers": ("9.weight",)}, "not in the network"),
        ({"evidence": (Evidence("loss", 9.0, 1.0, ""),)}, "the bound's source"),
        ({"evidence": (Evidence("", 9.0, 1.0, "us"),)}, "what was looked at"),
        ({"detail": MappingProxyType({"at": np.float32(1)})}, "Python's numbers only"),
    ],
)
def test_a_signature_with_a_malformed_finding_is_caught(
    fault: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check_signature(signature_of(found_if_high(**fault)), shows=high_loss())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"needs": ("joy",)}, "unknown quantity 'joy'"),
        ({"uses": ("loss",)}, "expected each quantity once"),
        ({"name": "two words"}, "a name such as loss_spike"),
        ({"about": " "}, "a sentence on what it means"),
    ],
)
def test_a_signature_that_is_badly_declared_is_caught(
    fault: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check_signature(signature_of(found_if_high(), **fault))


# --- prescriptions with a fault -------------------------------------------------

SOUND = Prescription(
    remedy="halve the learning rate",
    changes=(Change("lr", "scale", 0.5),),
    expect="no more jumps",
    source="Bengio 2012",
)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"remedy": ""}, "without a remedy's name"),
        ({"expect": ""}, "empty 'expect'"),
        ({"source": " "}, "empty 'source'"),
        ({"changes": ()}, "without changes and without advice"),
        ({"changes": (Change("mood", "raise", 1.0),)}, "expected one of .*'lr'"),
        ({"changes": (Change("lr", "scale", float("nan")),)}, "a finite number or"),
        ({"changes": (Change("activation", "replace", ""),)}, "a finite number or"),
        ({"changes": (Change("lr", "scale", np.float32(1)),)}, "as JSON: it raised"),
        (
            {"changes": (Change("init", "set", "xavier_normal", ["0"]),)},  # type: ignore[arg-type]
            "not the same after JSON",
        ),
    ],
)
def test_a_faulty_prescription_is_caught(
    fault: Mapping[str, Any], message: str
) -> None:
    check_prescription(SOUND)
    with pytest.raises(AssertionError, match=message):
        check_prescription(replace(SOUND, **fault))


def test_advice_alone_is_a_prescription() -> None:
    check_prescription(replace(SOUND, changes=(), advice="Look at the batch."))
