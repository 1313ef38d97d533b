"""Loops that are no supervised training: adversaries and reinforcement learning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import surefoot
from benchmarks.calibration.nets import digits, mlp

Rng = np.random.Generator


def gan(rng: Rng, folder: Path, name: str) -> Path:
    """A small GAN on digits, or on a ring of Gaussians."""
    ring = rng.random() < 0.5
    size = 2 if ring else 64
    generator = mlp(64, 2, inputs=8, outputs=size)
    critic = mlp(64, 2, nn.LeakyReLU, inputs=size, outputs=1)
    betas = (float(rng.choice([0.5, 0.9])), 0.999)
    g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=betas)
    d = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=betas)
    real = digits()[0]
    models = {"generator": generator, "critic": critic}
    run = surefoot.watch(models, {"g": g, "d": d}, folder=folder, name=name)
    for _ in range(400):
        if ring:
            angle = 2 * np.pi * torch.randint(8, (64,)) / 8
            x = torch.stack([angle.cos(), angle.sin()], 1) + 0.02 * torch.randn(64, 2)
        else:
            x = real[torch.randint(len(real), (64,))]
        fake = generator(torch.randn(64, 8))
        loss_d = (
            F.softplus(-critic(x)).mean() + F.softplus(critic(fake.detach())).mean()
        )
        d.zero_grad()
        loss_d.backward()
        d.step()
        loss_g = F.softplus(-critic(fake)).mean()
        g.zero_grad()
        loss_g.backward()
        g.step()
        run.step({"g": loss_g, "d": loss_d})
    run.close()
    return run.path


class Pole:
    """The cart and pole of Barto, Sutton & Anderson (1983), `n` of them at once."""

    def __init__(self, n: int, rng: Rng) -> None:
        self.rng, self.state = rng, rng.uniform(-0.05, 0.05, (n, 4))

    def step(self, action: np.ndarray) -> np.ndarray:
        x, v, a, w = self.state.T
        force = np.where(action == 1, 10.0, -10.0)
        push = (force + 0.05 * w**2 * np.sin(a)) / 1.1
        turn = (9.8 * np.sin(a) - np.cos(a) * push) / (
            0.5 * (4 / 3 - 0.1 * np.cos(a) ** 2 / 1.1)
        )
        move = push - 0.05 * turn * np.cos(a) / 1.1
        self.state = np.stack(
            [x + 0.02 * v, v + 0.02 * move, a + 0.02 * w, w + 0.02 * turn], 1
        )
        done = (np.abs(self.state[:, 0]) > 2.4) | (np.abs(self.state[:, 2]) > 0.2095)
        self.state[done] = self.rng.uniform(-0.05, 0.05, (int(done.sum()), 4))
        return done


def policy_gradient(rng: Rng, folder: Path, name: str) -> Path:
    """REINFORCE or actor-critic on sixteen poles."""
    critic = rng.random() < 0.5
    net = mlp(64, 2, nn.Tanh, inputs=4, outputs=3)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    world = Pole(16, rng)
    run = surefoot.watch(net, optimizer, folder=folder, name=name)
    for _ in range(int(rng.integers(150, 300))):
        states, actions, ends = [], [], []
        for _ in range(40):
            s = torch.tensor(world.state, dtype=torch.float32)
            with torch.no_grad():
                action = torch.distributions.Categorical(logits=net(s)[:, :2]).sample()
            states.append(s)
            actions.append(action)
            ends.append(torch.tensor(world.step(action.numpy())))
        total, returns = torch.zeros(16), []
        for end in reversed(ends):
            total = 1 + 0.97 * total * (~end)
            returns.insert(0, total)
        gain = torch.stack(returns)
        out = net(torch.stack(states))
        log_p = torch.distributions.Categorical(logits=out[..., :2]).log_prob(
            torch.stack(actions)
        )
        base = out[..., 2] * 10 if critic else gain.mean()
        advantage = gain - base.detach()
        loss = -(
            log_p
            * (advantage / (advantage.std() + 1e-6) if rng.random() < 2 else advantage)
        ).mean()
        if critic:
            loss = loss + 0.05 * F.mse_loss(base, gain)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.step(loss)
    run.close()
    return run.path


def q_learning(rng: Rng, folder: Path, name: str) -> Path:
    """DQN with a target network: the loss rises while the agent improves."""
    net, target = mlp(64, 2, inputs=4, outputs=2), mlp(64, 2, inputs=4, outputs=2)
    target.load_state_dict(net.state_dict())
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    world, memory = Pole(8, rng), []
    run = surefoot.watch(net, optimizer, folder=folder, name=name)
    for step in range(500):
        s = torch.tensor(world.state, dtype=torch.float32)
        with torch.no_grad():
            best = net(s).argmax(1).numpy()
        action = np.where(
            rng.random(8) < max(0.1, 1 - step / 200), rng.integers(0, 2, 8), best
        )
        done = world.step(action)
        after = torch.tensor(world.state, dtype=torch.float32)
        memory += list(
            zip(s, torch.tensor(action), after, torch.tensor(done), strict=True)
        )
        picked = [memory[i] for i in rng.integers(0, len(memory), 64)]
        a, b, c, e = (torch.stack(column) for column in zip(*picked, strict=True))
        with torch.no_grad():
            goal = torch.where(e, 0.0, 1 + 0.98 * target(c).max(1).values)
        loss = F.mse_loss(net(a).gather(1, b[:, None])[:, 0], goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.step(loss)
        if step % 50 == 49:
            target.load_state_dict(net.state_dict())
    run.close()
    return run.path


LOOPS: tuple[Callable[[Rng, Path, str], Path], ...] = (gan, policy_gradient, q_learning)
