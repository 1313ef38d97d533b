"""A net that sees an image and a caption leans on the caption, and falls without it.

The caption names the digit, and is right 99 times in 100; the image is grainy and takes
longer to learn. In the test every second caption is missing. Before: trained as it
comes. After: each modality is dropped now and then while training, so that each learns
to do alone.

    python examples/gallery/fragile_modality.py --to fragile_modality.png
"""

import torch
from beside import Outcome, Pair, compare
from sklearn.datasets import load_digits
from torch import nn

from surefoot.tasks.multimodal import ModalityDropout, reliance

HELD_OUT, STEPS, SIZE = 400, 300, 64
RIGHT, GRAIN = 0.99, 0.3
RATES = {"image": 0.2, "caption": 0.5}


def samples():
    """Images and captions by name, and labels; the first ones are held out."""
    images, labels = load_digits(return_X_y=True)
    stream = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=stream)
    image = torch.tensor(images, dtype=torch.float32)[order] / 16
    label = torch.tensor(labels)[order]
    wrong = torch.rand(len(label), generator=stream) > RIGHT
    other = torch.randint(10, label.shape, generator=stream)
    caption = 6 * nn.functional.one_hot(torch.where(wrong, other, label), 10).float()
    grain = GRAIN * torch.randn(image.shape, generator=stream)
    return {"image": image - image.mean() + grain, "caption": caption}, label


INPUTS, LABELS = samples()


class Fused(nn.Module):
    def __init__(self, *, dropped):
        super().__init__()
        self.drop = ModalityDropout(RATES) if dropped else nn.Identity()
        self.image = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
        self.caption = nn.Linear(10, 16)
        self.head = nn.Linear(32, 10)

    def forward(self, inputs):
        seen = self.drop(inputs)
        parts = [self.image(seen["image"]), self.caption(seen["caption"])]
        return self.head(torch.relu(torch.cat(parts, dim=1)))


def tested(model):
    """Accuracy on what was held out, every second caption missing."""
    held = {name: one[:HELD_OUT].clone() for name, one in INPUTS.items()}
    held["caption"][::2] = 0
    model.eval()
    with torch.no_grad():
        answers = model(held).argmax(1)
    model.train()
    return (answers == LABELS[:HELD_OUT]).float().mean().item()


def train(seed, *, dropped):
    torch.manual_seed(seed)
    model = Fused(dropped=dropped)
    adam = torch.optim.Adam(model.parameters(), lr=0.003)
    curve = []
    for step in range(STEPS):
        index = torch.randint(HELD_OUT, len(LABELS), (SIZE,))
        scores = model({name: one[index] for name, one in INPUTS.items()})
        loss = nn.functional.cross_entropy(scores, LABELS[index])
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 10 == 9:
            curve.append(tested(model))
    share = reliance(model, INPUTS, absent="zero").shares["caption"]
    return Outcome(curve[-1], curve), share


def before(seed):
    return train(seed, dropped=False)[0]


def after(seed):
    return train(seed, dropped=True)[0]


if __name__ == "__main__":
    compare(
        Pair("as it comes", "with modality dropout", "accuracy", "accuracy"),
        before,
        after,
        to="fragile_modality.png",
    )
    for name, dropped in (("as it comes", False), ("with modality dropout", True)):
        share = train(0, dropped=dropped)[1]
        print(f"{name}: {share:.0%} of the scores rest on the caption")
