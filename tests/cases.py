"""Tiny planted records: one of each symptom, and healthy ones that resemble them.

A record is made of a healthy one by one change, so that what fires is that change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from surefoot.types import RUN, Event, Facts, Module, Parameter, Series

STEPS = 300
EVERY = 10
DEPTH = 6
LN10 = float(np.log(10.0))

Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A record, and which signatures must raise an alarm on it, where and when.

    `cause` is the first one of the diagnosis, "" where there must be none.
    """

    name: str
    series: Mapping[str, Series]
    facts: Facts
    events: tuple[Event, ...] = ()
    fires: tuple[str, ...] = ()
    layer: str = "run"
    onset: int = 0
    cause: str = ""


@dataclass
class Draft:
    """A healthy record that a case may change before it is frozen."""

    values: Values
    facts: Facts
    steps: np.ndarray = field(default_factory=lambda: np.arange(STEPS))
    sparse: np.ndarray = field(default_factory=lambda: np.arange(0, STEPS, EVERY))
    events: tuple[Event, ...] = ()

    def frozen(self) -> dict[str, Series]:
        axes = layers_of(self.facts)
        found: dict[str, Series] = {}
        for quantity, rows in self.values.items():
            steps = self.steps if len(rows) == len(self.steps) else self.sparse
            steps = steps[: len(rows)]
            layers = axes.get(quantity, RUN)
            found[quantity] = Series(quantity, layers, steps, rows.astype(np.float32))
        return found


def facts_of(depth: int = DEPTH, activation: str = "ReLU", outputs: int = 10) -> Facts:
    """A plain network: linear layers "0", "2", … with an activation after each."""
    parameters: list[Parameter] = []
    modules: list[Module] = []
    for i in range(depth):
        name, last = str(2 * i), i == depth - 1
        width = outputs if last else 64
        parameters.append(Parameter(f"{name}.weight", name, 64 * width))
        parameters.append(Parameter(f"{name}.bias", name, width))
        modules.append(Module(name, "Linear"))
        if not last:
            modules.append(Module(str(2 * i + 1), activation))
    return Facts(
        model="Sequential",
        optimizer="Adam",
        options={"lr": 1e-3},
        parameters=tuple(parameters),
        modules=tuple(modules),
    )


def layers_of(facts: Facts) -> dict[str, tuple[str, ...]]:
    """The layers of each quantity that has several."""
    parameters = tuple(one.name for one in facts.parameters if one.held)
    modules = tuple(one.name for one in facts.modules)
    bounded = ("Sigmoid", "Tanh")
    return {
        **dict.fromkeys(
            ("grad_norm", "weight_norm", "update_norm", "second_moment_ratio"),
            parameters,
        ),
        "activation_std": modules,
        "dead_share": tuple(m.name for m in facts.modules if m.kind == "ReLU"),
        "saturated_share": tuple(m.name for m in facts.modules if m.kind in bounded),
        "lr": ("group0",),
        "grad_cosine": parameters,
        "unit_spread": tuple(name for name in parameters if "weight" in name)[:-1],
        "example_loss": ("q25", "q50", "q75", "q90", "max"),
        "target_share": ("0", "1", "2"),
        "target_right": ("0", "1", "2"),
        "metric": ("held_out_loss", "held_out_accuracy"),
        "attention_logit_absmax": ("2",),
        "attention_entropy": ("2",),
        "norm_gap": ("2",),
    }


