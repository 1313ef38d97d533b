"""Faulty training runs: a seed comes in, a damaged `Task` and what to expect go out.

Each is made from a healthy task by one change, so that its twin is the same run
without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from benchmarks.calibration import healthy, unseen
from benchmarks.calibration.nets import Cycle, Task, cross_entropy, digits, mlp

Rng = np.random.Generator
Base = Callable[[Rng], Task]


@dataclass(frozen=True)
class Expected:
    """What a diagnosis should say: any of `causes`, a layer in `layers`, the step."""

    causes: tuple[str, ...]
    onset: int = 0
    layers: tuple[str, ...] = ()


Fault = Callable[[Task, Rng], Expected]
HIGH = ("learning rate too high",)


def _scaled(task: Task, factor: float, start: int = 0) -> None:
    old = task.schedule or (lambda step: 1.0)
    task.schedule = lambda step: old(step) * (factor if step >= start else 1.0)


def _named(task: Task, kinds: tuple[type[nn.Module], ...]) -> list[str]:
    return [n for n, m in task.model.named_modules() if isinstance(m, kinds)]


def _weighted(task: Task) -> list[str]:
    return _named(task, (nn.Linear, nn.Conv1d, nn.Conv2d))


def lr_high(task: Task, rng: Rng) -> Expected:
    _scaled(task, float(10 ** rng.uniform(1.5, 3)))
    return Expected(HIGH)


def lr_jump(task: Task, rng: Rng) -> Expected:
    onset = int(task.steps * rng.uniform(0.3, 0.6))
    _scaled(task, float(10 ** rng.uniform(1.7, 3)), onset)
    return Expected(HIGH, onset)


def lr_low(task: Task, rng: Rng) -> Expected:
    _scaled(task, float(10 ** rng.uniform(-5, -3)))
    return Expected(("learning rate too low",))


def deep_sigmoid(task: Task, rng: Rng) -> Expected:
    depth = int(rng.integers(8, 20))
    model = mlp(int(rng.choice([32, 64])), depth, nn.Sigmoid)
    _replace(task, model, rng)
    return Expected(("saturating activations in a deep network",))


def _replace(task: Task, model: nn.Module, rng: Rng) -> None:
    task.model = model
    params = model.parameters()
    sgd = rng.random() < 0.5
    task.optimizer = (
        torch.optim.SGD(params, lr=0.05, momentum=0.9)
        if sgd
        else torch.optim.Adam(params, lr=1e-3)
    )
    task.batches = Cycle(digits(), 64, 3)
    task.loss, task.schedule, task.clip = cross_entropy, None, 0.0


def deep_default_relu(task: Task, rng: Rng) -> Expected:
    _replace(task, mlp(64, int(rng.integers(16, 26))), rng)
    return Expected(("weights start too small", "missing normalisation"))


def small_init(task: Task, rng: Rng) -> Expected:
    model = mlp(64, int(rng.integers(5, 9)), nn.Tanh if rng.random() < 0.5 else nn.ReLU)
    for p in model.parameters():
        p.data.mul_(0.1)
    _replace(task, model, rng)
    return Expected(
        (
            "weights start too small",
            "saturating activations in a deep network",
            "missing normalisation",
        )
    )


def exploding_init(task: Task, rng: Rng) -> Expected:
    model = mlp(64, int(rng.integers(6, 14)))
    gain = float(rng.uniform(2, 4))
    for m in model:
        if isinstance(m, nn.Linear):
            nn.init.kaiming_normal_(m.weight)
            m.weight.data.mul_(gain)
    _replace(task, model, rng)
    return Expected(("weights start too large", "missing normalisation"))


def one_layer_large(task: Task, rng: Rng) -> Expected:
    names = _weighted(task)[:-1]
    name = str(rng.choice(names))
    task.model.get_submodule(name).weight.data.mul_(float(rng.choice([100, 1000])))
    return Expected(
        ("weights start too large", "saturated activations", "missing normalisation"),
        0,
        (name,),
    )


def zero_init(task: Task, rng: Rng) -> Expected:
    for name in _weighted(task):
        nn.init.zeros_(task.model.get_submodule(name).weight)
    return Expected(("weights start at zero",))


def dead_relu_start(task: Task, rng: Rng) -> Expected:
    return _kill(task, rng, 0)


def dead_relu_later(task: Task, rng: Rng) -> Expected:
    return _kill(task, rng, int(task.steps * rng.uniform(0.3, 0.6)))


def _kill(task: Task, rng: Rng, onset: int) -> Expected:
    names = _weighted(task)[:-1]
    name = str(rng.choice(names))
    module = task.model.get_submodule(name)

    def kill() -> None:
        module.bias.data.fill_(-50.0)

    task.change[onset] = kill
    relu = [n for n, m in task.model.named_modules() if isinstance(m, nn.ReLU)]
    order = [n for n, _ in task.model.named_modules()]
    after = [n for n in relu if order.index(n) > order.index(name)][:1]
    return Expected(("dead ReLU",), onset, (name, *after))


def saturated_tanh(task: Task, rng: Rng) -> Expected:
    names = _weighted(task)[:-1]
    name = str(rng.choice(names))
    task.model.get_submodule(name).weight.data.mul_(50.0)
    order = [n for n, _ in task.model.named_modules()]
    after = order[order.index(name) + 1]
    return Expected(
        ("saturated activations", "weights start too large"), 0, (name, after)
    )


class Breaks(nn.Module):
    """Passes its input on, and from some step on through an undefined operation."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.on = kind, False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.on:
            return x
        rest = x - x.detach()
        if self.kind == "log":
            return x + torch.log(rest - 1)
        if self.kind == "sqrt":
            return x + torch.sqrt(rest * rest)
        return x + rest / rest.detach()


