"""Which modules a remedy is for, and what is set there: names and numbers go out."""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.types import Facts, Finding

WEIGHTED = ("Linear", "Conv")


def weighted(findings: Sequence[Finding], facts: Facts) -> tuple[str, ...]:
    """Linear and convolution layers, from the input to the output.

    All of them, not only those that show the symptom: a scale per layer is right
    only if its neighbours' are.
    """
    return tuple(
        module.name
        for module in facts.modules
        if any(module.kind.startswith(kind) for kind in WEIGHTED)
        and not module.name.endswith(" (input)")
    )


def activations(facts: Facts, kinds: Sequence[str]) -> tuple[str, ...]:
    """Hidden activation modules of some kinds: those before the last weights."""
    layers = weighted((), facts)
    names = [module.name for module in facts.modules]
    last = names.index(layers[-1]) if layers else len(names)
    return tuple(m.name for m in facts.modules[:last] if m.kind in kinds)


def setting(facts: Facts, technique: str, name: str) -> float | None:
    """A setting of a technique that is in use; None if it is not."""
    known = (one for one in facts.techniques if one.name == technique)
    return next((one.settings.get(name) for one in known), None)
