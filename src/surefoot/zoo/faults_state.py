"""Faults of modes, statistics, capacity and opponents: a task comes in, truth out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from surefoot.zoo.datasets import held_out_digits
from surefoot.zoo.losses import numbers
from surefoot.zoo.nets import mlp
from surefoot.zoo.places import NORMS, middle, named
from surefoot.zoo.task import Rng, Scores, Task, Truth, before_step


def evaluation_mode(task: Task, rng: Rng, strength: int) -> Truth:
    """`train()` is not called again after an evaluation, or never was."""
    onset = (middle(task, rng), task.steps // 10, 0)[strength - 1]
    before_step(task, onset, task.model.eval)
    return Truth(("model in evaluation mode",), onset, fixes=("training mode",))


def stale_statistics(task: Task, rng: Rng, strength: int) -> Truth:
    """The running statistics of batch normalisation hardly follow the batches."""
    layers = named(task.model, NORMS)
    for name in layers:
        task.model.get_submodule(name).momentum = (3e-3, 1e-3, 0.0)[strength - 1]
    return Truth(("train and evaluation differ",), fixes=("norm momentum",))


def evaluated_in_training_mode(task: Task, rng: Rng, strength: int) -> Truth:
    """`eval()` is missing: batches of a few examples are normalised by themselves."""
    size = (4, 2, 1)[strength - 1]
    x, y = held_out_digits()

    def scores(task: Task) -> Scores:
        task.model.train()
        logits = torch.cat([task.model(part) for part in x.split(size)])
        loss = nn.functional.cross_entropy(logits, y, reduction="none")
        return Scores(numbers(loss), (logits.argmax(1) == y).numpy())

    task.scores = scores
    return Truth(("train and evaluation differ",), fixes=("evaluation mode",))


def tiny_norm_batches(task: Task, rng: Rng, strength: int) -> Truth:
    """Batch normalisation has a handful of values to take its statistics from."""
    if not named(task.model, NORMS):
        task.replace_model(mlp(64, 3, norm=nn.BatchNorm1d))
    batches: Any = task.batches
    batches.size = (4, 3, 2)[strength - 1]
    causes = ("batch normalisation on too few values", "gradient noise dominates")
    return Truth(causes, fixes=("larger batch", "layer norm"))


def over_regularised(task: Task, rng: Rng, strength: int) -> Truth:
    """Weight decay pulls all weights to zero faster than the loss can hold them."""
    for group in task.optimizer.param_groups:
        shrink = (0.02, 0.1, 0.5)[strength - 1]
        decoupled = isinstance(task.optimizer, torch.optim.AdamW)
        plain = 0.05 if isinstance(task.optimizer, torch.optim.Adam) else 0.1
        group["weight_decay"] = (
            shrink / group["lr"] if decoupled else plain * 5.0 ** (strength - 1)
        )
    return Truth(("over-regularised",), fixes=("less weight decay",))


def heavy_dropout(task: Task, rng: Rng, strength: int) -> Truth:
    """Nearly all units are dropped."""
    task.replace_model(mlp(64, 3, dropout=(0.85, 0.9, 0.97)[strength - 1]))
    return Truth(("over-regularised",), fixes=("less dropout",))


def strong_critic(task: Task, rng: Rng, strength: int) -> Truth:
    """The discriminator learns so fast that the generator gets no gradient."""
    for group in task.optimizers["critic"].param_groups:
        group["lr"] *= (3.0, 5.0, 10.0)[strength - 1]
    task.settings["turns"] = (5, 10, 10)[strength - 1]
    for group in task.optimizers["generator"].param_groups:
        group["lr"] /= (10.0, 30.0, 100.0)[strength - 1]
    return Truth(("discriminator too strong",), fixes=("balance rates",))


def reward_scale(task: Task, rng: Rng, strength: int) -> Truth:
    """Rewards are 100 to 10,000 times what value and policy can share."""
    task.settings["reward"] *= (1e2, 1e3, 1e4)[strength - 1]
    return Truth(("reward scale",), fixes=("scale rewards", "clip"))


def rewards_jump(task: Task, rng: Rng, strength: int) -> Truth:
    """Rewards change their unit in mid-run."""
    onset = middle(task, rng)

    def rescale() -> None:
        task.settings["reward"] *= (1e2, 1e3, 1e4)[strength - 1]

    before_step(task, onset, rescale)
    causes = ("reward scale", "data changed")
    return Truth(causes, onset, fixes=("scale rewards", "clip"))
