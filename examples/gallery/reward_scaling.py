"""An agent with a critic, on rewards that are large.

Walkers in a corridor are paid for each step, and more for reaching its far end. A
critic that has to learn values of hundreds of thousands by clipped steps of SGD does
not get there, so that what a step is worth is lost in what all steps are; with scaled
rewards it does:

    python examples/gallery/reward_scaling.py --to reward_scaling.png
"""

import torch
from beside import Outcome, Pair, compare
from torch import nn
from torch.nn import functional

from surefoot.tasks.rl import RewardScaler

LENGTH, WALKERS, DISCOUNT = 6, 16, 0.9
WAGE, PRIZE = 50_000.0, 30_000.0
UPDATES, EVERY, HORIZON = 120, 5, 16


class Corridor:
    """Walkers on cells 0 to LENGTH; whoever reaches the far end begins again at 0."""

    def __init__(self, draws: torch.Generator) -> None:
        self.draws = draws
        self.cells = torch.zeros(WALKERS, dtype=torch.long)

    def seen(self) -> torch.Tensor:
        return functional.one_hot(self.cells, LENGTH + 1).float()

    def step(self, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rewards `[walkers]`, and who won; one step in ten goes the other way."""
        slips = torch.rand(WALKERS, generator=self.draws) < 0.1
        moves = torch.where(right.bool() ^ slips, 1, -1)
        self.cells = (self.cells + moves).clamp(0, LENGTH)
        won = self.cells == LENGTH
        self.cells[won] = 0
        return WAGE + PRIZE * won, won


class Agent(nn.Module):
    """A policy and a critic on one body."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(LENGTH + 1, 32), nn.Tanh())
        self.policy, self.critic = nn.Linear(32, 2, bias=False), nn.Linear(32, 1)
        nn.init.zeros_(self.policy.weight)  # both moves alike on every seed

    def forward(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.body(seen)
        return self.policy(found).log_softmax(-1), self.critic(found)[:, 0]


def trained(scale: RewardScaler | None, seed: int) -> Outcome:
    """Advantage actor-critic; the metric is the share of steps that win, at the end."""
    torch.manual_seed(seed)
    draws = torch.Generator().manual_seed(seed)
    world, agent = Corridor(draws), Agent()
    sgd = torch.optim.SGD(agent.parameters(), lr=0.2)
    never = torch.zeros(WALKERS, dtype=torch.bool)
    wins: list[float] = []
    for _ in range(UPDATES):
        seen, chosen, rewards, won = [], [], [], []
        for _ in range(HORIZON):
            seen.append(world.seen())
            with torch.no_grad():
                odds = agent(seen[-1])[0].exp()
            chosen.append(torch.multinomial(odds, 1, generator=draws)[:, 0])
            reward, win = world.step(chosen[-1])
            rewards.append(reward if scale is None else scale(reward, never))
            won.append(win)
        with torch.no_grad():
            after = agent(world.seen())[1]
        returns = []
        for reward in reversed(rewards):
            after = reward + DISCOUNT * after
            returns.insert(0, after)
        logs, value = agent(torch.cat(seen))
        target = torch.cat(returns)
        taken = logs.gather(1, torch.cat(chosen)[:, None])[:, 0]
        entropy = -(logs.exp() * logs).sum(1).mean()
        loss = functional.mse_loss(value, target) - 0.01 * entropy
        loss = loss - (taken * (target - value.detach())).mean()
        sgd.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
        sgd.step()
        wins.append(torch.cat(won).float().mean().item())
    late = wins[-UPDATES // 4 :]
    smooth = [sum(wins[i : i + EVERY]) / EVERY for i in range(0, UPDATES, EVERY)]
    return Outcome(sum(late) / len(late), smooth)


compare(
    Pair(
        "rewards as they come",
        "RewardScaler",
        "prizes a step, last quarter",
        "prizes a step",
    ),
    lambda seed: trained(None, seed),
    lambda seed: trained(RewardScaler(WALKERS, discount=DISCOUNT), seed),
    to="reward_scaling.png",
)
