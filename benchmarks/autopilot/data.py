"""Real data that ships here: a seed comes in, batches and a held-out loss go out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

FOLDER = Path(__file__).parent.parent / "data"
SHADES = 63
TEXT_HELD_OUT = 100_000
"""The last characters of the text, which nobody trains on."""

Loss = Callable[[Tensor, Tensor], Tensor]
Batch = tuple[Tensor, Tensor]


class Data(Protocol):
    """Where the batches of one run come from."""

    def batch(self, step: int) -> Batch:
        """Inputs and targets of a step; steps are asked for in order."""
        ...

    def held_out(self) -> list[Batch]:
        """What the final loss is measured on, the same for all runs."""
        ...


@cache
def _clothes() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    with np.load(FOLDER / "clothes.npz", allow_pickle=False) as arrays:
        told = {key: torch.tensor(arrays[key]) for key in arrays.files}
    x = told["x"].float() / SHADES
    held_out = (told["x_held_out"].float() / SHADES - x.mean()) / x.std()
    x = (x - x.mean()) / x.std()
    return x[:, None], told["y"].long(), held_out[:, None], told["y_held_out"].long()


@cache
def _text() -> tuple[Tensor, int]:
    letters = np.frombuffer((FOLDER / "tinyshakespeare.txt").read_bytes(), np.uint8)
    known, codes = np.unique(letters, return_inverse=True)
    return torch.from_numpy(codes.astype(np.int64)), len(known)


LETTERS = 65
"""Different characters of the text."""


class Clothes:
    """Pictures `[32, 1, 16, 16]` in ten classes; `spiked` poisons four batches.

    A poisoned batch has pictures a hundred times as bright and labels by chance. They
    are drawn from the steps 20 to 169.
    """

    SIZE = 32

    def __init__(self, seed: int, *, spiked: bool = False) -> None:
        self.draw = torch.Generator().manual_seed(1_000 + seed)
        places = torch.randperm(150, generator=self.draw)[:4].add(20).tolist()
        self.poisoned = set(places) if spiked else set[int]()

    def batch(self, step: int) -> Batch:
        x, y, _, _ = _clothes()
        index = torch.randint(len(x), (self.SIZE,), generator=self.draw)
        if step not in self.poisoned:
            return x[index], y[index]
        return x[index] * 100, torch.randint(10, (self.SIZE,), generator=self.draw)

    def held_out(self) -> list[Batch]:
        return [_clothes()[2:]]


class Copies(Clothes):
    """Pictures whose target is the picture itself."""

    def batch(self, step: int) -> Batch:
        x, _ = super().batch(step)
        return x, x.flatten(1)

    def held_out(self) -> list[Batch]:
        x = _clothes()[2]
        return [(x, x.flatten(1))]


class Text:
    """Windows of a text `[rows, length]`; the targets are the next characters."""

    def __init__(self, seed: int, *, rows: int, length: int) -> None:
        self.draw = torch.Generator().manual_seed(1_000 + seed)
        self.rows, self.window = rows, torch.arange(length + 1)

    def batch(self, step: int) -> Batch:
        last = len(_text()[0]) - TEXT_HELD_OUT
        return self._windows(0, last, self.rows, self.draw)

    def held_out(self) -> list[Batch]:
        size, draw = len(_text()[0]), torch.Generator().manual_seed(7)
        first = size - TEXT_HELD_OUT
        return [self._windows(first, size, 32, draw) for _ in range(3)]

    def _windows(self, low: int, high: int, rows: int, draw: torch.Generator) -> Batch:
        last = high - len(self.window)
        starts = torch.randint(low, last, (rows, 1), generator=draw)
        found = _text()[0][starts + self.window]
        return found[:, :-1], found[:, 1:].flatten()


@torch.no_grad()
def held_out_loss(model: nn.Module, data: Data, loss: Loss) -> float:
    """Mean loss in evaluation mode; the model's mode is as before."""
    was = model.training
    model.eval()
    losses = [loss(model(x), y).item() for x, y in data.held_out()]
    model.train(was)
    return sum(losses) / len(losses)
