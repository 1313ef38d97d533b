"""Small networks of many kinds: sizes come in, untrained models go out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.autopilot.data import LETTERS

PIXELS = 256


class Block(nn.Module):
    """Attention and a wide layer, normalised before or after each residual sum."""

    def __init__(self, width: int, *, causal: bool, post: bool = False) -> None:
        super().__init__()
        self.causal, self.post, self.heads = causal, post, 4
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.ReLU() if post else nn.GELU(),
            nn.Linear(4 * width, width),
        )

    def attention(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        shape = (batch, length, 3, self.heads, width // self.heads)
        q, k, v = self.attend(x).view(shape).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.project(mixed.transpose(1, 2).reshape(batch, length, width))

    def forward(self, x: Tensor) -> Tensor:
        if self.post:
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.wide(x))
        x = x + self.attention(self.norm1(x))
        return x + self.wide(self.norm2(x))


class GPT(nn.Module):
    """A character model; post-norm ones have no norm at the end."""

    def __init__(
        self, width: int, *, blocks: int, length: int, post: bool = False
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(LETTERS, width)
        self.place = nn.Embedding(length, width)
        made = [Block(width, causal=True, post=post) for _ in range(blocks)]
        self.blocks = nn.Sequential(*made)
        self.norm = nn.Identity() if post else nn.LayerNorm(width)
        self.head = nn.Linear(width, LETTERS)
        for table in (self.token, self.place):
            nn.init.normal_(table.weight, std=0.5 if post else 0.02)

    def forward(self, codes: Tensor) -> Tensor:
        x = self.token(codes) + self.place.weight[: codes.shape[1]]
        return self.head(self.norm(self.blocks(x))).flatten(0, 1)


class ViT(nn.Module):
    """Pictures as 16 patches of 4 x 4 pixels."""

    def __init__(self, width: int = 32, *, blocks: int = 3) -> None:
        super().__init__()
        self.patch = nn.Linear(16, width)
        self.place = nn.Parameter(torch.randn(16, width) * 0.02)
        made = [Block(width, causal=False) for _ in range(blocks)]
        self.blocks = nn.Sequential(*made)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        patches = functional.unfold(x, 4, stride=4).transpose(1, 2)
        mixed = self.blocks(self.patch(patches) + self.place)
        return self.head(self.norm(mixed).mean(1))


class Recurrent(nn.Module):
    """A character model around an LSTM or a GRU."""

    def __init__(self, cell: type[nn.RNNBase], width: int) -> None:
        super().__init__()
        self.token = nn.Embedding(LETTERS, 48)
        self.cell = cell(48, width, batch_first=True)
        self.head = nn.Linear(width, LETTERS)

    def forward(self, codes: Tensor) -> Tensor:
        return self.head(self.cell(self.token(codes))[0]).flatten(0, 1)


class Residual(nn.Module):
    """Two convolutions with batch norm beside a path that skips them."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.skip = nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.skip(x) + self.body(x))


def cnn() -> nn.Module:
    """Three convolutions without a norm."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise((1, 12, 24, 24)):
        layers += [nn.Conv2d(n_in, n_out, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(24 * 4, 10))


def resnet() -> nn.Module:
    """Two residual blocks with batch norm."""
    blocks = (Residual(1, 12, 2), Residual(12, 24, 2))
    return nn.Sequential(
        *blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, 10)
    )


def plain(
    layers: int,
    activation: Callable[[], nn.Module],
    *,
    start: Callable[[Tensor], Tensor],
    normed: bool = False,
) -> nn.Module:
    """A deep perceptron of width 64."""
    made: list[nn.Module] = [nn.Flatten()]
    for n_in in (PIXELS, *(64,) * (layers - 1)):
        linear = nn.Linear(n_in, 64)
        start(linear.weight)
        nn.init.zeros_(linear.bias)
        made += [linear, *([nn.BatchNorm1d(64)] if normed else []), activation()]
    return nn.Sequential(*made, nn.Linear(64, 10))


def autoencoder() -> nn.Module:
    """256 pixels through 12 numbers and back."""
    layers: list[nn.Module] = [nn.Flatten()]
    sizes = (PIXELS, 96, 48, 12, 48, 96, PIXELS)
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ELU()]
    return nn.Sequential(*layers[:-1])
