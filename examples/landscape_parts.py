"""What the examples of landscapes share: a loss, and a training on digits."""

from digits import batches
from torch import nn


def loss_fn(model, batch):
    images, labels = batch
    return nn.functional.cross_entropy(model(images), labels)


def train(model, batch, optimizer, *, steps, seed):
    images, labels = batch
    for index in batches(len(images), 128, steps, seed):
        loss = loss_fn(model, (images[index], labels[index]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model
