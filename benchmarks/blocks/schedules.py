"""Schedules, actions after the update and mixed inputs, beside the bare thing."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from benchmarks.blocks.measure import Measure, Work
from surefoot.schedules import Cosine, ScheduledLR, Vary, after_step, warm_up
from surefoot.tasks.sequence import TeacherForcing, unroll

SHAPE = warm_up(Cosine(1.0, 0.0, steps=100_000), 1_000)


def by_hand(step: int) -> float:
    """The same shape as people write it."""
    if step < 1_000:
        return step / 1_000
    return (1 + math.cos(math.pi * min(1.0, (step - 1_000) / 100_000))) / 2


def _optimizer() -> torch.optim.Optimizer:
    groups = [{"params": [nn.Parameter(torch.zeros(256, 256))]} for _ in range(12)]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, foreach=True)
    for group in groups:
        group["params"][0].grad = torch.ones(256, 256)
    return optimizer


def scheduled(make: Callable[[torch.optim.Optimizer], LRScheduler]) -> Work:
    """One step of a scheduler over twelve groups."""
    optimizer = _optimizer()
    scheduler = make(optimizer)
    optimizer.step()
    return scheduler.step


def updated(actions: int) -> Work:
    """An update of twelve layers with some attributes that follow a schedule."""
    optimizer = _optimizer()
    for place in range(actions):
        vary = Vary(nn.Dropout(0.1), "p", schedule=SHAPE)
        after_step(optimizer, vary, name=f"drop {place}")
    return optimizer.step


class Speller(nn.Module):
    """A recurrent model of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.cell = nn.Embedding(500, 128), nn.GRUCell(128, 128)
        self.read = nn.Linear(128, 500)

    def forward(self, tokens: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """One step."""
        state = self.cell(self.embed(tokens), state)
        return self.read(state), state


def spelled(epsilon: float | None) -> Work:
    """Forward and backward over 32 sequences of 40 tokens; None: a plain loop."""
    torch.manual_seed(0)
    model, tokens = Speller(), torch.randint(0, 500, (32, 40))
    mixer = TeacherForcing(epsilon or 0.0)

    def loop() -> Tensor:
        state, outputs = None, []
        for place in range(40):
            output, state = model(tokens[:, place], state)
            outputs.append(output)
        return torch.stack(outputs, dim=1)

    def mixed() -> Tensor:
        forced = mixer.mask(32, 40)
        return unroll(model, tokens, forced=forced, own=lambda out: out.argmax(-1))

    def work() -> None:
        model.zero_grad()
        outputs = loop() if epsilon is None else mixed()
        nn.functional.cross_entropy(outputs[:, :-1].mT, tokens[:, 1:]).backward()

    return work


MEASURES: tuple[Measure, ...] = (
    Measure(
        "ScheduledLR.step, 12 groups",
        "LambdaLR of the same shape",
        1.3,
        lambda: scheduled(lambda optimizer: ScheduledLR(optimizer, SHAPE)),
        lambda: scheduled(lambda optimizer: LambdaLR(optimizer, by_hand)),
        batches=200,
    ),
    Measure(
        "AdamW step, 4 attributes follow schedules",
        "the step alone",
        1.1,
        lambda: updated(4),
        lambda: updated(0),
        batches=5,
    ),
    Measure(
        "GRU over 40 tokens, half of them its own",
        "the loop on true tokens",
        1.3,
        lambda: spelled(0.5),
        lambda: spelled(None),
    ),
)
