"""A small training that follows the random streams, and an incident made by hand."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from surefoot.blackbox.incident import Incident, Micro, StepRecord
from surefoot.blackbox.state import Trained, capture
from surefoot.restore.random_streams import RandomStreams
from surefoot.run import Run


class Net(nn.Module):
    """A net whose every step depends on the random streams."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).relu())


def made() -> tuple[Net, torch.optim.Optimizer, Any]:
    torch.manual_seed(3)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    return net, optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)


def train(
    run: Run, net: Net, optimizer: Any, schedule: Any, *, steps: int, micro: int = 1
) -> list[float]:
    """Losses of all micro-batches; the data is drawn from the stream that is global."""
    losses: list[float] = []
    for _ in range(steps):
        optimizer.zero_grad()
        for part in range(micro):
            x, y = torch.randn(16, 6), torch.randint(3, (16,))
            loss = functional.cross_entropy(net(x), y)
            loss.backward()
            losses.append(loss.item())
            if part + 1 < micro:
                run.step(loss, batch=(x, y))
            x += 1  # what the loop does to its batch afterwards is its own affair
        optimizer.step()
        run.step(loss, batch=(x, y))
        schedule.step()
    return losses


def incident() -> tuple[Incident, nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = capture(Trained({"net": net}, {"main": optimizer}), 7)
    batch = (torch.randn(2, 3), torch.tensor([0, 1]))
    call = ((batch[0],), {"scale": 2.0}), (batch[1],)
    micros = (
        Micro(batch, RandomStreams()),
        Micro(
            call, RandomStreams(), "call", (("cross_entropy", {"reduction": "sum"}),)
        ),
    )
    steps = (
        StepRecord(7, (0.5, 0.25), {"main": (0.1,)}, 1.5, micros),
        StepRecord(8, (math.inf,), {"main": (0.1,)}, math.nan),
    )
    about = {"torch": torch.__version__, "weights": {"0.weight": [4, 3]}}
    made = Incident(about, "it broke", 8, 7, ("0", "2"), state, steps)
    return made, net, optimizer