def draft(facts: Facts | None = None, *, seed: int = 0) -> Draft:
    """A run that learns: the loss falls from ln 10, all else keeps its size."""
    facts = facts or facts_of()
    rng = np.random.default_rng(seed)
    made = Draft({}, facts)
    axes = layers_of(facts)
    dense, sparse = len(made.steps), len(made.sparse)

    def noisy(level: float, rows: int, columns: int, spread: float = 0.1) -> np.ndarray:
        return level * np.exp(spread * rng.standard_normal((rows, columns)))

    fall = 0.1 + (LN10 - 0.1) * np.exp(-made.steps / 60)
    many = len(axes["grad_norm"])
    made.values = {
        "loss": fall[:, None] * noisy(1.0, dense, 1, 0.03),
        "lr": np.full((dense, 1), 1e-3),
        "input_std": noisy(1.0, dense, 1, 0.01),
        "input_absmax": noisy(3.0, dense, 1, 0.05),
        "grad_norm": noisy(0.5, dense, many, 0.25),
        "weight_norm": noisy(5.0, sparse, many, 0.001),
        "update_norm": noisy(0.02, sparse, many),
        "second_moment_ratio": noisy(1.0, sparse, many),
        "activation_std": noisy(0.5, sparse, len(facts.modules)),
        "input_mean": 0.05 * rng.standard_normal((dense, 1)),
        "batch_size": np.full((dense, 1), 64.0),
        "grad_cosine": noisy(0.3, sparse, many),
        "directional_sharpness": noisy(0.9, sparse, 1),
        "unit_spread": noisy(0.99, 1, len(axes["unit_spread"]), 0.001),
        "log_z_square": noisy(5.0, sparse, 1),
        "output_entropy": (fall[made.sparse] / LN10)[:, None],
        "example_loss": fall[made.sparse, None] * np.array([0.1, 0.3, 1.0, 2.5, 8.0]),
        "target_share": np.tile([0.4, 0.35, 0.25], (sparse, 1)),
        "target_right": np.tile([0.39, 0.34, 0.24], (sparse, 1)),
        "metric": np.stack([fall[made.sparse] + 0.1, 1 - fall[made.sparse] / 4], 1),
    }
    if axes["dead_share"]:
        made.values["dead_share"] = noisy(0.1, sparse, len(axes["dead_share"]))
    if axes["saturated_share"]:
        wide = len(axes["saturated_share"])
        made.values["saturated_share"] = noisy(0.02, sparse, wide)
    return made


def guesses(made: Draft, since: int = 0) -> None:
    """The loss is that of a guess from a step on."""
    rows = len(made.steps) - since
    rng = np.random.default_rng(1)
    made.values["loss"][since:, 0] = LN10 * (1 + 0.01 * rng.standard_normal(rows))


# --- healthy records --------------------------------------------------------------


def plain(made: Draft) -> None:
    """Nothing is wrong."""


def converged(made: Draft) -> None:
    """Loss and gradients fall to nothing, and the rest follows."""
    fall = np.exp(-made.steps / 15)
    made.values["loss"] = (LN10 * fall + 1e-6)[:, None]
    made.values["grad_norm"] *= fall[:, None] + 1e-7
    made.values["update_norm"] *= fall[made.sparse][:, None] + 1e-5


def negative_loss(made: Draft) -> None:
    """A log-likelihood, which may be negative."""
    made.values["loss"] -= 4.0


def huge_loss(made: Draft) -> None:
    """A regression to large targets: loss and gradients in the millions."""
    made.values["loss"] *= 1e7
    made.values["grad_norm"] *= 1e6


def one_high_batch(made: Draft) -> None:
    """A loss far out of its range for one step."""
    made.values["loss"][200] = 3.0


def warm_restart(made: Draft) -> None:
    """The learning rate goes back up to where it was, and the loss follows."""
    rate = 1e-3 * (0.51 + 0.5 * np.cos(np.pi * (made.steps % 100) / 100))
    made.values["lr"] = rate[:, None]
    for start in (100, 200):
        wave = np.exp(-np.arange(60) / 15)
        made.values["loss"][start : start + 60, 0] += 0.8 * wave


def warm_up_and_decay(made: Draft) -> None:
    """A learning rate from zero and back to zero."""
    shape = np.minimum(made.steps / 50, (STEPS - 1 - made.steps) / 250)
    made.values["lr"] = 1e-3 * shape[:, None]
    made.values["update_norm"] *= shape[made.sparse][:, None]


def a_third_dead(made: Draft) -> None:
    """A ReLU layer of which a part is dead, in a run that learns."""
    made.values["dead_share"][:, 2] = 0.45


def noise_of_an_agent(made: Draft) -> None:
    """A policy-gradient loss: no score at all, of either sign."""
    rng = np.random.default_rng(5)
    made.values["loss"] = 0.05 * rng.standard_normal((STEPS, 1))


