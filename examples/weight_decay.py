"""The loss around a net trained with and without weight decay, on one scale.

Decay of λ adds exactly λ to the curvature of what is minimised, in every direction: it
takes no bump away. What changes is relative: weights are smaller, and the same random
directions, scaled to the filters as they are, reach less far.

    python examples/weight_decay.py --to weight_decay.png
"""

import argparse
import math

import torch
from digits import load
from landscape_parts import loss_fn, train
from torch import nn

from surefoot.curvature.lanczos import eigenpairs
from surefoot.curvature.operators import hessian
from surefoot.landscape.compare import before_after
from surefoot.landscape.numbers import numbers
from surefoot.landscape.style import save
from surefoot.landscape.surface import Options, surface

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=600)
parser.add_argument("--decay", type=float, default=0.002)
parser.add_argument("--points", type=int, default=25)
parser.add_argument("--to", default="weight_decay.png")
arguments = parser.parse_args()
torch.set_num_threads(1)


def minimised(decay):
    """What a net is trained on: the loss, and the penalty that decay is."""

    def total(model, batch):
        squares = sum(weight.square().sum() for weight in model.parameters())
        return loss_fn(model, batch) + decay / 2 * squares

    return total


def trained(batch, *, decay):
    torch.manual_seed(arguments.seed)
    model = nn.Sequential(
        nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 10)
    )
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, weight_decay=decay
    )
    return train(model, batch, optimizer, steps=arguments.steps, seed=arguments.seed)


def ends_of_the_spectrum(model, batch, *, decay):
    with hessian(model, batch, loss_fn=minimised(decay)) as operator:
        found = eigenpairs(operator, 1, which="both", tolerance=1e-2)
    return float(found.values.max()), float(found.values.min())


x, y, *_ = load()
batch = x[:512], y[:512]
decays = (0.0, arguments.decay)
models = [trained((x, y), decay=decay) for decay in decays]
options = Options(exact=True, seed=arguments.seed)
pair = [
    surface(
        model, batch, loss_fn=minimised(decay), points=arguments.points, options=options
    )
    for model, decay in zip(models, decays, strict=True)
]

# The curvature that the penalty adds: that of the same model, with and without it.
added = [
    after - before
    for before, after in zip(
        ends_of_the_spectrum(models[1], batch, decay=0.0),
        ends_of_the_spectrum(models[1], batch, decay=arguments.decay),
        strict=True,
    )
]
print(f"added to both ends of the spectrum by decay {arguments.decay:g}:")
print(f"  {added[0]:.4f} and {added[1]:.4f}")
norms = [
    math.sqrt(sum(float(weight.detach().square().sum()) for weight in one.parameters()))
    for one in models
]
told = [numbers(one) for one in pair]
compared = {
    "condition": tuple(one.condition for one in told),
    "‖w‖": tuple(norms),
}
figure = before_after(
    *pair,
    labels=("without decay", f"with decay {arguments.decay:g}"),
    numbers=compared,
    title="What is minimised, with and without weight decay",
    text=f"Decay adds exactly {arguments.decay:g} to every curvature and removes no "
    "bump. Compare shapes and ratios, not absolute smoothness.",
)
print(f"written: {save(figure, arguments.to)}")
for name, (before, after) in compared.items():
    print(f"{name}: without {before:.3f}, with {after:.3f}")
