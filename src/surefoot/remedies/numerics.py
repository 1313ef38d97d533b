"""Numeric remedies: the operation that broke comes in, how to guard it goes out."""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.types import Change, Facts, Finding, Prescription

GUARDS = (
    ("log", "take the logarithm of x.clamp_min(1e-12), or use log_softmax/logsumexp"),
    ("sqrt", "add a small number under the root: its slope at zero is infinite"),
    ("norm", "add a small number under the root: its slope at zero is infinite"),
    ("div", "divide by the denominator plus a small number of its own sign"),
    ("reciprocal", "invert the value plus a small number of its own sign"),
    ("pow", "clamp the base away from zero: its slope may be infinite there"),
    ("exp", "subtract the maximum before the exponential, or clamp its argument"),
    ("acos", "clamp the argument to -1 + 1e-6 … 1 - 1e-6"),
    ("asin", "clamp the argument to -1 + 1e-6 … 1 - 1e-6"),
    ("softmax", "leave at least one position unmasked in every row"),
)


def guard(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Keep the argument of the named operation inside its domain."""
    operation, place = _operation(findings)
    how = next((text for word, text in GUARDS if word in operation), "")
    how = how or "clamp its input to the range where its value and slope are finite"
    return Prescription(
        remedy="guard the operation",
        changes=(),
        expect="the same steps run through with finite values",
        source="domains of the functions; IEEE 754",
        advice=f"In {place}: {how}.",
    )


def skip_nonfinite(findings: Sequence[Finding], facts: Facts) -> Prescription:
    """Skip updates whose gradient is not finite, as loss scalers do."""
    return Prescription(
        remedy="skip non-finite updates",
        changes=(Change("batch", "skip", "nonfinite"),),
        expect="the weights stay finite; the faulty batches teach nothing",
        source="Micikevicius et al. 2018, arXiv:1710.03740 (loss scaling skips them)",
        advice="Skip the update of every step with a non-finite gradient.",
    )


def _operation(findings: Sequence[Finding]) -> tuple[str, str]:
    """Operation and place named by a non-finite finding."""
    for finding in findings:
        if finding.signature == "nonfinite":
            operation = str(finding.detail.get("operation", ""))
            line = str(finding.detail.get("line", ""))
            place = " ".join(p for p in (finding.layer, operation, line) if p)
            return operation, place
    return "", "the layer"
