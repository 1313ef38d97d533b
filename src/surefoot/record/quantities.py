"""The quantities a run records: nothing comes in, one visible tuple goes out.

Adding a quantity means adding a line here and a probe that returns it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Axis = Literal["run", "group", "parameter", "module", "metric"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a quantity means: its unit ("" for none) and what its layers are."""

    name: str
    about: str
    unit: str
    axis: Axis


ALL: tuple[Quantity, ...] = (
    Quantity("loss", "training loss, mean over accumulated batches", "", "run"),
    Quantity("step_seconds", "wall time from update to update", "s", "run"),
    Quantity("batch_size", "rows in the batch", "", "run"),
    Quantity("input_mean", "mean of the model's input", "", "run"),
    Quantity("input_std", "standard deviation of the model's input", "", "run"),
    Quantity("input_absmax", "largest magnitude in the model's input", "", "run"),
    Quantity("target_mean", "mean of the targets in the batch", "", "run"),
    Quantity("target_std", "standard deviation of the targets", "", "run"),
    Quantity("lr", "learning rate of each parameter group", "", "group"),
    Quantity("grad_norm", "2-norm of the gradient, unscaled", "", "parameter"),
    Quantity("weight_norm", "2-norm of the weights before the update", "", "parameter"),
    Quantity("update_norm", "2-norm of what the update changed", "", "parameter"),
    Quantity(
        "second_moment_ratio",
        "RMS of g²/v: 1 where Adam's second moment fits the gradient",
        "",
        "parameter",
    ),
    Quantity("activation_mean", "mean of the output", "", "module"),
    Quantity("activation_std", "standard deviation of the output", "", "module"),
    Quantity("activation_absmax", "largest magnitude of the output", "", "module"),
    Quantity("zero_share", "share of outputs that are exactly zero", "", "module"),
    Quantity(
        "dead_share",
        "share of units that put out zero on the whole sample (ReLU family)",
        "",
        "module",
    ),
    Quantity(
        "saturated_share",
        "share of outputs in the outer 5 % of a bounded activation's range",
        "",
        "module",
    ),
    Quantity("metric", "numbers the user logged, one layer a name", "", "metric"),
)


def named(name: str) -> Quantity:
    """The quantity of that name.

    Raises:
        KeyError: there is none; the message lists all.

    >>> named("grad_norm").axis
    'parameter'
    """
    for quantity in ALL:
        if quantity.name == name:
            return quantity
    raise KeyError(
        f"unknown quantity {name!r}; expected one of "
        f"{', '.join(quantity.name for quantity in ALL)}"
    )
