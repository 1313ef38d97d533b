"""Adversaries: a random generator comes in, a task with two models goes out."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from surefoot.tasks.gan.losses import non_saturating_generator_loss
from surefoot.zoo.datasets import Cycle, digits
from surefoot.zoo.losses import numbers
from surefoot.zoo.nets import mlp
from surefoot.zoo.task import Losses, Observer, Rng, Scores, Task

NOISE = 8


def digit_gan(rng: Rng) -> Task:
    """A GAN on digits; without momentum of 0.9, under which it turns in circles."""
    critic = mlp(64, 2, nn.LeakyReLU, sizes=(64, 1))
    generator = mlp(64, 2, sizes=(NOISE, 64))
    rate, betas = float(rng.uniform(1e-3, 2e-3)), (0.5, 0.999)
    return Task(
        {"critic": critic, "generator": generator},
        {
            "critic": torch.optim.Adam(critic.parameters(), lr=rate, betas=betas),
            "generator": torch.optim.Adam(generator.parameters(), lr=rate, betas=betas),
        },
        Cycle(digits()[:1], 64, int(rng.integers(10**6))),
        lambda model, batch: F.softplus(-model(batch[0])).mean(),
        steps=400,
        update=play,
        scores=distances,
        settings={"turns": 1},
    )


def play(task: Task, step: int, observer: Observer) -> Losses:
    """The critic's turns, then the generator's, by the non-saturating loss."""
    critic, generator = task.models["critic"], task.models["generator"]
    batch, loss_c = None, torch.zeros(())
    for _ in range(int(task.settings["turns"])):
        batch = next(task.batches)
        change = task.batch_change.get(step)
        batch = batch if change is None else change(batch)
        fake = generator(torch.randn(len(batch[0]), NOISE)).detach()
        loss_c = task.loss(critic, batch) + F.softplus(critic(fake)).mean()
        _turn(task, "critic", loss_c, (step, batch, observer))
    loss_g = non_saturating_generator_loss(critic(generator(torch.randn(64, NOISE))))
    _turn(task, "generator", loss_g, (step, batch, observer))
    losses = {"critic": loss_c, "generator": loss_g}
    observer.after_update(step, losses, batch)
    return {name: loss.detach() for name, loss in losses.items()}


def _turn(
    task: Task, name: str, loss: torch.Tensor, at: tuple[int, object, Observer]
) -> None:
    step, batch, observer = at
    observer.before_backward(step, {name: loss}, batch)
    task.optimizers[name].zero_grad()
    loss.backward()
    observer.before_update(step)
    task.optimizers[name].step()


def distances(task: Task) -> Scores:
    """Sliced Wasserstein distances of 32 generated batches from real ones."""
    random = torch.Generator().manual_seed(0)
    real = Cycle(digits()[:1], 64, 0)
    generator, found = task.models["generator"], list[torch.Tensor]()
    for _ in range(32):
        fake = generator(torch.randn(64, NOISE, generator=random))
        true = next(real)[0]
        axes = F.normalize(torch.randn(fake.shape[1], 32, generator=random), dim=0)
        ends = [(points @ axes).sort(0).values for points in (fake, true)]
        found.append((ends[0] - ends[1]).abs().mean())
    return Scores(numbers(torch.stack(found)))
