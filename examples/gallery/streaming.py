"""Data that arrive sorted, four at a time: batch norm, and batch renormalisation.

Each batch holds one class, so that its statistics tell which; in evaluation they are
not there to tell. Both norms average their statistics equally long.

    python examples/gallery/streaming.py --to streaming.png
"""

import sys
from itertools import islice
from pathlib import Path

import torch
from beside import Outcome, Pair, compare
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent.parent))
from digits import load

from surefoot.nn.norm import replace_norm

BATCH, RUN, STEPS, EVERY = 4, 2, 600, 40
"""Examples in a batch, batches in a row from one class, updates, updates a point."""


def hidden():
    return nn.Linear(64, 64), nn.BatchNorm1d(64, momentum=0.01), nn.ReLU()


def stream(y, seed):
    """Indices of batches: one class for a few batches, then another one."""
    generator = torch.Generator().manual_seed(seed)
    members = [torch.nonzero(y == label).flatten() for label in range(10)]
    while True:
        of = members[int(torch.randint(10, (), generator=generator))]
        for _ in range(RUN):
            yield of[torch.randint(len(of), (BATCH,), generator=generator)]


def trained(seed, *, corrected):
    x, y, held_x, held_y = load()
    torch.manual_seed(seed)
    model = nn.Sequential(*hidden(), *hidden(), nn.Linear(64, 10))
    if corrected:
        replace_norm(model, "streaming", ramp=(100, 300, 300))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    curve = []
    for step, batch in enumerate(islice(stream(y, seed), STEPS), 1):
        loss = functional.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % EVERY == 0:
            with torch.no_grad():
                right = model.eval()(held_x).argmax(1) == held_y
            model.train()
            curve.append(float(right.float().mean()))
    return Outcome(curve[-1], curve)


compare(
    Pair("BatchNorm1d", "BatchRenorm1d", "held-out accuracy", "held-out accuracy"),
    lambda seed: trained(seed, corrected=False),
    lambda seed: trained(seed, corrected=True),
    to="streaming.png",
)
