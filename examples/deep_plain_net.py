"""A deep plain net with sigmoids on handwritten digits: it trains, and learns nothing.

Nothing here knows of Surefoot:

    surefoot run examples/deep_plain_net.py
"""

import argparse

import torch
from digits import batches, load
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=600)
parser.add_argument("--depth", type=int, default=12)
arguments = parser.parse_args()
torch.manual_seed(arguments.seed)
torch.set_num_threads(1)

x, y, x_held_out, y_held_out = load()
layers = [nn.Linear(64, 64), nn.Sigmoid()]
for _ in range(arguments.depth - 1):
    layers += [nn.Linear(64, 64), nn.Sigmoid()]
model = nn.Sequential(*layers, nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)

for index in batches(len(x), 64, arguments.steps, arguments.seed):
    loss = nn.functional.cross_entropy(model(x[index]), y[index])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

model.eval()
with torch.no_grad():
    accuracy = (model(x_held_out).argmax(1) == y_held_out).float().mean()
print(f"held-out accuracy {accuracy:.3f}")
