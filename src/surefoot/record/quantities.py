"""The quantities a run records: nothing comes in, one visible tuple goes out.

Adding a quantity means adding a line here and a probe that returns it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Axis = Literal["run", "group", "parameter", "module", "quantile", "class", "metric"]


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
    Quantity(
        "grad_cosine",
        "cosine between the gradients of this update and the one before, sampled",
        "",
        "parameter",
    ),
    Quantity(
        "directional_sharpness",
        "1 - (next gradient · update) / (gradient · update): curvature along the "
        "update times its length; 2 and more overshoots",
        "",
        "run",
    ),
    Quantity(
        "sharpness",
        "largest eigenvalue of the Hessian of the loss on the curvature batch, after "
        "the update",
        "",
        "run",
    ),
    Quantity("sharpness_error", "bound on the error of sharpness", "", "run"),
    Quantity(
        "sharpness_sampling_error",
        "how far sharpness may be from that of all data, told by the two halves of "
        "the curvature batch",
        "",
        "run",
    ),
    Quantity(
        "preconditioned_sharpness",
        "largest eigenvalue of the Hessian in the scale of an adaptive optimizer, "
        "P^(-1/2) H P^(-1/2)",
        "",
        "run",
    ),
    Quantity(
        "stability_ratio",
        "sharpness (preconditioned, for an adaptive optimizer) over the line at which "
        "the optimizer becomes unstable, such as 2 / learning rate",
        "",
        "run",
    ),
    Quantity(
        "hessian_trace",
        "trace of the Hessian's block of this tensor",
        "",
        "parameter",
    ),
    Quantity("hessian_trace_error", "standard error of hessian_trace", "", "parameter"),
    Quantity(
        "contribution",
        "gradient · update: first-order change of the loss by this tensor",
        "",
        "parameter",
    ),
    Quantity(
        "unit_spread",
        "norm of the weights minus their mean over output units, over their norm, "
        "before the first update; 0 where all units start alike",
        "",
        "parameter",
    ),
    Quantity(
        "log_z_square",
        "mean square of logsumexp of the model's output (classification)",
        "",
        "run",
    ),
    Quantity(
        "output_entropy",
        "mean entropy of the softmax of the output, over ln C",
        "",
        "run",
    ),
    Quantity("output_absmax", "largest magnitude of the model's output", "", "run"),
    Quantity("accuracy", "share of sampled rows predicted right", "", "run"),
    Quantity("confidence", "mean top probability of sampled rows", "", "run"),
    Quantity(
        "example_loss",
        "quantiles over sampled rows of -log softmax(output)[target]",
        "",
        "quantile",
    ),
    Quantity("target_share", "share of sampled rows of a class", "", "class"),
    Quantity(
        "target_right",
        "share of sampled rows that are of a class and predicted right",
        "",
        "class",
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
    Quantity(
        "training_share",
        "share of the dropout and batch norm modules of a training pass that were "
        "in training mode",
        "",
        "run",
    ),
    Quantity(
        "norm_gap",
        "largest distance over channels between the batch's mean and the running "
        "mean, in running standard deviations (batch norm)",
        "",
        "module",
    ),
    Quantity(
        "attention_logit_absmax",
        "largest magnitude that goes into the softmax of an attention, sampled",
        "",
        "module",
    ),
    Quantity(
        "attention_entropy",
        "mean entropy of attention rows, over ln of the keys they may see, sampled",
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
