"""Noisy recordings of pendulums: a model fed with them, and one weaned from them.

python examples/gallery/teacher_forcing.py --to teacher_forcing.png
"""

import torch
from beside import Outcome, Pair, compare
from torch import nn

from surefoot.schedules import (
    Constant,
    Cosine,
    InverseSigmoid,
    ScheduledLR,
    Vary,
    after_step,
)
from surefoot.tasks.sequence import TeacherForcing, exposure_bias, unroll

LENGTH, UPDATES, NOISE = 20, 200, 0.3


class Pendulum(nn.Module):
    def __init__(self):
        super().__init__()
        self.change = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))

    def forward(self, inputs, state):
        return inputs + self.change(inputs), state


def swings(count, generator):
    """Angle and speed of pendulums, ten times a second, from random starts."""
    state = torch.rand(count, 2, generator=generator) * 4 - 2
    seen = [state]
    for _ in range(LENGTH * 5):
        angle, speed = state.unbind(1)
        speed = speed - 0.02 * 4 * torch.sin(angle)
        state = torch.stack([angle + 0.02 * speed, speed], dim=1)
        seen.append(state)
    return torch.stack(seen[::5], dim=1)


def train(seed, schedule):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model, mixer = Pendulum(), TeacherForcing()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    rates = ScheduledLR(optimizer, Cosine(1.0, 0.05, steps=UPDATES))
    after_step(optimizer, Vary(mixer, "epsilon", schedule=schedule))
    clean = swings(256, torch.Generator().manual_seed(999))
    curve = []
    for update in range(UPDATES):
        true = swings(32, generator)
        seen = true + NOISE * torch.randn(true.shape, generator=generator)
        outputs = unroll(model, seen[:, :-1], forced=mixer.mask(32, LENGTH))
        loss = (outputs - seen[:, 1:]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        if update % 20 == 19:
            bias = exposure_bias(
                model,
                clean[:, :-1],
                loss=lambda out: (out - clean[:, 1:]).square().mean().sqrt(),
            )
            curve.append(bias.free)
    return Outcome(curve[-1], curve)


compare(
    Pair(
        "true inputs alone",
        "true inputs, then own ones",
        "error of a free run of 20 steps",
        "error of a free run",
        higher_is_better=False,
    ),
    lambda seed: train(seed, Constant(1.0)),
    lambda seed: train(seed, InverseSigmoid.half_at(UPDATES / 4)),
    to="teacher_forcing.png",
)
