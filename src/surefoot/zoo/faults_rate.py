"""Faults of step size and optimizer: a task comes in, the truth about it goes out.

Each plants one fault of strength 1 (mild) to 3 (drastic) in the task.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from surefoot.zoo.homes import warm_cosine
from surefoot.zoo.places import insert, late, middle, weighted
from surefoot.zoo.task import Rng, Task, Truth, before_step, like, scale_rate
from surefoot.zoo.transformers import GPT, ViT

TOO_HIGH = "learning rate too high"
SLOWER = ("lower lr", "warm-up", "clip")
RAMP_STEPS = 20
BOLD = (3.0, 4.0, 6.0)
"""Factors of the rate that do no harm as long as the second moment is fresh."""


def rate_too_high(task: Task, rng: Rng, strength: int) -> Truth:
    """The learning rate is 30 to 1000 times what works."""
    scale_rate(task, (30.0, 100.0, 1000.0)[strength - 1])
    return Truth((TOO_HIGH,), fixes=SLOWER, symptoms=("divergence", "loss spike"))


def rate_jump(task: Task, rng: Rng, strength: int) -> Truth:
    """The learning rate is multiplied in mid-run, as by a wrong schedule."""
    onset = middle(task, rng)
    scale_rate(task, (30.0, 100.0, 1000.0)[strength - 1], onset)
    return Truth((TOO_HIGH,), onset, fixes=SLOWER, symptoms=("loss spike",))


def rate_too_low(task: Task, rng: Rng, strength: int) -> Truth:
    """The learning rate is a hundredth to a hundred-thousandth of what works."""
    scale_rate(task, (1e-2, 1e-3, 1e-5)[strength - 1])
    causes = ("learning rate too low",)
    return Truth(causes, fixes=("higher lr",), symptoms=("not learning",))


def no_warm_up(task: Task, rng: Rng, strength: int) -> Truth:
    """A transformer gets a high rate from the first step on."""
    steps, factor = task.steps, (8.0, 20.0, 50.0)[strength - 1]
    cosine = warm_cosine(0, steps)
    task.schedule = lambda step: factor * cosine(step)
    return Truth(("no warm-up", TOO_HIGH), fixes=SLOWER)


def post_norm(task: Task, rng: Rng, strength: int) -> Truth:
    """A deep transformer is normalised after each block, without warm-up."""
    old: Any = task.model
    blocks, width = (6, 8, 8)[strength - 1], old.head.in_features
    torch.manual_seed(task.training_seed)
    if isinstance(old, GPT):
        model: nn.Module = GPT(old.head.out_features, width, blocks=blocks, post=True)
    else:
        model = ViT(width, blocks, post=True)
    task.replace_model(model)
    task.schedule, task.clip = None, 0.0
    scale_rate(task, (4.0, 8.0, 16.0)[strength - 1])
    causes = ("post-norm transformer", "no warm-up", TOO_HIGH)
    return Truth(causes, fixes=("warm-up", "lower lr"))


class Dimmed(torch.autograd.Function):
    """Passes values on, and gradients multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: float) -> torch.Tensor:
        """The input itself."""
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The gradient times the factor."""
        return grads[0] * ctx.factor, None


class GradientGate(nn.Module):
    """Lets a share of the gradient pass, as schemes with several losses do."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The input; its gradient comes back multiplied by the share."""
        out: Any = Dimmed.apply(x, self.share)
        return out


def moment_ramp(task: Task, rng: Rng, strength: int) -> Truth:
    """A gate on the gradient opens over twenty steps, too fast for a long memory."""
    onset, growth = late(task, rng) - RAMP_STEPS, (1e3, 1e4, 1e5)[strength - 1]
    gate = GradientGate(1 / growth)
    name = insert(task, rng, gate)
    for group in task.optimizer.param_groups:
        group["eps"], group["betas"] = 1e-15, (0.9, 0.9999)
    task.schedule, task.clip = None, 0.0
    scale_rate(task, BOLD[strength - 1])
    for k in range(RAMP_STEPS):
        share = growth ** ((k + 1) / RAMP_STEPS - 1)
        before_step(task, onset + k, _opened(gate, share))
    before = _upstream(task.model, name)
    return Truth(("stale second moment",), onset, before, ("shorter memory", "clip"))