def frozen_on_purpose(made: Draft) -> None:
    """A backbone that does not ask for gradients."""
    held = made.facts.parameters
    rest = tuple(replace(one, held=False, trainable=False) for one in held[:6])
    made.facts = replace(made.facts, parameters=(*rest, *held[6:]))
    for quantity in ("grad_norm", "weight_norm", "update_norm", "second_moment_ratio"):
        made.values[quantity] = made.values[quantity][:, 6:]


def zero_last_of_branch(made: Draft) -> None:
    """Every other weight starts at zero, as at the end of residual branches."""
    made.values["weight_norm"][0, 2::4] = 0.0


def short_run(made: Draft) -> None:
    """Twenty steps of a run that has not moved yet."""
    guesses(made)
    made.steps, made.sparse = made.steps[:20], made.sparse[:2]
    for quantity, rows in made.values.items():
        dense = len(rows) == STEPS
        made.values[quantity] = rows[: 20 if dense else 2]


# --- faults -----------------------------------------------------------------------


def nan_in_module(made: Draft) -> None:
    made.values["output_entropy"][12:] = np.nan
    made.values["loss"][120:] = np.nan
    made.values["grad_norm"][120:] = np.inf
    body = {
        "module": "4",
        "operation": "log",
        "line": "net.py:12",
        "direction": "forward",
        "certain": True,
    }
    made.events = (Event(120, "nonfinite", body),)


def nan_in_data(made: Draft) -> None:
    made.values["loss"][120:] = np.nan
    made.values["grad_norm"][120:] = np.inf
    body = {"module": "input", "operation": "data", "line": "", "direction": "data"}
    made.events = (Event(120, "nonfinite", {**body, "certain": True}),)


def vanishing(made: Draft) -> None:
    guesses(made)
    fade = np.repeat(10.0 ** np.arange(-5, 1), 2)
    made.values["grad_norm"] *= fade[None, :]
    made.values["update_norm"] *= fade[None, :]


def growing_forward(made: Draft) -> None:
    guesses(made)
    made.values["loss"][:50, 0] = 1e4
    made.values["activation_std"] *= 5.0 ** np.arange(11)[None, :]


def spike_of_bad_input(made: Draft) -> None:
    made.values["input_absmax"][150] = 300.0
    made.values["grad_norm"][150] *= 200
    made.values["loss"][150] = 40.0
    made.values["loss"][151:190, 0] += 2.0 * np.exp(-np.arange(39) / 20)


def rate_jump(made: Draft) -> None:
    made.values["lr"][150:] = 0.1
    made.values["loss"][151:, 0] = 6.0 + np.random.default_rng(2).random(STEPS - 151)
    made.values["grad_norm"][151:] *= 50
    made.values["update_norm"][16:] *= 300


def rate_too_high(made: Draft) -> None:
    guesses(made)
    made.values["update_norm"][:3] = 20.0
    made.values["loss"][1:20, 0] = 30.0


def rate_too_low(made: Draft) -> None:
    guesses(made)
    made.values["update_norm"][:] = 1e-6


def labels_change(made: Draft) -> None:
    guesses(made, since=150)


def dead_layer(made: Draft) -> None:
    guesses(made, since=150)
    made.values["dead_share"][15:, 2] = 1.0
    made.values["grad_norm"][150:, :7] = 0.0
    made.values["update_norm"][15:, :7] = 0.0


def saturated_layer(made: Draft) -> None:
    guesses(made)
    made.values["saturated_share"][:, 1] = 0.97


def loose_layer(made: Draft) -> None:
    held = made.facts.parameters
    loose = tuple(replace(one, held=False) for one in held[4:6])
    made.facts = replace(made.facts, parameters=(*held[:4], *loose, *held[6:]))
    for quantity in ("grad_norm", "weight_norm", "update_norm", "second_moment_ratio"):
        made.values[quantity] = np.delete(made.values[quantity], [4, 5], axis=1)


def cut_graph(made: Draft) -> None:
    made.values["grad_norm"][:, :4] = np.nan
    made.values["update_norm"][:, :4] = 0.0


def unmoved_layer(made: Draft) -> None:
    made.values["update_norm"][:, 4] = 0.0


