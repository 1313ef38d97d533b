"""`python -m benchmarks.curvature.tracking [--quick]`: nothing comes in, tables go out.

Sharpness through mini-batch training: what a warm-started point takes, how far it is
off, what a cold one takes, and what tracking costs at a share of the training's time.
The truth at each point is a cold Lanczos for the two largest eigenvalues to 1e-5.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import surefoot
from benchmarks.curvature.problems import Batch, LittleGPT, Residual, loss_of
from benchmarks.tables import table
from benchmarks.workloads import TEXT
from surefoot.curvature.lanczos import eigenpairs
from surefoot.curvature.operators import hessian, preconditioned
from surefoot.curvature.tracking import TARGET, Tracker

TOLERANCE, EXACT = 1e-2, 1e-5
SHARE = 2.0
"""Percent of the training's CPU time that the whole of tracking may take."""


@dataclass(frozen=True, slots=True)
class Case:
    """One training that is followed; `apart` is the number of steps between points."""

    network: str
    optimizer: str
    apart: int
    points: int
    scaled: bool = False

    @property
    def about(self) -> str:
        kind = ", preconditioned" if self.scaled else ""
        return f"{self.network}, {self.optimizer}{kind}, every {self.apart} steps"


FULL = (
    Case("MLP", "SGD", 10, 40),
    Case("MLP", "Adam", 10, 40),
    Case("MLP", "Adam", 10, 40, scaled=True),
    Case("ResNet", "SGD", 10, 30),
    Case("ResNet", "SGD", 50, 20),
    Case("ResNet", "Adam", 10, 30),
    Case("ResNet", "Adam", 50, 20),
    Case("ResNet", "Adam", 10, 20, scaled=True),
    Case("GPT", "SGD", 10, 30),
    Case("GPT", "Adam", 10, 30),
    Case("GPT", "Adam", 50, 20),
    Case("GPT", "Adam", 10, 20, scaled=True),
)
QUICK = (Case("MLP", "SGD", 10, 20), Case("ResNet", "Adam", 10, 8))


