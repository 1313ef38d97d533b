"""Nothing comes in, the pictures that a page can draw go out: one visible table.

A picture is a line over steps or a map of layer by step. Those in front are shown
first; any other quantity that is recorded can be asked for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Picture:
    """How one panel is made: `needs` are the quantities without which there is none.

    What was recorded is multiplied by `scale` to give `unit`. With two needs the
    first is divided by the second. With `share` each layer's reading is divided by
    the sum of the sizes of all layers' in its bin: late readings are decades smaller
    than early ones, and a map of shares shows both. `first` tells whether a page
    shows it unasked.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    log: bool = False
    unit: str = ""
    scale: float = 1.0
    kind: Literal["line", "heatmap"] = "heatmap"
    first: bool = True
    share: bool = False


def _map(name: str, title: str, *, log: bool = False, first: bool = True) -> Picture:
    return Picture(name, title, (name,), log=log, first=first)


def _line(name: str, title: str, *, first: bool = False) -> Picture:
    return Picture(name, title, (name,), kind="line", first=first)


MAPS: tuple[Picture, ...] = (
    _map("grad_norm", "Gradient norm", log=True),
    Picture("update_ratio", "Update ratio", ("update_norm", "weight_norm"), log=True),
    _map("dead_share", "Dead share"),
    _map("saturated_share", "Saturated share"),
    _map("activation_std", "Output spread", log=True),
    _map("second_moment_ratio", "g²/v", log=True),
    Picture("contribution", "Contribution by layer", ("contribution",), share=True),
    _map("weight_norm", "Weight norm", log=True),
    _map("zero_share", "Zero share"),
    _map("grad_cosine", "Cosine of successive gradients"),
    _map("attention_logit_absmax", "Largest attention logit", log=True),
    _map("attention_entropy", "Attention entropy"),
    _map("norm_gap", "Batch norm gap", log=True),
    _map("update_norm", "Update norm", log=True, first=False),
    _map("hessian_trace", "Trace of the Hessian", first=False),
    _map("hessian_trace_error", "Standard error of that trace", first=False),
    _map("activation_mean", "Output mean", first=False),
    _map("activation_absmax", "Largest output", log=True, first=False),
    _map("unit_spread", "Spread between units at the start", first=False),
)
"""Maps of layer by step, the most telling first."""

LINES: tuple[Picture, ...] = (
    _line("loss", "Loss", first=True),
    _line("metric", "Logged metrics", first=True),
    _line("lr", "Learning rate", first=True),
    _line("sharpness", "Sharpness", first=True),
    _line("preconditioned_sharpness", "Preconditioned sharpness", first=True),
    _line("stability_ratio", "Sharpness over the line of stability", first=True),
    _line("sharpness_error", "Bound on the error of sharpness", first=True),
    _line("sharpness_sampling_error", "Error of sharpness by sampling", first=True),
    _line("directional_sharpness", "Curvature the optimizer felt", first=True),
    Picture(
        "step_seconds",
        "Step time",
        ("step_seconds",),
        unit="ms",
        scale=1e3,
        kind="line",
    ),
    _line("accuracy", "Accuracy of sampled rows"),
    _line("confidence", "Confidence of sampled rows"),
    _line("output_entropy", "Output entropy"),
    _line("example_loss", "Losses of examples, quantiles"),
    _line("target_share", "Share of each class"),
    _line("target_right", "Share predicted right, by class"),
    _line("output_absmax", "Largest output of the model"),
    _line("log_z_square", "Mean square of log Z"),
    _line("input_mean", "Input mean"),
    _line("input_std", "Input spread"),
    _line("input_absmax", "Largest input"),
    _line("target_mean", "Target mean"),
    _line("target_std", "Target spread"),
    _line("batch_size", "Batch size"),
    _line("training_share", "Modules in training mode"),
)
"""Lines over steps, in the order of the page."""


def offered(quantities: Collection[str]) -> tuple[Picture, ...]:
    """The pictures that can be drawn from these quantities, lines first.

    >>> [one.name for one in offered({"loss", "update_norm", "weight_norm"})]
    ['loss', 'update_ratio', 'weight_norm', 'update_norm']
    """
    there = set(quantities)
    return tuple(one for one in (*LINES, *MAPS) if there.issuperset(one.needs))


def named(name: str) -> Picture:
    """The picture of that name.

    Raises:
        KeyError: there is none; the message lists all.
    """
    for one in (*LINES, *MAPS):
        if one.name == name:
            return one
    raise KeyError(
        f"unknown panel {name!r}; expected one of "
        f"{', '.join(one.name for one in (*LINES, *MAPS))}"
    )