def zero_weights(made: Draft) -> None:
    made.values["weight_norm"][0, [2, 4]] = 0.0


def large_inputs(made: Draft) -> None:
    made.values["input_std"] *= 90
    made.values["input_absmax"] *= 90
    made.values["activation_std"] *= 90
    made.values["loss"][:30, 0] += 60 * np.exp(-np.arange(30) / 5)


def never_zeroed(made: Draft) -> None:
    rows = 1 - np.exp(-(made.steps + 1) / 15)
    made.values["grad_norm"] = 10 * np.repeat(rows[:, None], 12, axis=1)
    noise = np.random.default_rng(3).standard_normal(STEPS)
    made.values["loss"][:, 0] *= 1 + 0.2 * noise.clip(-2, 2)


def softmax_twice(made: Draft) -> None:
    heads = [["NllLoss", "LogSoftmax", "Softmax", "Addmm"]]
    made.events = (Event(0, "wiring", {"heads": heads, "loose": []}),)


def relu_before_the_loss(made: Draft) -> None:
    heads = [["NllLoss", "LogSoftmax", "Relu", "Addmm"]]
    made.events = (Event(0, "wiring", {"heads": heads, "loose": []}),)


def probabilities_for_logs(made: Draft) -> None:
    heads = [["NllLoss", "Softmax", "Addmm"]]
    made.events = (Event(0, "wiring", {"heads": heads, "loose": []}),)


def layers_in_a_list(made: Draft) -> None:
    heads = [["NllLoss", "LogSoftmax", "Addmm"]]
    loose = [[64, 64], [64]]
    made.events = (Event(0, "wiring", {"heads": heads, "loose": loose}),)


def evaluated_and_left(made: Draft) -> None:
    modules = (*made.facts.modules[:2], Module("norm", "BatchNorm1d"))
    made.facts = replace(made.facts, modules=(*modules, *made.facts.modules[2:]))
    made.values["activation_std"] = np.insert(
        made.values["activation_std"], 2, 1.0, axis=1
    )
    made.events = (
        Event(0, "mode", {"training": True}),
        Event(120, "mode", {"training": False}),
    )


def judged_in_training(made: Draft) -> None:
    modules = (*made.facts.modules[:2], Module("norm", "BatchNorm1d"))
    made.facts = replace(made.facts, modules=(*modules, *made.facts.modules[2:]))
    made.values["activation_std"] = np.insert(
        made.values["activation_std"], 2, 1.0, axis=1
    )
    body = {"training": True, "metrics": ["val_loss", "val_accuracy"]}
    made.events = (Event(30, "evaluated", body),)


def constant_weights(made: Draft) -> None:
    made.values["unit_spread"] = np.full((1, 5), 1.0)
    made.values["unit_spread"][0, 2] = 0.0


def halves_overflow(made: Draft) -> None:
    nan_in_module(made)
    body = dict(made.events[0].body) | {"dtype": "torch.float16", "operation": "linear"}
    made.events = (Event(120, "nonfinite", body),)


def inputs_move(made: Draft) -> None:
    made.values["input_mean"][150:] += 2.0
    made.values["input_absmax"][150:] += 2.0
    guesses(made, since=150)


def epsilon_too_large(made: Draft) -> None:
    guesses(made)
    made.facts = replace(made.facts, options={"betas.1": 0.999, "eps": 1.0})


def noise_only(made: Draft) -> None:
    guesses(made)
    made.values["grad_cosine"] *= 0.01
    made.values["update_norm"] *= 4
    made.values["batch_size"][:] = 1.0


def overshooting(made: Draft) -> None:
    guesses(made)
    made.values["directional_sharpness"][:] = 3.0


def attention_collapses(made: Draft) -> None:
    guesses(made)
    made.values["attention_logit_absmax"] = np.full((30, 1), 400.0)
    made.values["attention_logit_absmax"][:2] = 2.0
    made.values["attention_entropy"] = np.full((30, 1), 0.01)


def scores_drift(made: Draft) -> None:
    guesses(made)
    made.values["log_z_square"] = (made.sparse.astype(float) ** 2)[:, None]