class Training:
    """A network in mini-batch training, and the batch whose curvature is followed."""

    def __init__(self, network: str, optimizer: str, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.draw = torch.Generator().manual_seed(seed + 1)
        self.model, self.batch = NETWORKS[network](self.draw)
        weights = self.model.parameters()
        if optimizer == "SGD":
            rate = 0.3 if network == "GPT" else 0.1
            self.optimizer: Any = torch.optim.SGD(weights, lr=rate, momentum=0.9)
        else:
            self.optimizer = torch.optim.Adam(weights, lr=1e-3)
        self.held = self.batch()

    def step(self) -> tuple[torch.Tensor, Batch]:
        """Train for one step; its loss and batch."""
        batch = self.batch()
        loss = loss_of(self.model, batch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss, batch


Made = tuple[nn.Module, Callable[[], Batch]]


def mlp(draw: torch.Generator) -> Made:
    """1,528 weights on digits, batch 64."""
    layers = [nn.Linear(64, 18), nn.Tanh(), nn.Linear(18, 12), nn.Tanh()]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(12, 10)), _images(draw)


def resnet(draw: torch.Generator) -> Made:
    """Width 8, batch norm in training mode, on digits, batch 64."""
    first = [nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    blocks = [Residual(8, 8, 1), Residual(8, 16, 2), Residual(16, 32, 2)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]
    return nn.Sequential(*first, *blocks, *head), _images(draw)


def gpt(draw: torch.Generator) -> Made:
    """Two blocks of width 48 on Shakespeare's plays, batch 8 x 32."""
    bytes_ = np.frombuffer(TEXT.read_bytes(), np.uint8)
    letters, codes = np.unique(bytes_, return_inverse=True)
    tokens = torch.from_numpy(codes.astype(np.int64))

    def batch() -> Batch:
        starts = torch.randint(len(tokens) - 33, (8, 1), generator=draw)
        rows = tokens[starts + torch.arange(33)]
        return rows[:, :-1], rows[:, 1:]

    return LittleGPT(len(letters), length=32, width=48), batch


def _images(draw: torch.Generator) -> Callable[[], Batch]:
    x, y = load_digits(return_X_y=True)
    images = torch.tensor(x, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    labels = torch.tensor(y)

    def batch() -> Batch:
        index = torch.randint(len(images), (64,), generator=draw)
        return images[index], labels[index]

    return batch


NETWORKS = {"MLP": mlp, "ResNet": resnet, "GPT": gpt}


@dataclass(frozen=True, slots=True)
class Point:
    """One moment: the truth, and what tracking made of it."""

    truth: float
    value: float
    error: float
    products: int
    cold: int

    @property
    def off(self) -> float:
        return abs(self.value - self.truth) / abs(self.truth)


def followed(case: Case) -> list[Point]:
    """The points of one training but the first, which has nothing to begin at."""
    training = Training(case.network, case.optimizer)
    tracker = Tracker(tolerance=TOLERANCE)
    points: list[Point] = []
    training.step()
    for _ in range(case.points + 1):
        with hessian(training.model, training.held, loss_fn=loss_of) as whole:
            scaled, gradient = whole, whole.gradient
            if case.scaled:
                scaled = preconditioned(whole, training.optimizer)
                gradient = scaled.scale * gradient
            found = tracker.see(scaled, gradient=gradient)
            cold = Tracker(tolerance=TOLERANCE, seed=7).see(scaled)
            true = eigenpairs(scaled, 2, tolerance=EXACT).values[0]
        truth = max(float(true), found.value)
        points.append(
            Point(truth, found.value, found.error, found.products, cold.products)
        )
        for _ in range(case.apart):
            training.step()
    return points[1:]


def row(case: Case, points: Sequence[Point]) -> list[str]:
    """One line of the table."""
    products = np.array([point.products for point in points])
    known = [point.off <= TOLERANCE for point in points]
    held = [abs(p.value - p.truth) <= p.error + EXACT * abs(p.truth) for p in points]
    low, high = (f"{pick(p.truth for p in points):.3g}" for pick in (min, max))
    return [
        case.about,
        f"{low} to {high}",
        f"{np.median(products):.0f} / {np.quantile(products, 0.95):.0f} / "
        f"{products.max()}",
        f"{(products > TARGET).sum()} of {len(points)}",
        f"{np.median([p.cold for p in points]):.0f}",
        f"{100 * max(point.off for point in points):.2f} %",
        f"{len(known) - sum(known)} / {len(held) - sum(held)}",
    ]


HEAD = (
    "training",
    "λ_max",
    "products: median / p95 / max",
    "more than 5",
    "cold",
    "worst true error",
    "off by > 1 % / beyond its bound",
)


def amortised(network: str, optimizer: str, steps: int) -> list[str]:
    """What tracking takes of a training at a share of 2 %."""
    training = Training(network, optimizer)
    options = surefoot.Options(
        budget=0, histograms=False, probes=(), curvature=SHARE, loss_fn=loss_of
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        surefoot.watch(
            training.model, training.optimizer, folder=folder, options=options
        ) as run,
    ):
        recorder = run.streams["main"]
        start = time.thread_time()
        for _ in range(steps):
            run.step(*training.step())
        whole = time.thread_time() - start
        own, points = recorder.curvature.cost_seconds, recorder.curvature.points
        bare = whole - recorder.meter.own_seconds
        first = recorder.meter.own_seconds - own
    each = own / points / (bare / steps)
    return [
        f"{network}, {optimizer}, {steps:,} steps",
        f"{points}",
        f"{each:.0f} steps",
        f"{100 * own / bare:.1f} %",
        f"{first / (bare / steps):.0f} steps",
    ]


SHARE_HEAD = ("training", "points", "one costs", "share", "choosing rows, hooks")
TRAININGS = (("ResNet", "SGD", 4000), ("ResNet", "Adam", 4000), ("GPT", "Adam", 3000))


def report(quick: bool) -> str:
    """The tables, as Markdown; `quick` follows two short trainings."""
    every = [(case, followed(case)) for case in (QUICK if quick else FULL)]
    points = [point for _, found in every for point in found]
    late = sum(point.products > TARGET for point in points)
    wrong = sum(point.off > TOLERANCE for point in points)
    said = (
        f"{len(points)} points: {late} took more than {TARGET} products "
        f"({100 * late / len(points):.0f} %, target 0), {wrong} are off by more than "
        f"1 % (target 0); the most was {max(point.products for point in points)}."
    )
    parts = [
        table("Tracking λ_max to 1 %", HEAD, [row(*one) for one in every]),
        "",
        said,
    ]
    if not quick:
        costs = [amortised(*training) for training in TRAININGS]
        title = f"Tracking at a share of {SHARE:g} %"
        parts += [table(title, SHARE_HEAD, costs)]
    return "\n".join(parts)


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    torch.set_num_threads(1)
    print(report(parser.parse_args().quick))


if __name__ == "__main__":
    main()
