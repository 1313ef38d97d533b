"""A healthy net meets one corrupted batch at step 300, and does not recover from it.

surefoot run examples/loss_spike.py
"""

import torch
from digits import batches, load
from torch import nn

CORRUPTED_STEP = 300

torch.manual_seed(0)
torch.set_num_threads(1)
x, y, x_held_out, y_held_out = load()
model = nn.Sequential(
    nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for step, index in enumerate(batches(len(x), 64, 600, seed=0)):
    images, labels = x[index], y[index]
    if step == CORRUPTED_STEP:  # pixels in another unit, labels shifted by one row
        images, labels = images * 100, labels.roll(1)
    loss = nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step} loss {loss.item():.3f}")

model.eval()
with torch.no_grad():
    accuracy = (model(x_held_out).argmax(1) == y_held_out).float().mean()
print(f"held-out accuracy {accuracy:.3f}")
