"""Three networks on real data: a name comes in, a training step to repeat goes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

TEXT = Path(__file__).parent / "data" / "tinyshakespeare.txt"


@dataclass(frozen=True, slots=True)
class Workload:
    """One model in training; `loss` draws a batch and makes the forward pass."""

    about: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[], torch.Tensor]

    def step(self) -> torch.Tensor:
        """One bare step of training: what every overhead is a share of."""
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss


def cnn(batch: int = 64) -> Workload:
    """A convolutional net on handwritten digits, scaled to 28 x 28 pixels."""
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    images = torch.tensor(x, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    images = functional.interpolate(images, size=(28, 28), mode="bilinear")
    labels = torch.tensor(y)
    widths = (1, 32, 32, 64, 64, 128)
    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        conv = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(n_out), nn.ReLU()]
        if i in (2, 3):
            layers.append(nn.MaxPool2d(2))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)]
    model = nn.Sequential(*layers, *head)
    draw = torch.Generator().manual_seed(1)

    def loss() -> torch.Tensor:
        index = torch.randint(len(images), (batch,), generator=draw)
        return functional.cross_entropy(model(images[index]), labels[index])

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return Workload(_about("CNN", model, f"batch {batch}"), model, optimizer, loss)


class Block(nn.Module):
    """A pre-norm transformer block with causal attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = (
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )
        self.gelu = nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        shape = (batch, length, 3, self.heads, width // self.heads)
        q, k, v = self.attend(self.norm1(x)).view(shape).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.narrow(self.gelu(self.widen(self.norm2(x))))


class GPT(nn.Module):
    """A character model: 2.75 M parameters, 77 tensors."""

    def __init__(self, letters: int, length: int = 128, width: int = 192) -> None:
        super().__init__()
        self.token, self.place = (
            nn.Embedding(letters, width),
            nn.Embedding(length, width),
        )
        self.blocks = nn.Sequential(*[Block(width, heads=6) for _ in range(6)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, letters, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        place = torch.arange(tokens.shape[1], device=tokens.device)
        return self.head(self.norm(self.blocks(self.token(tokens) + self.place(place))))


def gpt(batch: int = 32, length: int = 128) -> Workload:
    """A small GPT on Shakespeare's plays, 4,096 characters a step."""
    torch.manual_seed(0)
    text = TEXT.read_bytes()
    letters, codes = np.unique(np.frombuffer(text, np.uint8), return_inverse=True)
    tokens = torch.from_numpy(codes.astype(np.int64))
    model = GPT(len(letters), length)
    draw = torch.Generator().manual_seed(1)
    window = torch.arange(length + 1)

    def loss() -> torch.Tensor:
        starts = torch.randint(len(tokens) - length, (batch, 1), generator=draw)
        rows = tokens[starts + window]
        return functional.cross_entropy(
            model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten()
        )

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    size = f"{batch * length:,} tokens a step"
    return Workload(_about("GPT", model, size), model, optimizer, loss)


def deep(batch: int = 256, *, layers: int = 20, width: int = 512) -> Workload:
    """A deep perceptron on handwritten digits: few operations, many weights."""
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    digits, labels = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)
    made: list[nn.Module] = []
    for n_in in (64, *(width,) * (layers - 1)):
        made += [nn.Linear(n_in, width), nn.ReLU()]
    model = nn.Sequential(*made, nn.Linear(width, 10))
    draw = torch.Generator().manual_seed(1)

    def loss() -> torch.Tensor:
        index = torch.randint(len(digits), (batch,), generator=draw)
        return functional.cross_entropy(model(digits[index]), labels[index])

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return Workload(_about("MLP", model, f"batch {batch}"), model, optimizer, loss)


def _about(name: str, model: nn.Module, size: str) -> str:
    weights = list(model.parameters())
    count = sum(w.numel() for w in weights) / 1e6
    return f"{name}, {count:.2f} M parameters in {len(weights)} tensors, {size}"


ALL: dict[str, Callable[[], Workload]] = {
    "cnn": cnn,
    "gpt": gpt,
    "deep": deep,
}
