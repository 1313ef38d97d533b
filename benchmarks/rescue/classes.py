"""Which faults a change of a running training can repair, and why the others cannot.

A fault counts as repairable if some knob of `autopilot.apply.KNOBS` undoes what was
planted or what it does, without a line of the user's code or a byte of the data.
Every fault of the zoo stands in one of the two tables.
"""

from __future__ import annotations

from collections.abc import Mapping

REPAIRABLE: Mapping[str, str] = {
    "rate_too_high": "lr scale, warm-up",
    "rate_jump": "lr scale from the jump on",
    "rate_too_low": "lr scale",
    "no_warm_up": "warm-up",
    "post_norm": "warm-up, lr scale",
    "moment_ramp": "betas.1 set, clip",
    "moment_jump": "betas.1 set, clip",
    "never_zeroed": "gradients zero after each step",
    "large_epsilon": "eps set",
    "zero_epsilon": "eps set",
    "deep_sigmoid": "activation replace, init set",
    "deep_plain": "skip insert, init set",
    "small_start": "init",
    "large_start": "init",
    "exploding_recurrence": "init, clip",
    "one_large_layer": "init",
    "zero_start": "init",
    "constant_start": "init",
    "no_norm": "norm insert, init",
    "dead_start": "units reinitialize, init",
    "dead_later": "units reinitialize",
    "saturated": "init, norm insert",
    "unscaled_inputs": "norm insert",
    "corrupted_batch": "batch skip",
    "missing_values": "batch skip",
    "unheld_layer": "parameters register",
    "evaluation_mode": "mode set",
    "stale_statistics": "norm.momentum set",
    "tiny_norm_batches": "norm replace",
    "over_regularised": "weight_decay set",
    "heavy_dropout": "dropout set",
}

OUT_OF_REACH: Mapping[str, str] = {
    "noisy_gradient": "data: batches of one example; the loader is the user's",
    "half_asleep": "code: an optimizer whose step is never called",
    "label_noise": "data: wrong labels",
    "labels_changed": "data: wrong labels from one step on",
    "inputs_shifted": "data: other inputs than the held-out ones from one step on",
    "class_imbalance": "data: nine classes of ten are hardly there",
    "overfitting": "data: a few dozen examples",
    "double_softmax": "code: a module of the model before the loss",
    "clipped_logits": "code: a module of the model before the loss",
    "wrong_loss": "code: the loss function",
    "loose_layer": "code: layers that no module owns",
    "detached": "code: a graph that is cut in forward()",
    "log_of_negative": "code: an operation that is NaN on every later batch",
    "root_of_zero": "code: an operation whose slope is NaN on every later batch",
    "zero_by_zero": "code: an operation that is NaN on every later batch",
    "half_overflow": "code: a cast in forward(), and weights that are made to grow",
    "logit_drift": "code: a bias that is raised after every step",
    "attention_growth": "code: weights that are multiplied after every step",
    "evaluated_in_training_mode": "code: the evaluation itself",
    "strong_critic": "code: turns of a game",
    "reward_scale": "code: the unit of the rewards",
    "rewards_jump": "code: the unit of the rewards",
    "unsynchronised": "code: replicas that are not wrapped",
}