def wrong_labels(made: Draft) -> None:
    made.values["example_loss"][:, 3:] = (4.0, 6.0)


def a_drowned_class(made: Draft) -> None:
    made.values["target_share"] = np.tile([0.8, 0.17, 0.03], (30, 1))
    made.values["target_right"] = np.tile([0.79, 0.16, 0.003], (30, 1))


def learnt_by_heart(made: Draft) -> None:
    steps = made.sparse.astype(float)
    held = LN10 * np.exp(-steps / 40) + 0.3 + np.maximum(0, steps - 100) / 50
    made.values["metric"] = np.stack([held, 1 - held / 10], axis=1)


def decayed_away(made: Draft) -> None:
    made.facts = replace(made.facts, options={"lr": 1e-3, "weight_decay": 10.0})
    made.values["weight_norm"] *= np.exp(-made.sparse / 60)[:, None]
    made.values["update_norm"] *= np.exp(-made.sparse / 60)[:, None]
    guesses(made)


def other_statistics(made: Draft) -> None:
    made.values["norm_gap"] = np.full((30, 1), 8.0)


def batches_of_one(made: Draft) -> None:
    modules = (*made.facts.modules[:2], Module("norm", "BatchNorm1d"))
    made.facts = replace(made.facts, modules=(*modules, *made.facts.modules[2:]))
    made.values["activation_std"] = np.insert(
        made.values["activation_std"], 2, 1.0, axis=1
    )
    made.values["batch_size"] = np.full((STEPS, 1), 2.0)


def certain_too_soon(made: Draft) -> None:
    noise_of_an_agent(made)
    fall = np.where(made.sparse < 20, 0.99, 0.001)
    made.values["output_entropy"] = fall[:, None]


def stale_second_moment(made: Draft) -> None:
    made.values["second_moment_ratio"][14:18, 4] = 12.0
    made.values["loss"][150:, 0] = 3.0
    made.values["grad_norm"][150:] *= 4


