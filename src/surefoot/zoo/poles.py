"""Reinforcement learning on cart and pole: a generator comes in, a task goes out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from surefoot.zoo.nets import mlp
from surefoot.zoo.task import Floats, Losses, Observer, Rng, Scores, Task

HORIZON = 40
"""Steps of the poles between two updates."""


class Pole:
    """The cart and pole of Barto, Sutton & Anderson (1983), `n` of them at once."""

    def __init__(self, n: int, rng: Rng) -> None:
        self.rng, self.state = rng, rng.uniform(-0.05, 0.05, (n, 4))

    def step(self, action: np.ndarray) -> np.ndarray:
        """Push left (0) or right (1); which poles fell, and were set up again."""
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

    def seen(self) -> torch.Tensor:
        """The states, `[n, 4]`."""
        return torch.tensor(self.state, dtype=torch.float32)


class Played:
    """Endless batches of what a policy does: (states, actions, returns)."""

    def __init__(
        self, policy: nn.Module, world: Pole, reward: dict[str, float]
    ) -> None:
        self.policy, self.world, self.settings = policy, world, reward

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        states, actions, ends = [], [], []
        for _ in range(HORIZON):
            state = self.world.seen()
            with torch.no_grad():
                choice = _choice(self.policy(state)).sample()
            states.append(state)
            actions.append(choice)
            ends.append(torch.tensor(self.world.step(choice.numpy())))
        return torch.stack(states), torch.stack(actions), self._returns(ends)

    def _returns(self, ends: list[torch.Tensor]) -> torch.Tensor:
        total, returns = torch.zeros(len(ends[0])), list[torch.Tensor]()
        for end in reversed(ends):
            total = self.settings["reward"] + 0.97 * total * (~end)
            returns.insert(0, total)
        return torch.stack(returns)


def _choice(output: torch.Tensor) -> torch.distributions.Categorical:
    # A policy that is not finite acts at random: the poles must go on.
    logits = torch.nan_to_num(output[..., :2], 0.0, 0.0, 0.0)
    return torch.distributions.Categorical(logits=logits)


def actor_critic_loss(model: nn.Module, batch: Any) -> torch.Tensor:
    """Policy gradient against a learnt value, plus the value's squared error."""
    states, actions, returns = batch
    output = model(states)
    likely = torch.distributions.Categorical(
        logits=output[..., :2], validate_args=False
    ).log_prob(actions)
    value = output[..., 2]
    policy = -(likely * (returns - value.detach())).mean()
    return policy + 0.5 * F.mse_loss(value, returns)


def actor_critic(rng: Rng) -> Task:
    """An actor and its critic on sixteen poles, rewards scaled to size one."""
    settings = {"reward": 0.1}
    model = mlp(64, 2, nn.Tanh, sizes=(4, 3))
    world = Pole(16, np.random.default_rng(int(rng.integers(10**6))))
    task = Task(
        {"model": model},
        {"main": torch.optim.Adam(model.parameters(), lr=3e-3)},
        Played(model, world, settings),
        actor_critic_loss,
        steps=int(rng.integers(90, 130)),
        scores=falls,
        settings=settings,
    )
    task.clip = 0.5 if rng.random() < 0.5 else 0.0
    return task


def falls(task: Task) -> Scores:
    """Minus the steps that each of 128 poles stands, 200 at most, without chance."""
    world = Pole(128, np.random.default_rng(0))
    stood, alive = np.zeros(128), np.ones(128, dtype=bool)
    for _ in range(200):
        output = torch.nan_to_num(task.model(world.seen()))
        fell = world.step(output[:, :2].argmax(1).numpy())
        stood += alive
        alive &= ~fell
    loss: Floats = -stood
    return Scores(loss)


def q_learning(rng: Rng) -> Task:
    """DQN with a target network: the loss rises while the agent improves."""
    net, target = mlp(64, 2, sizes=(4, 2)), mlp(64, 2, sizes=(4, 2))
    target.load_state_dict(net.state_dict())
    world = Pole(8, rng)
    memory: list[tuple[torch.Tensor, ...]] = []

    def update(task: Task, step: int, observer: Observer) -> Losses:
        explore = rng.random(8) < max(0.1, 1 - step / 200)
        state = world.seen()
        with torch.no_grad():
            best = net(state).argmax(1).numpy()
        action = np.where(explore, rng.integers(0, 2, 8), best)
        done = torch.tensor(world.step(action))
        memory.extend(zip(state, torch.tensor(action), world.seen(), done, strict=True))
        rows = [memory[i] for i in rng.integers(0, len(memory), 64)]
        batch = tuple(torch.stack(column) for column in zip(*rows, strict=True))
        loss = task.loss(net, batch)
        observer.before_backward(step, loss, batch)
        task.optimizer.zero_grad()
        loss.backward()
        observer.before_update(step)
        task.optimizer.step()
        observer.after_update(step, loss, batch)
        if step % 50 == 49:
            target.load_state_dict(net.state_dict())
        return loss.detach()

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        with torch.no_grad():
            ahead = 1 + 0.98 * target(batch[2]).max(1).values
        goal = torch.where(batch[3], 0.0, ahead)
        return F.mse_loss(model(batch[0]).gather(1, batch[1][:, None])[:, 0], goal)

    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return Task(
        {"model": net}, {"main": optimizer}, iter(()), loss, steps=400, update=update
    )
