"""Two ends of a stick, found by way of heat maps of a fixed or of an annealed width.

python examples/gallery/keypoints.py --to keypoints.png
"""

import torch
from beside import Outcome, Pair, compare
from torch import nn

from surefoot.schedules import Constant, Geometric, Vary, after_step
from surefoot.tasks.pose import GaussianHeatmaps, gaussian_heatmaps

SIDE, BATCH, STEPS = 20, 64, 300
NARROW, WIDE = 1.0, 6.0


def sticks(count, stream):
    """Images that are brighter towards the first of two ends, and both ends."""
    ends = torch.rand(count, 2, 2, generator=stream) * (SIDE - 5) + 2
    share = torch.linspace(0, 1, 12)[:, None]
    along = ends[:, None, 0] * (1 - share) + ends[:, None, 1] * share
    drawn = gaussian_heatmaps(along, size=(SIDE, SIDE), sigma=0.8)
    image = (drawn * torch.linspace(1.0, 0.4, 12)[:, None, None]).amax(1)
    return image + 0.1 * torch.randn(image.shape, generator=stream), ends


def network():
    """Points from images, as shares of their sides."""
    return nn.Sequential(
        nn.Unflatten(1, (1, SIDE)), nn.Conv2d(1, 16, 5, stride=2), nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(144, 64), nn.ReLU(), nn.Linear(64, 4), nn.Unflatten(1, (2, 2)),
        nn.Sigmoid(),
    )  # fmt: skip


def trained(seed, width):
    torch.manual_seed(seed)
    stream = torch.Generator().manual_seed(seed)
    unseen, where = sticks(256, stream)
    model, maps = network(), GaussianHeatmaps((SIDE, SIDE), sigma=width)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    after_step(optimizer, Vary(maps, "sigma", schedule=width))
    curve = []
    for step in range(STEPS):
        image, ends = sticks(BATCH, stream)
        found = (SIDE - 1) * model(image)
        loss = (maps(found) - maps(ends)).square().sum((-2, -1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            with torch.no_grad():
                apart = (SIDE - 1) * model(unseen) - where
                curve.append(apart.norm(dim=-1).mean().item())
    return Outcome(curve[-1], curve)


compare(
    Pair(
        f"σ = {NARROW:g} throughout",
        f"σ from {WIDE:g} to {NARROW:g}",
        metric="distance from the ends, pixels",
        curve="distance from the ends, pixels",
        higher_is_better=False,
    ),
    lambda seed: trained(seed, Constant(NARROW)),
    lambda seed: trained(seed, Geometric(WIDE, NARROW, steps=STEPS)),
    to="keypoints.png",
)
