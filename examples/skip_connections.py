"""The loss around a deep net with and without skip connections, on one scale.

Same data, same seed, same batches, same random directions; a roughness for each:

    python examples/skip_connections.py --to skip_connections.png
"""

import argparse

import torch
from digits import load
from landscape_parts import loss_fn, train
from torch import nn

from surefoot.landscape.compare import before_after
from surefoot.landscape.numbers import numbers
from surefoot.landscape.style import save
from surefoot.landscape.surface import Options, surface

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--depth", type=int, default=32)
parser.add_argument("--points", type=int, default=25)
parser.add_argument("--to", default="skip_connections.png")
arguments = parser.parse_args()
torch.set_num_threads(1)


class Layer(nn.Module):
    def __init__(self, width, *, skip):
        super().__init__()
        self.linear, self.norm = nn.Linear(width, width), nn.BatchNorm1d(width)
        self.skip = skip

    def forward(self, x):
        branch = torch.relu(self.norm(self.linear(x)))
        return x + branch if self.skip else branch


def trained(batch, *, skip):
    torch.manual_seed(arguments.seed)
    layers = [Layer(32, skip=skip) for _ in range(arguments.depth)]
    model = nn.Sequential(nn.Linear(64, 32), *layers, nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    return train(model, batch, optimizer, steps=arguments.steps, seed=arguments.seed)


def drawn(batch, *, skip):
    model = trained(batch, skip=skip)
    options = Options(exact=True, seed=arguments.seed, training=True)
    points = arguments.points
    return surface(model, batch, loss_fn=loss_fn, points=points, options=options)


x, y, *_ = load()
pair = [drawn((x[:512], y[:512]), skip=skip) for skip in (False, True)]
told = [numbers(one) for one in pair]
compared = {
    "roughness": tuple(one.roughness for one in told),
    "negative curvature": tuple(one.negative_curvature for one in told),
}
figure = before_after(
    *pair,
    labels=("plain", "with skip connections"),
    numbers=compared,
    title=f"{arguments.depth} layers on digits",
)
print(f"written: {save(figure, arguments.to)}")
for name, (plain, skip) in compared.items():
    print(f"{name}: plain {plain:.3f}, with skip connections {skip:.3f}")
