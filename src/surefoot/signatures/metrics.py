"""Metrics that a user logged: names come in, what they measure goes out."""

from __future__ import annotations

from typing import Literal

from surefoot.types import Series

Kind = Literal["loss", "accuracy"]

HELD_OUT = ("held", "val", "test", "eval", "dev")
LOSSES = ("loss", "nll", "perplexity", "error", "mse", "cross_entropy")
ACCURACIES = ("acc", "top1", "top_1")


def measures(name: str, kind: Kind) -> bool:
    """Whether a metric's name says that it is of a kind, on data not trained on.

    >>> measures("val_loss", "loss"), measures("val_accuracy", "loss")
    (True, False)
    """
    lower = name.lower()
    words = LOSSES if kind == "loss" else ACCURACIES
    return any(w in lower for w in HELD_OUT) and any(w in lower for w in words)


def held_out(metrics: Series | None, kind: Kind) -> tuple[str, ...]:
    """Names of the held-out metrics of a kind, in the order of the record."""
    names = () if metrics is None else metrics.layers
    return tuple(name for name in names if measures(name, kind))
