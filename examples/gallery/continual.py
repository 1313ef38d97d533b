"""Two tasks one after the other: with elastic weight consolidation the first is kept.

The digits, and the same digits with their pixels permuted:

    python examples/gallery/continual.py --to continual.png
"""

import sys
from pathlib import Path

import torch
from beside import Outcome, Pair, compare
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from surefoot.tasks.continual import EWC, TaskMatrix, fisher_diagonal

sys.path.append(str(Path(__file__).parent.parent))
from digits import load

STEPS, EVERY = 200, 20


def accuracy(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    with torch.no_grad():
        return float((model(data[0]).argmax(1) == data[1]).float().mean())


def run(seed: int, strength: float) -> Outcome:
    torch.manual_seed(seed)
    x, y, held, labels = load()
    order = torch.randperm(64)
    tasks = [
        ((x, y), (held, labels)),
        ((x[:, order], y), (held[:, order], labels)),
    ]
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    adam = torch.optim.Adam(model.parameters(), lr=5e-3)
    ewc, matrix, curve = EWC(model, weight=strength), TaskMatrix(2), []
    for number, ((x, y), _) in enumerate(tasks):
        for step in range(STEPS):
            rows = torch.randint(len(x), (64,))
            adam.zero_grad()
            (cross_entropy(model(x[rows]), y[rows]) + ewc.penalty()).backward()
            adam.step()
            if step % EVERY == 0:
                curve.append(accuracy(model, tasks[0][1]))
        ewc.add(fisher_diagonal(model, [(x, y)]))
        matrix.record(number, [accuracy(model, held) for _, held in tasks])
    return Outcome(matrix.accuracy, curve)


compare(
    Pair(
        before="trained on",
        after="trained on with EWC",
        metric="accuracy on both tasks at the end",
        curve="accuracy on the first task",
    ),
    before=lambda seed: run(seed, 0.0),
    after=lambda seed: run(seed, 10_000.0),
    to="continual.png",
)
