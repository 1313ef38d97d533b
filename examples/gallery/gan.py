"""A GAN that collapses on eight clouds of points, and what keeps it on all of them.

python examples/gallery/gan.py --to gan.png
"""

import math

import torch
from beside import Outcome, Pair, compare
from torch import nn

from surefoot.tasks.gan import (
    CriticSteps,
    discriminator_loss,
    non_saturating_generator_loss,
    r1_penalty,
)

CLOUDS, NOISE, BATCH, STEPS = 8, 8, 64, 600
ANGLES = torch.arange(CLOUDS) * 2 * math.pi / CLOUDS
CENTRES = 2 * torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)


def points():
    return CENTRES[torch.randint(CLOUDS, (BATCH,))] + 0.1 * torch.randn(BATCH, 2)


def net(inputs, outputs, activation):
    return nn.Sequential(
        nn.Linear(inputs, 64), activation(), nn.Linear(64, 64), activation(),
        nn.Linear(64, outputs),
    )  # fmt: skip


def covered(made):
    """Clouds that hold at least a quarter of their share of what is made."""
    distance, which = torch.cdist(made, CENTRES).min(1)
    held = torch.bincount(which[distance < 0.3], minlength=CLOUDS)
    return int((held >= len(made) / CLOUDS / 4).sum())


def trained(seed, *, momentum, gamma):
    torch.manual_seed(seed)
    generator, critic = net(NOISE, 2, nn.ReLU), net(2, 1, nn.LeakyReLU)
    ours, theirs = (
        torch.optim.Adam(one.parameters(), lr=3e-3, betas=(momentum, 0.99))
        for one in (generator, critic)
    )
    counts = []
    for who in CriticSteps(1).order(steps=STEPS):
        made = generator(torch.randn(BATCH, NOISE))
        if who == "critic":
            real = points()
            loss = discriminator_loss(critic(real), critic(made.detach()))
            if gamma:
                loss = loss + r1_penalty(critic, real, gamma=gamma)
            optimizer = theirs
        else:
            loss = non_saturating_generator_loss(critic(made))
            optimizer = ours
            counts.append(made.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    curve = [covered(torch.cat(counts[at : at + 15])) for at in range(0, STEPS, 15)]
    return Outcome(sum(curve[-5:]) / 5, curve)


compare(
    Pair(
        "momentum 0.9",
        "no momentum, R1 penalty",
        metric="clouds covered, of 8",
        curve="clouds covered",
    ),
    lambda seed: trained(seed, momentum=0.9, gamma=0.0),
    lambda seed: trained(seed, momentum=0.0, gamma=0.1),
    to="gan.png",
)
