"""Networks of rows and pictures: sizes come in, modules go out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

Kind = type[nn.Module]


def mlp(
    width: int,
    depth: int,
    act: Kind = nn.ReLU,
    *,
    sizes: tuple[int, int] = (64, 10),
    norm: Kind | None = None,
    dropout: float = 0.0,
) -> nn.Sequential:
    """A fully connected net of `depth` hidden layers; `sizes` are inputs, outputs."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers.append(nn.Linear(sizes[0] if i == 0 else width, width))
        if norm is not None:
            layers.append(norm(width))
        layers.append(act())
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(width, sizes[1]))


class Residual(nn.Module):
    """Adds what `inner` makes of its input; `zero`, a layer in it, starts at zero."""

    def __init__(self, inner: nn.Module, zero: Any = None) -> None:
        super().__init__()
        self.inner = inner
        if zero is not None:
            nn.init.zeros_(zero.weight)
            if getattr(zero, "bias", None) is not None:
                nn.init.zeros_(zero.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Input plus branch."""
        return x + self.inner(x)


def cnn(width: int, *, norm: bool = True, act: Kind = nn.ReLU) -> nn.Sequential:
    """Three convolutions on digits, with batch normalisation or without."""

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


def resnet(width: int, blocks: int, *, zero: bool) -> nn.Sequential:
    """Residual blocks of two convolutions each; `zero` starts the branches at zero."""

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


class Recurrent(nn.Module):
    """Next characters by a recurrent core (`nn.LSTM`, `nn.GRU` or `nn.RNN`)."""

    def __init__(self, kind: Any, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 32)
        self.core = kind(32, width, batch_first=True)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Logits `[batch, length, vocabulary]` of codes `[batch, length]`."""
        return self.head(self.drop(self.core(self.embed(codes))[0]))
