"""The digits of scikit-learn (1,797 images of 8 x 8 pixels), split and scaled."""

import torch
from sklearn.datasets import load_digits


def load(held_out: int = 360):
    """Training images, training labels, held-out images, held-out labels."""
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(images, dtype=torch.float32)[order] / 16
    y = torch.tensor(labels)[order]
    x = (x - x[held_out:].mean()) / x[held_out:].std()
    return x[held_out:], y[held_out:], x[:held_out], y[:held_out]


def batches(count: int, size: int, steps: int, seed: int):
    """Indices of random batches, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield torch.randint(count, (size,), generator=generator)
