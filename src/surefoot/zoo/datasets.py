"""The zoo's data: names come in, tensors and endless batches go out.

All of it ships with the package (`data/README.md` names sources and licences).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

import numpy as np
import torch

Tensors = tuple[torch.Tensor, ...]

HELD_OUT_DIGITS = 500
HELD_OUT_WAVES = 500
HELD_OUT_TEXT = 20_000


@cache
def _arrays(name: str) -> dict[str, np.ndarray]:
    place = files("surefoot.zoo") / "data" / f"{name}.npz"
    with place.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


@cache
def _digits() -> tuple[torch.Tensor, torch.Tensor]:
    arrays = _arrays("digits")
    x = torch.tensor(arrays["x"]).float() / 16
    return (x - x.mean()) / x.std(), torch.tensor(arrays["y"]).long()


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Digits to train on: `[1297, 64]`, zero mean and unit size over all; labels."""
    x, y = _digits()
    return x[HELD_OUT_DIGITS:], y[HELD_OUT_DIGITS:]


def held_out_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Digits to test on: `[500, 64]`, and their labels."""
    x, y = _digits()
    return x[:HELD_OUT_DIGITS], y[:HELD_OUT_DIGITS]


@cache
def _waves() -> tuple[torch.Tensor, torch.Tensor]:
    arrays = _arrays("waves")
    x = torch.tensor(arrays["x"].astype(np.float32))
    return (x - x.mean()) / x.std(), torch.tensor(arrays["y"]).long()


def waves() -> tuple[torch.Tensor, torch.Tensor]:
    """MNIST-1D to train on: `[1000, 40]`, and labels of ten classes."""
    x, y = _waves()
    return x[HELD_OUT_WAVES:], y[HELD_OUT_WAVES:]


def held_out_waves() -> tuple[torch.Tensor, torch.Tensor]:
    """MNIST-1D to test on: `[500, 40]`, and labels."""
    x, y = _waves()
    return x[:HELD_OUT_WAVES], y[:HELD_OUT_WAVES]


@cache
def _text() -> torch.Tensor:
    codes = _arrays("plays")["codes"]
    return torch.tensor(np.unique(codes, return_inverse=True)[1]).long()


def text() -> torch.Tensor:
    """Characters to train on as numbers, `[180000]`."""
    return _text()[:-HELD_OUT_TEXT]


def characters() -> int:
    """How many different characters the text has."""
    return int(_text().max()) + 1


def held_out_text(windows: int = 64, length: int = 32) -> Tensors:
    """Windows of text to test on, `[windows, length]`, and the characters after."""
    codes = _text()[-HELD_OUT_TEXT:]
    starts = torch.linspace(0, len(codes) - length - 1, windows).long()[:, None]
    rows = codes[starts + torch.arange(length + 1)]
    return rows[:, :-1], rows[:, 1:]


def diabetes() -> tuple[torch.Tensor, torch.Tensor]:
    """Ten standardised columns `[442, 10]`, and a measure of the disease."""
    arrays = _arrays("tables")
    return torch.tensor(arrays["diabetes_x"]), torch.tensor(arrays["diabetes_y"])


def cancer() -> tuple[torch.Tensor, torch.Tensor]:
    """Thirty standardised columns `[569, 30]`, and 1 for benign."""
    arrays = _arrays("tables")
    x = torch.tensor(arrays["cancer_x"].astype(np.float32))
    return x, torch.tensor(arrays["cancer_y"]).float()


class Cycle:
    """Random batches of tensors, drawn with replacement; all of it if `size` is."""

    def __init__(self, tensors: Tensors, size: int, seed: int) -> None:
        self.tensors, self.size = tensors, size
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[Tensors]:
        return self

    def __next__(self) -> Tensors:
        n = len(self.tensors[0])
        if self.size >= n:
            return self.tensors
        picked = torch.randint(n, (self.size,), generator=self.generator)
        return tuple(tensor[picked] for tensor in self.tensors)


class Windows:
    """Random windows of a text: (characters, the characters after them)."""

    def __init__(self, codes: torch.Tensor, size: int, length: int, seed: int) -> None:
        self.codes, self.size, self.length = codes, size, length
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[Tensors]:
        return self

    def __next__(self) -> Tensors:
        high = len(self.codes) - self.length - 1
        starts = torch.randint(high, (self.size, 1), generator=self.generator)
        rows = self.codes[starts + torch.arange(self.length + 1)]
        return rows[:, :-1], rows[:, 1:]
