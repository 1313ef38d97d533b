"""Three networks, trained for a moment: a name comes in, a model and a batch go out.

`resnet` is the residual net with its batch norms in evaluation mode, in which all tools
work; `resnet-train` is the same net at the same weights in training mode.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.workloads import TEXT, Block

Batch = tuple[Tensor, Tensor]
CRITERION = nn.CrossEntropyLoss()


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    """The mean loss of one batch; every tool is given this function or its parts."""
    return CRITERION(model(batch[0]), batch[1])


@dataclass(frozen=True, slots=True)
class Problem:
    """What curvature is measured at: float32, one fixed batch."""

    about: str
    model: nn.Module
    batch: Batch

    @property
    def size(self) -> int:
        return sum(one.numel() for one in self.model.parameters())

    def double(self) -> Problem:
        """The same in float64; this one is converted and must not be used again."""
        x, y = self.batch
        x = x.double() if x.is_floating_point() else x
        return Problem(self.about, self.model.double(), (x, y))

    def digest(self) -> str:
        """Of the weights, the batch and the mode: truths are kept under it."""
        found = hashlib.sha256(str(self.model.training).encode())
        for one in (*self.model.state_dict().values(), *self.batch):
            found.update(one.numpy().tobytes())
        return found.hexdigest()[:16]


class Residual(nn.Module):
    """Two 3 x 3 convolutions with batch norms, and a way past them."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        past = nn.Conv2d(n_in, n_out, 1, stride, bias=False)
        self.past = nn.Identity()
        if stride != 1:
            self.past = nn.Sequential(past, nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.way(x) + self.past(x))


class LittleGPT(nn.Module):
    """A character model of two blocks; predictions are [batch, letter, place]."""

    def __init__(self, letters: int, length: int = 64, width: int = 192) -> None:
        super().__init__()
        self.token = nn.Embedding(letters, width)
        self.place = nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[Block(width, heads=6) for _ in range(2)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, letters, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        place = torch.arange(tokens.shape[1], device=tokens.device)
        mixed = self.blocks(self.token(tokens) + self.place(place))
        return self.head(self.norm(mixed)).transpose(1, 2)


def mlp() -> Problem:
    """Digits through 20 tanh units: few enough weights for a dense Hessian."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 10))
    x, y = _digits()
    batch = (x.flatten(1)[:256], y[:256])
    _train(model, lambda: batch, 60, 0.1)
    return Problem("MLP 64-20-10, digits, batch 256", model, batch)


def resnet(training: bool) -> Problem:
    """A residual net of 8 layers, 16 channels wide, with batch norms."""
    torch.manual_seed(0)
    wide = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    blocks = [Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    model = nn.Sequential(*wide, *blocks, *head)
    x, y = _digits()
    draw = torch.Generator().manual_seed(1)

    def batch() -> Batch:
        index = torch.randint(len(x), (128,), generator=draw)
        return x[index], y[index]

    _train(model, batch, 60, 0.05)
    mode = "training" if training else "evaluation"
    about = f"ResNet-8 with batch norm in {mode} mode, digits, batch 128"
    return Problem(about, model.train(training), (x[:128], y[:128]))


def gpt() -> Problem:
    """A small GPT on Shakespeare's plays."""
    torch.manual_seed(0)
    bytes_ = np.frombuffer(TEXT.read_bytes(), np.uint8)
    letters, codes = np.unique(bytes_, return_inverse=True)
    tokens = torch.from_numpy(codes.astype(np.int64))
    model = LittleGPT(len(letters))
    draw = torch.Generator().manual_seed(1)
    window = torch.arange(65)

    def batch() -> Batch:
        starts = torch.randint(len(tokens) - 65, (8, 1), generator=draw)
        rows = tokens[starts + window]
        return rows[:, :-1], rows[:, 1:]

    _train(model, batch, 60, 0.1)
    return Problem("GPT of 2 blocks, Shakespeare, batch 8 x 64", model, batch())


def _train(
    model: nn.Module, batch: Callable[[], Batch], steps: int, rate: float
) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    for _ in range(steps):
        loss = loss_of(model, batch())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()


def _digits() -> Batch:
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(x, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    return images[order], torch.tensor(y)[order]


ALL: Mapping[str, Callable[[], Problem]] = {
    "mlp": mlp,
    "resnet": lambda: resnet(training=False),
    "resnet-train": lambda: resnet(training=True),
    "gpt": gpt,
}
