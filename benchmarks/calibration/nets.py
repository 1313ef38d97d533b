"""Small networks and data for the calibration of the signatures.

In: a random generator; out: a `Task` (model, optimizer, batches, loss).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from torch import nn
from torch.nn import functional as F  # noqa: N812


@dataclass
class Task:
    """Something to train; `change[k]` is called before step k, and may damage it."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Iterator[Any]
    loss: Callable[[nn.Module, Any], torch.Tensor]
    steps: int
    schedule: Callable[[int], float] | None = None
    clip: float = 0.0
    zero_grad: bool = True
    accumulate: int = 1
    change: dict[int, Callable[[], None]] = field(default_factory=dict)
    batch_change: dict[int, Callable[[Any], Any]] = field(default_factory=dict)
    before: Callable[[Task], None] | None = None


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x = torch.tensor(images[order], dtype=torch.float32) / 16
    return (x - x.mean()) / x.std(), torch.tensor(labels[order])


def text() -> torch.Tensor:
    """Characters of docstrings of the standard library: text that is always there."""
    import argparse
    import statistics
    import subprocess
    import typing

    modules = (argparse, statistics, subprocess, typing)
    raw = "".join(Path(str(m.__file__)).read_text()[:60000] for m in modules)
    alphabet = {c: i for i, c in enumerate(sorted(set(raw)))}
    return torch.tensor([alphabet[c] for c in raw])


class Cycle:
    """Random batches of tensors."""

    def __init__(self, tensors: tuple[torch.Tensor, ...], size: int, seed: int) -> None:
        self.tensors, self.size = tensors, size
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        return self

    def __next__(self) -> tuple[torch.Tensor, ...]:
        n = len(self.tensors[0])
        if self.size >= n:
            return self.tensors
        i = torch.randint(n, (self.size,), generator=self.generator)
        return tuple(t[i] for t in self.tensors)


class Windows:
    """Random windows of a text: (inputs, next characters)."""

    def __init__(self, codes: torch.Tensor, size: int, length: int, seed: int) -> None:
        self.codes, self.size, self.length = codes, size, length
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        high = len(self.codes) - self.length - 1
        i = torch.randint(high, (self.size, 1), generator=self.generator)
        rows = self.codes[i + torch.arange(self.length + 1)]
        return rows[:, :-1], rows[:, 1:]


def mlp(
    width: int,
    depth: int,
    act: type[nn.Module] = nn.ReLU,
    *,
    inputs: int = 64,
    outputs: int = 10,
    norm: type[nn.Module] | None = None,
    dropout: float = 0.0,
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(depth):
        layers.append(nn.Linear(inputs if i == 0 else width, width))
        if norm is not None:
            layers.append(norm(width))
        layers.append(act())
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(width, outputs))


class Residual(nn.Module):
    def __init__(self, inner: nn.Module, zero: nn.Module | None = None) -> None:
        super().__init__()
        self.inner = inner
        if zero is not None:
            nn.init.zeros_(zero.weight)
            if getattr(zero, "bias", None) is not None:
                nn.init.zeros_(zero.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


def cnn(width: int, norm: bool = True, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    def block(i: int, o: int, stride: int) -> list[nn.Module]:
        bn: list[nn.Module] = [nn.BatchNorm2d(o)] if norm else []
        return [nn.Conv2d(i, o, 3, stride, 1), *bn, act()]

    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        *block(1, width, 1),
        *block(width, width, 2),
        *block(width, 2 * width, 2),
        nn.Flatten(),
        nn.Linear(8 * width, 10),
    )


def resnet(width: int, blocks: int, zero: bool) -> nn.Sequential:
    def block() -> nn.Module:
        last = nn.BatchNorm2d(width)
        inner = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            last,
        )
        return nn.Sequential(Residual(inner, last if zero else None), nn.ReLU())

    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, width, 3, 2, 1),
        *[block() for _ in range(blocks)],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 10),
    )


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, width: int, causal: bool, post: bool = False) -> None:
        super().__init__()
        self.post = post
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, 4, causal)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.post:
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.feed(x))
        x = x + self.attention(self.norm1(x))
        return x + self.feed(self.norm2(x))


class GPT(nn.Module):
    def __init__(
        self, vocabulary: int, width: int, blocks: int, length: int, post: bool = False
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.Sequential(*[Block(width, True, post) for _ in range(blocks)])
        self.norm = nn.Identity() if post else nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)
        nn.init.normal_(self.embed.weight, std=0.5 if post else 0.02)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        x = self.embed(codes) + self.place[: codes.shape[1]]
        return self.head(self.norm(self.blocks(x)))


class ViT(nn.Module):
    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.embed = nn.Linear(4, width)
        self.place = nn.Parameter(0.02 * torch.randn(16, width))
        self.blocks = nn.Sequential(*[Block(width, False) for _ in range(blocks)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        p = x.view(-1, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(-1, 16, 4)
        return self.head(self.norm(self.blocks(self.embed(p) + self.place)).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module], vocabulary: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 32)
        self.core = kind(32, width, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return self.head(self.core(self.embed(codes))[0])


def cross_entropy(model: nn.Module, batch: Any) -> torch.Tensor:
    logits = model(batch[0])
    return F.cross_entropy(logits.flatten(0, -2), batch[1].flatten())


def squared_error(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.mse_loss(model(batch[0]).squeeze(-1), batch[1])


def binary(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(model(batch[0]).squeeze(-1), batch[1])


def diabetes() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = load_diabetes(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    return torch.tensor(x).float(), torch.tensor(y).float()


def cancer() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    return torch.tensor(x).float(), torch.tensor(y).float()
