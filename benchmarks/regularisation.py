"""What adaptive regularisation buys: seeds come in, tables of held-out scores go out.

    python -m benchmarks.regularisation [penalties] [norms]

Bounds were chosen on even seeds; only odd ones are run here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import torch
from torch import Tensor, nn
from torch.nn import functional

from surefoot.autopilot.heard import Heard
from surefoot.autopilot.norm_statistics import NormStatistics
from surefoot.autopilot.regularisation import AdaptivePenalty
from surefoot.nn.norm.recalibrate import tracked_norms
from surefoot.types import Event
from surefoot.zoo.catalogue import HOMES
from surefoot.zoo.controls import CONTROLS
from surefoot.zoo.datasets import digits, held_out_digits
from surefoot.zoo.scenario import Scenario, planted
from surefoot.zoo.train import Nobody, scored, train

SEEDS = (1, 3, 5, 7)
STEPS = 600
EVALUATED = 20
"""Steps from one held-out loss to the next."""

DATA = ((100, 0.0), (300, 0.2), (1000, 0.0), (1000, 0.2))
"""Examples, and the share of wrong labels."""

WAYS = ("none", "held", "held, moved by the gap")

Penalty = Callable[[nn.Module, Tensor], Tensor]


def squared_weights(model: nn.Module, logits: Tensor) -> Tensor:
    """The sum of the squares of all weight matrices."""
    matrices = [w for w in model.parameters() if w.dim() > 1]
    return torch.stack([w.square().sum() for w in matrices]).sum()


def squared_logits(model: nn.Module, logits: Tensor) -> Tensor:
    """The mean square of the outputs."""
    return logits.square().mean()


PENALTIES: tuple[tuple[str, Penalty], ...] = (
    ("squared weights", squared_weights),
    ("squared logits", squared_logits),
)


@dataclass(frozen=True)
class Scored:
    """Held-out loss and accuracy, and how often something was changed."""

    loss: float
    accuracy: float
    changes: int


def trained(way: str, penalty: Penalty, seed: int, data: tuple[int, float]) -> Scored:
    """A small net on some digits; half of the held-out ones are looked at meanwhile."""
    x, y = taken(seed, *data)
    held_x, held_y = held_out_digits()
    half = len(held_x) // 2
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    told: list[Event] = []
    heard = Heard() if way == WAYS[2] else None
    regularise = AdaptivePenalty(penalty, optimizer, heard=heard, tell=told.append)
    generator = torch.Generator().manual_seed(seed + 1)
    for step in range(STEPS):
        at = torch.randint(len(x), (64,), generator=generator)
        logits = model(x[at])
        loss = functional.cross_entropy(logits, y[at])
        total = loss if way == "none" else regularise(loss, model, logits)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        if heard is not None and step % EVALUATED == EVALUATED - 1:
            with torch.no_grad():
                seen = functional.cross_entropy(model(held_x[:half]), held_y[:half])
            heard.held_out(seen.item())
    with torch.no_grad():
        logits, labels = model(held_x[half:]), held_y[half:]
    loss = functional.cross_entropy(logits, labels).item()
    right = (logits.argmax(1) == labels).float().mean().item()
    return Scored(loss, right, len(told))


def taken(seed: int, count: int, wrong: float) -> tuple[Tensor, Tensor]:
    """Some of the digits, a share of their labels drawn anew."""
    x, y = digits()
    generator = torch.Generator().manual_seed(seed)
    at = torch.randperm(len(x), generator=generator)[:count]
    x, y = x[at], y[at].clone()
    off = torch.rand(count, generator=generator) < wrong
    y[off] = torch.randint(10, (int(off.sum()),), generator=generator)
    return x, y


def penalties() -> Iterator[str]:
    """Held-out loss and accuracy with no penalty, one held, one that is moved too."""
    yield "| digits | penalty | way | held-out loss | accuracy | changes a run |"
    yield "|-|-|-|-|-|-|"
    for data in DATA:
        where = f"{data[0]}, {data[1]:.0%} wrong"
        for name, penalty in PENALTIES:
            for way in WAYS if name == PENALTIES[0][0] else WAYS[1:]:
                rows = [trained(way, penalty, seed, data) for seed in SEEDS]
                changes = mean(row.changes for row in rows)
                yield (
                    f"| {where} | {'' if way == 'none' else name} | {way} | "
                    f"{spread([row.loss for row in rows])} | "
                    f"{spread([row.accuracy for row in rows])} | {changes:.1f} |"
                )


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{mean(values):.3f} ± {stdev(values):.3f}"


HEALTHY = (*SEEDS, 9, 11, 13)
FAULTS = ("stale_statistics", "tiny_norm_batches", "evaluation_mode")
NORMED = ("conv", "resnet")


def norms() -> Iterator[str]:
    """Held-out loss of faulty runs, left alone and looked after; then healthy runs."""
    yield "| fault | strength | left alone | recalibrated | healthy twin | actions |"
    yield "|-|-|-|-|-|-|"
    for fault in FAULTS:
        for strength in (1, 2, 3):
            runs = [
                Scenario(home, fault, strength, seed)
                for home in NORMED
                for seed in SEEDS[:2]
            ]
            alone = mean(evaluated(one)[0] for one in runs)
            done = [evaluated(one, watched=True) for one in runs]
            twin = mean(evaluated(one.twin)[0] for one in runs)
            actions = ", ".join(str(count) for _, count in done)
            treated = mean(loss for loss, _ in done)
            yield (
                f"| {fault} | {strength} | {alone:.3f} | {treated:.3f} | {twin:.3f} | "
                f"{actions} |"
            )
    homes = (*HOMES, *CONTROLS)
    every = [Scenario(name, None, 0, seed) for name in homes for seed in HEALTHY]
    healthy = [one for one in every if normed(one)]
    actions = [evaluated(one, watched=True)[1] for one in healthy]
    acted = sum(count > 0 for count in actions)
    yield f"\nHealthy runs with batch norms: {len(actions)}; acted on: {acted}."


def normed(scenario: Scenario) -> bool:
    """Whether a run's model has batch norms and is evaluated on held-out data."""
    task, _ = planted(scenario)
    return bool(tracked_norms(task.model)) and task.scores is not None


def evaluated(scenario: Scenario, *, watched: bool = False) -> tuple[float, int]:
    """Held-out loss at the end of a run, and how often its statistics were changed."""
    task, _ = planted(scenario)
    task.log_every = task.log_every or 20
    told: list[Event] = []
    hook = NormStatistics(task.model, tell=told.append) if watched else None
    train(task, Nobody())
    scores = scored(task)
    if hook is not None:
        hook.close()
    return (float("nan") if scores is None else float(scores.loss.mean())), len(told)


TABLES = (("penalties", penalties), ("norms", norms))


def main(wanted: Sequence[str]) -> None:
    """Print the tables that are asked for, or both."""
    torch.set_num_threads(1)
    for name, table in TABLES:
        if not wanted or name in wanted:
            for line in table():
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
