"""A module that takes the logarithm of a share that may be zero: NaN from step 200 on.

surefoot run examples/nan_in_module.py
"""

import torch
from digits import batches, load
from torch import nn

BROKEN_STEP = 200


class LogShares(nn.Module):
    """Logarithm of each feature's share of the row."""

    def forward(self, features):
        shares = features / features.sum(1, keepdim=True)
        return torch.log(shares)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(64, 32), nn.Softplus())
        self.log_shares = LogShares()
        self.head = nn.Linear(32, 10)

    def forward(self, images):
        return self.head(self.log_shares(self.embed(images)))


torch.manual_seed(0)
torch.set_num_threads(1)
x, y, _, _ = load()
model = Net()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

for step, index in enumerate(batches(len(x), 64, 260, seed=0)):
    images = x[index]
    if step == BROKEN_STEP:  # a sensor that saturates: softplus underflows to zero
        images = images * 1e4
    loss = nn.functional.cross_entropy(model(images), y[index])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"last loss {loss.item():.3f}")
