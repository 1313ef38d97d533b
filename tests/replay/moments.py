"""Small runs, recorded as the black box records them: an Incident goes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from surefoot.blackbox.incident import Micro, StepRecord
from surefoot.blackbox.state import State, Trained, capture
from surefoot.gradients.norms import total_norm
from surefoot.replay.in_process import Recorded
from surefoot.restore.random_streams import RandomStreams

ONSET, LAST = 40, 60


def loss_fn(model: nn.Module, batch: Any) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def net(*, drop: float = 0.0) -> nn.Module:
    layers = [nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(drop)]
    return nn.Sequential(*layers, nn.Linear(32, 4))


def batch_of(generator: torch.Generator, size: int = 32) -> Any:
    """Four classes whose clouds touch: the loss comes down, and stays above zero."""
    y = torch.randint(4, (size,), generator=generator)
    x = torch.randn(size, 8, generator=generator)
    x[torch.arange(size), y] += 3.0
    return x, y


def adam(weights: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(weights, lr=3e-3)


def sgd(weights: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(weights, lr=0.05, momentum=0.9)


def nothing(model: nn.Module, step: int) -> None:
    pass


@dataclass
class Case:
    """A run of 61 steps with something wrong from step 40 on, in the way asked for."""

    make: Callable[[], nn.Module] = net
    optimizer: Callable[[Any], torch.optim.Optimizer] = adam
    batches: Mapping[int, Callable[[Any], Any]] = field(default_factory=dict)
    rates: Mapping[int, float] = field(default_factory=dict)
    micro: int = 1
    first: int = 20
    loss: Callable[[nn.Module, Any], torch.Tensor] = loss_fn
    before: Callable[[nn.Module, int], None] = nothing

    def recorded(self) -> tuple[Recorded, nn.Module, torch.optim.Optimizer]:
        """The incident, and what was trained as it is at the end."""
        torch.manual_seed(3)
        model = self.make()
        optimizer = self.optimizer(model.parameters())
        data = torch.Generator().manual_seed(5)
        rows: list[StepRecord] = []
        state: State | None = None
        for step in range(LAST + 1):
            if step == self.first:
                state = capture(Trained({"net": model}, {"main": optimizer}), step)
            self.before(model, step)
            for group in optimizer.param_groups:
                group["lr"] *= self.rates.get(step, 1.0)
            rows.append(self._update(model, optimizer, data, step))
        assert state is not None
        steps = tuple(one for one in rows if one.step >= self.first)
        told = Recorded({}, "diverged", LAST, LAST, (), state, steps)
        return told, model, optimizer

    def _update(
        self, model: Any, optimizer: Any, data: torch.Generator, step: int
    ) -> StepRecord:
        micro, losses = list[Micro](), list[float]()
        optimizer.zero_grad()
        for _ in range(self.micro):
            batch = self.batches.get(step, lambda same: same)(batch_of(data))
            kept = tuple(one.clone() for one in batch)
            micro.append(Micro(kept, RandomStreams()))
            loss = self.loss(model, batch)
            losses.append(float(loss.detach()))
            (loss / self.micro if self.micro > 1 else loss).backward()
        norm = float(total_norm(optimizer))
        rates = {"main": tuple(group["lr"] for group in optimizer.param_groups)}
        optimizer.step()
        return StepRecord(step, tuple(losses), rates, norm, tuple(micro))
