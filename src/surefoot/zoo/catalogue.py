"""All faults of the zoo and the homes that each fits: one visible tuple goes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from surefoot.zoo import (
    faults_data,
    faults_numbers,
    faults_rate,
    faults_start,
    faults_state,
    faults_wiring,
    homes,
    poles,
    replicas,
    rivals,
)
from surefoot.zoo.homes import Home
from surefoot.zoo.task import Rng, Task, Truth

Plant = Callable[[Task, Rng, int], Truth]

HOMES: Mapping[str, Home] = {
    "mlp": homes.mlp_digits,
    "tanh": homes.tanh_digits,
    "conv": homes.conv_digits,
    "plain_conv": homes.plain_conv_digits,
    "resnet": homes.resnet_digits,
    "gpt": homes.gpt_text,
    "vit": homes.vit_digits,
    "lstm": homes.lstm_text,
    "gan": rivals.digit_gan,
    "policy": poles.actor_critic,
    "replicas": replicas.replicas,
}
"""Healthy runs that faults are planted in."""

REPORTED_HOMES = ("resnet", "vit")
"""Homes on which no bound is chosen."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault: how it is planted, in which homes, and of which family.

    `abrupt` faults do their damage from one step on; `spikes` are those of Adam's
    memory, of which the loss tells late.
    """

    name: str
    family: str
    plant: Plant
    homes: tuple[str, ...]
    abrupt: bool = False
    spikes: bool = False


DIGITS = ("mlp", "tanh", "conv", "plain_conv", "resnet", "vit")
TEXT = ("gpt", "lstm")
SUPERVISED = (*DIGITS, *TEXT)
EVERY = (*SUPERVISED, "gan", "policy")
PLAIN = ("mlp", "tanh", "plain_conv")
STACKS = ("mlp", "tanh", "conv", "plain_conv", "resnet")
ADAM = ("mlp", "plain_conv", "gpt", "vit", "lstm")
TRANSFORMERS = ("gpt", "vit")
NORMED = ("conv", "resnet")

ALL: tuple[Fault, ...] = (
    Fault("rate_too_high", "rate", faults_rate.rate_too_high, EVERY),
    Fault("rate_jump", "rate", faults_rate.rate_jump, EVERY, abrupt=True),
    Fault("rate_too_low", "rate", faults_rate.rate_too_low, EVERY),
    Fault("no_warm_up", "rate", faults_rate.no_warm_up, TRANSFORMERS),
    Fault("post_norm", "architecture", faults_rate.post_norm, TRANSFORMERS),
    Fault("moment_ramp", "optimizer", faults_rate.moment_ramp, ADAM, spikes=True),
    Fault("moment_jump", "optimizer", faults_rate.moment_jump, ADAM, abrupt=True),
    Fault("never_zeroed", "wiring", faults_rate.never_zeroed, SUPERVISED),
    Fault("noisy_gradient", "rate", faults_rate.noisy_gradient, ("mlp", "tanh",
        "plain_conv", "gpt", "vit", "lstm")),
    Fault("half_asleep", "wiring", faults_rate.half_asleep, SUPERVISED),
    Fault("large_epsilon", "optimizer", faults_rate.large_epsilon, ADAM),
    Fault("zero_epsilon", "optimizer", faults_rate.zero_epsilon,
        ("mlp", "plain_conv", "gpt", "lstm")),
    Fault("deep_sigmoid", "architecture", faults_start.deep_sigmoid, ("mlp", "tanh")),
    Fault("deep_plain", "architecture", faults_start.deep_plain, ("mlp", "tanh")),
    Fault("small_start", "start", faults_start.small_start, PLAIN),
    Fault("large_start", "start", faults_start.large_start, (*PLAIN, *TRANSFORMERS)),
    Fault("exploding_recurrence", "start", faults_start.exploding_recurrence,
        ("lstm",)),
    Fault("one_large_layer", "start", faults_start.one_large_layer, PLAIN),
    Fault("zero_start", "start", faults_start.zero_start, (*PLAIN, "conv", "vit")),
    Fault("constant_start", "start", faults_start.constant_start,
        (*PLAIN, "conv", "vit")),
    Fault("no_norm", "architecture", faults_start.no_norm, NORMED),
    Fault("dead_start", "start", faults_start.dead_start, ("mlp", "plain_conv")),
    Fault("dead_later", "architecture", faults_start.dead_later,
        ("mlp", "plain_conv"), abrupt=True),
    Fault("saturated", "start", faults_start.saturated, ("tanh",)),
    Fault("label_noise", "data", faults_data.label_noise, DIGITS),
    Fault("labels_changed", "data", faults_data.labels_changed, SUPERVISED,
        abrupt=True),
    Fault("unscaled_inputs", "data", faults_data.unscaled_inputs,
        ("mlp", "tanh", "plain_conv", "resnet", "vit")),
    Fault("inputs_shifted", "data", faults_data.inputs_shifted, DIGITS, abrupt=True),
    Fault("class_imbalance", "data", faults_data.class_imbalance, DIGITS),
    Fault("overfitting", "data", faults_data.overfitting, SUPERVISED),
    Fault("corrupted_batch", "data", faults_data.corrupted_batch,
        ("mlp", "conv", "plain_conv", "resnet"), abrupt=True),
    Fault("missing_values", "data", faults_data.missing_values, DIGITS, abrupt=True),
    Fault("double_softmax", "wiring", faults_wiring.double_softmax, SUPERVISED),
    Fault("clipped_logits", "wiring", faults_wiring.clipped_logits, SUPERVISED),
    Fault("wrong_loss", "wiring", faults_wiring.wrong_loss, SUPERVISED),
    Fault("unheld_layer", "wiring", faults_wiring.unheld_layer, SUPERVISED),
    Fault("loose_layer", "wiring", faults_wiring.loose_layer,
        ("mlp", "tanh", "conv", "plain_conv", "gpt", "vit")),
    Fault("detached", "wiring", faults_wiring.detached, SUPERVISED),
    Fault("log_of_negative", "numbers", faults_numbers.log_of_negative, SUPERVISED,
        abrupt=True),
    Fault("root_of_zero", "numbers", faults_numbers.root_of_zero, SUPERVISED,
        abrupt=True),
    Fault("zero_by_zero", "numbers", faults_numbers.zero_by_zero, SUPERVISED,
        abrupt=True),
    Fault("half_overflow", "numbers", faults_numbers.half_overflow,
        ("mlp", "plain_conv", "gpt", "vit")),
    Fault("logit_drift", "numbers", faults_numbers.logit_drift, SUPERVISED),
    Fault("attention_growth", "numbers", faults_numbers.attention_growth,
        TRANSFORMERS),
    Fault("evaluation_mode", "modes", faults_state.evaluation_mode, (*NORMED, "lstm")),
    Fault("stale_statistics", "modes", faults_state.stale_statistics, NORMED),
    Fault("evaluated_in_training_mode", "modes",
        faults_state.evaluated_in_training_mode, NORMED),
    Fault("tiny_norm_batches", "modes", faults_state.tiny_norm_batches,
        (*NORMED, "mlp")),
    Fault("over_regularised", "capacity", faults_state.over_regularised, SUPERVISED),
    Fault("heavy_dropout", "capacity", faults_state.heavy_dropout, ("mlp",)),
    Fault("strong_critic", "opponents", faults_state.strong_critic, ("gan",)),
    Fault("reward_scale", "opponents", faults_state.reward_scale, ("policy",)),
    Fault("rewards_jump", "opponents", faults_state.rewards_jump, ("policy",),
        abrupt=True),
    Fault("unsynchronised", "wiring", replicas.unsynchronised, ("replicas",),
        abrupt=True),
)  # fmt: skip
"""Every kind of fault, in the order in which the zoo lists them."""


def fault_named(name: str) -> Fault:
    """The fault of that name.

    Raises:
        KeyError: there is none; the message lists those there are.
    """
    for fault in ALL:
        if fault.name == name:
            return fault
    raise KeyError(
        f"{name!r} came as the name of a fault; expected one of "
        f"{', '.join(fault.name for fault in ALL)}"
    )