def not_a_number(task: Task, rng: Rng) -> Expected:
    onset = int(task.steps * rng.uniform(0.2, 0.7))
    breaks = Breaks(str(rng.choice(["log", "sqrt", "div"])))
    place = int(rng.integers(1, len(task.model) - 1))
    task.model.insert(place, breaks)
    task.optimizer = torch.optim.Adam(task.model.parameters(), lr=1e-3)

    def switch() -> None:
        breaks.on = True

    task.change[onset] = switch
    return Expected(("numeric fault",), onset, (str(place),))


def nan_input(task: Task, rng: Rng) -> Expected:
    onset = int(task.steps * rng.uniform(0.2, 0.7))
    task.batch_change[onset] = lambda b: (b[0] * float("nan"), *b[1:])
    return Expected(("non-finite data",), onset)


def bad_batches(task: Task, rng: Rng) -> Expected:
    onset = int(task.steps * rng.uniform(0.3, 0.6))
    size = float(10 ** rng.uniform(2, 4))
    for k in range(int(rng.integers(1, 4))):
        task.batch_change[onset + k] = lambda b: (b[0] * size, b[1].roll(1))
    return Expected(("bad batch",), onset)


def unheld(task: Task, rng: Rng) -> Expected:
    names = _weighted(task)
    name = names[int(rng.integers(1, len(names)))] if len(names) > 1 else "core"
    out = {id(p) for p in task.model.get_submodule(name).parameters()}
    group = task.optimizer.param_groups[0]
    group["params"] = [p for p in group["params"] if id(p) not in out]
    own = task.model.get_submodule(name).named_parameters()
    return Expected(("frozen layer",), 0, tuple(f"{name}.{n}" for n, _ in own))


class Detached(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach()


def detached(task: Task, rng: Rng) -> Expected:
    names = [n for n in _weighted(task) if "." not in n]
    k = int(rng.integers(0, len(names) - 1))
    name = names[k]
    task.model.insert(int(name) + 1, Detached())
    return Expected(("frozen layer",), 0, (f"{name}.weight", f"{name}.bias"))


def no_zero_grad(task: Task, rng: Rng) -> Expected:
    task.zero_grad = False
    return Expected(("gradients never zeroed", *HIGH, "unknown"))


def unscaled_input(task: Task, rng: Rng) -> Expected:
    size = float(10 ** rng.uniform(2, 4))
    old = task.loss
    task.loss = lambda m, b: old(m, (b[0] * size, *b[1:]))
    return Expected(
        ("inputs not scaled", "weights start too large", *HIGH, "saturated activations")
    )


def stale_moment(task: Task, rng: Rng) -> Expected:
    """Gradients grow a hundredfold: Adam still divides by the small ones of before."""
    onset = int(task.steps * rng.uniform(0.3, 0.6))
    old, scale = task.loss, [1e-2]
    task.loss = lambda m, b: old(m, b) * scale[0]
    task.optimizer.param_groups[0]["eps"] = 1e-12

    def grow() -> None:
        scale[0] = 10.0

    task.change[onset] = grow
    return Expected(("stale second moment", "data changed"), onset)


def shuffled_labels_later(task: Task, rng: Rng) -> Expected:
    onset = int(task.steps * rng.uniform(0.3, 0.6))
    for k in range(onset, task.steps):
        task.batch_change[k] = lambda b: (b[0], b[1][torch.randperm(len(b[1]))])
    return Expected(("unknown", "data changed"), onset)


def post_norm_no_warmup(task: Task, rng: Rng) -> Expected:
    return lr_high(task, rng)


MLP: tuple[Base, ...] = (healthy.mlp_adam,)
PLAIN: tuple[Base, ...] = (healthy.mlp_adam, healthy.conv_plain)
TANH: tuple[Base, ...] = (healthy.tanh_sgd,)
STACK: tuple[Base, ...] = (
    healthy.mlp_adam,
    healthy.tanh_sgd,
    healthy.conv_plain,
    healthy.conv_bn,
)
ANY: tuple[Base, ...] = (
    *STACK,
    healthy.lstm_clip,
    healthy.gpt_warmup_cosine,
    healthy.vit,
)
ADAM: tuple[Base, ...] = (healthy.mlp_adam, healthy.conv_plain, healthy.vit)

UNSEEN: tuple[Base, ...] = (
    unseen.rows_bidirectional, unseen.torch_transformer, unseen.leaky_deep_residual,
    unseen.small_text_cnn, unseen.two_heads, unseen.mixture_of_experts,
    unseen.optimizer_nadam, unseen.group_norm_single,
)  # fmt: skip
"""Networks on which no bound was chosen, for the faults that fit any network."""

FAULTS: tuple[tuple[Fault, Sequence[Base]], ...] = (
    (lr_high, ANY), (lr_jump, ANY), (lr_low, ANY), (deep_sigmoid, MLP),
    (deep_default_relu, MLP), (small_init, MLP), (exploding_init, MLP),
    (one_layer_large, PLAIN), (zero_init, PLAIN), (dead_relu_start, PLAIN),
    (dead_relu_later, PLAIN), (saturated_tanh, TANH), (not_a_number, STACK),
    (nan_input, STACK), (bad_batches, STACK), (unheld, ANY), (detached, STACK),
    (no_zero_grad, ANY), (unscaled_input, STACK), (stale_moment, ADAM),
    (shuffled_labels_later, STACK),
    *((fault, UNSEEN) for fault in (lr_high, lr_jump, lr_low, unheld, no_zero_grad)),
)  # fmt: skip
