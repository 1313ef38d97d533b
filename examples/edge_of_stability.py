"""Sharpness while a net trains on all of its data: it rises to 2 / learning rate.

python examples/edge_of_stability.py
surefoot report last
surefoot landscape last --script examples/edge_of_stability.py
"""

from pathlib import Path

import torch
from digits import load
from torch import nn

import surefoot

STEPS, RATE = 400, 0.15

torch.manual_seed(0)
torch.set_num_threads(1)
x, y, *_ = load()
batch = x[:512], y[:512]
model = nn.Sequential(
    nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 10)
)
optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [250], gamma=0.5)
checkpoints = Path("checkpoints")
checkpoints.mkdir(exist_ok=True)


def loss_fn(model, batch):
    images, labels = batch
    wanted = nn.functional.one_hot(labels, 10).float()
    return 0.5 * (model(images) - wanted).square().sum(1).mean()


options = surefoot.Options(curvature=None, every=10)
with surefoot.watch(model, optimizer, loss_fn=loss_fn, options=options) as run:
    for step in range(STEPS):
        loss = loss_fn(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        run.step(loss, batch=batch)
        if step % 40 == 39:
            path = checkpoints / f"step-{step + 1}.pt"
            torch.save(model.state_dict(), path)
            run.checkpoint(path)
print(f"loss {loss.item():.4f}")