def _opened(gate: GradientGate, share: float) -> Any:
    def change() -> None:
        gate.share = share

    return change


def _upstream(model: nn.Module, name: str) -> tuple[str, ...]:
    """Weighted layers before a module, and their parameters."""
    order = [one for one, _ in model.named_modules()]
    layers = [one for one in weighted(model) if order.index(one) < order.index(name)]
    inner = [f"{one}.{part}" for one in layers for part in ("weight", "bias")]
    return (*layers, *inner)


def moment_jump(task: Task, rng: Rng, strength: int) -> Truth:
    """The weight of the loss is raised in one step; Adam divides by the old one."""
    onset, growth = late(task, rng), (30.0, 300.0, 3000.0)[strength - 1]
    old, weight = task.loss, [1 / growth]
    task.loss = lambda model, batch: old(model, batch) * weight[0]
    for group in task.optimizer.param_groups:
        group["eps"], group["betas"] = 1e-15, (0.9, 0.9999)
    task.schedule, task.clip = None, 0.0
    scale_rate(task, BOLD[strength - 1])

    def raised() -> None:
        weight[0] = 1.0

    before_step(task, onset, raised)
    fixes = ("shorter memory", "clip", "lower lr")
    return Truth(("stale second moment", "data changed"), onset, fixes=fixes)


def never_zeroed(task: Task, rng: Rng, strength: int) -> Truth:
    """`zero_grad` is missing: each update follows the sum of all gradients."""
    task.zero_grad = False
    causes = ("gradients never zeroed",)
    return Truth(causes, fixes=("zero gradients",), symptoms=("accumulating",))


def noisy_gradient(task: Task, rng: Rng, strength: int) -> Truth:
    """Batches of one example at a rate that was chosen for large ones."""
    batches: Any = task.batches
    batches.size = 1
    scale_rate(task, (2.0, 5.0, 10.0)[strength - 1])
    causes = ("gradient noise dominates", TOO_HIGH)
    return Truth(causes, fixes=("larger batch", "lower lr"))


def half_asleep(task: Task, rng: Rng, strength: int) -> Truth:
    """Body and head have an optimizer each, and one of them is never stepped."""
    names = weighted(task.model)
    head = names[-1]
    if hasattr(task.model, "head"):
        head = "head"
    inner = [one for name, one in task.model.named_parameters() if _in(name, head)]
    rest = [one for name, one in task.model.named_parameters() if not _in(name, head)]
    old = task.optimizer
    task.optimizers = {"body": like(old, rest), "head": like(old, inner)}
    task.asleep = frozenset({"body"})
    return Truth(("optimizer never stepped", "frozen layer"), fixes=("register",))


def _in(parameter: str, layer: str) -> bool:
    return parameter.startswith(f"{layer}.")


def large_epsilon(task: Task, rng: Rng, strength: int) -> Truth:
    """Adam's epsilon is far above the gradients: its steps shrink with them."""
    for group in task.optimizer.param_groups:
        group["eps"] = (1.0, 10.0, 100.0)[strength - 1]
    causes = ("epsilon dominates", "learning rate too low")
    return Truth(causes, fixes=("smaller epsilon", "higher lr"))


def zero_epsilon(task: Task, rng: Rng, strength: int) -> Truth:
    """Adam's epsilon is zero: a weight without gradient becomes 0/0."""
    for group in task.optimizer.param_groups:
        group["eps"] = 0.0
    causes = ("epsilon too small", "numeric fault")
    return Truth(causes, fixes=("larger epsilon",), symptoms=("nonfinite",))