FAULTS: tuple[
    tuple[Callable[[Draft], None], Facts, tuple[str, ...], str, int, str], ...
]
_TANH, _SIGMOID = facts_of(activation="Tanh"), facts_of(activation="Sigmoid")
FAULTS = (
    (nan_in_module, facts_of(), ("nonfinite",), "4", 120, "numeric fault"),
    (nan_in_data, facts_of(), ("nonfinite",), "input", 120, "non-finite data"),
    (
        vanishing,
        _SIGMOID,
        ("not_learning", "vanishing_gradients"),
        "0.weight",
        0,
        "saturating activations in a deep network",
    ),
    (
        growing_forward,
        facts_of(),
        ("not_learning", "activation_scale"),
        "0",
        0,
        "weights start too large",
    ),
    (spike_of_bad_input, facts_of(), ("loss_spike",), "run", 150, "bad batch"),
    (
        rate_jump,
        facts_of(),
        ("divergence", "exploding_gradients", "loss_spike", "update_ratio"),
        "run",
        150,
        "learning rate too high",
    ),
    (
        rate_too_high,
        facts_of(),
        ("not_learning", "update_ratio"),
        "run",
        0,
        "learning rate too high",
    ),
    (
        rate_too_low,
        facts_of(),
        ("update_ratio",),
        "run",
        0,
        "learning rate too low",
    ),
    (
        labels_change,
        facts_of(),
        ("divergence", "loss_spike"),
        "run",
        150,
        "data changed",
    ),
    (
        dead_layer,
        facts_of(),
        ("dead_units", "divergence", "loss_spike", "vanishing_gradients"),
        "5",
        150,
        "dead ReLU",
    ),
    (
        saturated_layer,
        _TANH,
        ("not_learning", "saturation"),
        "3",
        0,
        "saturated activations",
    ),
    (loose_layer, facts_of(), ("frozen",), "4.weight", 0, "frozen layer"),
    (cut_graph, facts_of(), ("frozen",), "2.weight", 0, "frozen layer"),
    (unmoved_layer, facts_of(), ("frozen",), "4.weight", 0, "frozen layer"),
    (zero_weights, facts_of(), ("zero_start",), "2.weight", 0, "weights start at zero"),
    (large_inputs, facts_of(), ("input_scale",), "input", 0, "inputs not scaled"),
    (
        never_zeroed,
        facts_of(),
        ("accumulating_gradients",),
        "run",
        0,
        "gradients never zeroed",
    ),
    (
        stale_second_moment,
        facts_of(),
        ("divergence", "loss_spike", "stale_second_moment"),
        "4.weight",
        140,
        "stale second moment",
    ),
    (softmax_twice, facts_of(), ("wiring",), "10", 0, "softmax applied twice"),
    (
        relu_before_the_loss,
        facts_of(),
        ("wiring",),
        "10",
        0,
        "activation before the loss",
    ),
    (
        probabilities_for_logs,
        facts_of(),
        ("wiring",),
        "10",
        0,
        "wrong loss for the output",
    ),
    (layers_in_a_list, facts_of(), ("wiring",), "run", 0, "unregistered parameters"),
    (
        evaluated_and_left,
        facts_of(),
        ("evaluation_mode",),
        "norm",
        120,
        "model in evaluation mode",
    ),
    (
        judged_in_training,
        facts_of(),
        ("evaluated",),
        "norm",
        30,
        "train and evaluation differ",
    ),
    (
        constant_weights,
        facts_of(),
        ("symmetric_start",),
        "4.weight",
        0,
        "units start alike",
    ),
    (
        halves_overflow,
        facts_of(),
        ("half_precision", "nonfinite"),
        "4",
        120,
        "half precision overflow",
    ),
    (
        inputs_move,
        facts_of(),
        ("divergence", "input_shift", "loss_spike"),
        "input",
        150,
        "inputs shifted",
    ),
    (
        epsilon_too_large,
        facts_of(),
        ("epsilon", "not_learning"),
        "run",
        0,
        "epsilon dominates",
    ),
    (
        noise_only,
        facts_of(),
        ("gradient_noise", "not_learning"),
        "run",
        0,
        "gradient noise dominates",
    ),
    (
        overshooting,
        facts_of(),
        ("not_learning", "overshoot"),
        "run",
        0,
        "learning rate too high",
    ),
    (
        attention_collapses,
        facts_of(),
        ("attention_logits", "not_learning"),
        "2",
        0,
        "attention logits grow",
    ),
    (
        scores_drift,
        facts_of(),
        ("logit_drift", "not_learning"),
        "run",
        0,
        "output logits drift",
    ),
    (wrong_labels, facts_of(), ("label_noise",), "run", 0, "label noise"),
    (a_drowned_class, facts_of(), ("class_imbalance",), "run", 0, "class imbalance"),
    (learnt_by_heart, facts_of(), ("overfitting",), "run", 100, "overfitting"),
    (
        decayed_away,
        facts_of(),
        ("not_learning", "over_regularised"),
        "run",
        0,
        "over-regularised",
    ),
    (
        other_statistics,
        facts_of(),
        ("norm_gap",),
        "2",
        0,
        "train and evaluation differ",
    ),
    (
        batches_of_one,
        facts_of(),
        ("few_values",),
        "norm",
        0,
        "batch normalisation on too few values",
    ),
    (certain_too_soon, facts_of(), ("policy_collapse",), "run", 20, "reward scale"),
)

HEALTHY: tuple[Callable[[Draft], None], ...] = (
    plain,
    converged,
    negative_loss,
    huge_loss,
    one_high_batch,
    warm_restart,
    warm_up_and_decay,
    a_third_dead,
    noise_of_an_agent,
    frozen_on_purpose,
    zero_last_of_branch,
    short_run,
)


def faulty_cases() -> list[Case]:
    """One record of each fault."""
    found: list[Case] = []
    for change, facts, fires, layer, onset, cause in FAULTS:
        made = draft(facts)
        change(made)
        name, series = change.__name__, made.frozen()
        found.append(
            Case(name, series, made.facts, made.events, fires, layer, onset, cause)
        )
    return found


def healthy_cases() -> list[Case]:
    """Records on which nothing may raise an alarm."""
    found: list[Case] = []
    for change in HEALTHY:
        made = draft()
        change(made)
        found.append(Case(change.__name__, made.frozen(), made.facts))
    return found
