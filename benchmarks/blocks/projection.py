"""Orthonormal filters by projection, beside the training step that it follows."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.blocks.measure import Measure, Work
from surefoot.nn.regularize import OrthogonalProjection

BATCH = 128


class Block(nn.Module):
    """Two 3×3 convolutions with batch norm, and the input added (He et al. 2016)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.stride = out // channels
        self.conv1 = nn.Conv2d(channels, out, 3, self.stride, 1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(out), nn.BatchNorm2d(out)

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.conv2(self.norm1(self.conv1(maps)).relu())
        short = maps[:, :, :: self.stride, :: self.stride]
        pad = inner.shape[1] - short.shape[1]
        short = functional.pad(short, (0, 0, 0, 0, pad // 2, pad - pad // 2))
        return (self.norm2(inner) + short).relu()


def resnet20() -> nn.Module:
    """The network of 20 layers for images of 32 by 32 (He et al. 2016, 4.2)."""
    widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    blocks = [Block(a, b) for a, b in itertools.pairwise(widths)]
    start = (nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    end = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return nn.Sequential(*start, *blocks, *end)


def step() -> Work:
    """A training step: forward, backward, SGD with momentum."""
    model = resnet20()
    sgd = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    images, labels = torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))

    def work() -> None:
        sgd.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        sgd.step()

    return work


def projection() -> Work:
    """All weights of the network; what a Householder QR takes is the same for all."""
    action = OrthogonalProjection(resnet20())
    return lambda: action(1)


MEASURES: tuple[Measure, ...] = (
    Measure(
        "QR of all layers, every 10 steps",
        "a step of ResNet-20, batch 128",
        target=0.05,
        ours=projection,
        peer=step,
        share=0.1,
    ),
)
