"""Losses that were computed go into a file, and come out when a drawing goes on."""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from surefoot.landscape.directions import Floats64
from surefoot.landscape.evaluate import Task

SECONDS: Final = 1.0
"""The file is written so often: as much is lost at most, beside one evaluation."""


class Kept:
    """Losses on a grid, in a file that is whole at any time.

    Args:
        path: the file; it need not exist. None keeps nothing.
        digest: of what is drawn, from `digest_of`.
        shape: of the grid.

    Raises:
        ValueError: the file is not one of ours, or belongs to another drawing.
    """

    def __init__(
        self, path: str | Path | None, digest: str, shape: tuple[int, ...]
    ) -> None:
        self._path = None if path is None else Path(path)
        self._digest = digest
        self.losses = np.full(shape, np.nan)
        self.known = np.zeros(shape, bool)
        self._written = time.monotonic()
        if self._path is not None and self._path.exists():
            self._read(self._path)

    def add(self, index: tuple[int, ...], loss: float) -> None:
        """Keep one loss."""
        self.losses[index] = loss
        self.known[index] = True
        if time.monotonic() - self._written > SECONDS:
            self.save()

    def save(self) -> None:
        """Write the file, beside the old one first."""
        if self._path is None:
            return
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        with beside.open("wb") as file:
            np.savez(
                file,
                digest=np.array(self._digest),
                losses=self.losses,
                known=self.known,
            )
        os.replace(beside, self._path)
        self._written = time.monotonic()

    def _read(self, path: Path) -> None:
        told = read_arrays(path, ("digest", "losses", "known"))
        if str(told["digest"]) != self._digest:
            raise ValueError(
                f"{path} holds losses of another drawing: weights, directions, grid, "
                "data, mode and seed must be those it was begun with. Give another "
                "file, or remove this one to begin anew."
            )
        self.losses[...] = told["losses"]
        self.known[...] = told["known"]


def read_arrays(path: Path, names: Iterable[str]) -> Mapping[str, Any]:
    """Arrays of an .npz file, of which none is unpickled.

    Raises:
        ValueError: it is not such a file, or an array is absent.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except (KeyError, EOFError, zipfile.BadZipFile, ValueError) as error:
        raise ValueError(
            f"{path} is no file that Surefoot wrote of a landscape: {error}"
        ) from error


def digest_of(task: Task, axes: list[Floats64]) -> str:
    """A digest of all that decides the losses, but for the code of loss and model."""
    found = hashlib.sha256()
    plain = (task.slice.names, task.training, task.seed)
    modes = [module.training for module in task.model.modules()]
    found.update(repr((plain, modes)).encode())
    for axis in axes:
        found.update(axis.tobytes())
    tensors = (
        *task.slice.centre,
        *(part for direction in task.slice.directions for part in direction),
        *task.model.buffers(),
    )
    for leaf in (*tensors, *pytree.tree_leaves(task.batches)):
        found.update(_bytes(leaf))
    return found.hexdigest()


def _bytes(leaf: object) -> bytes:
    if isinstance(leaf, Tensor):
        flat = leaf.detach().cpu().contiguous().reshape(-1)
        told = f"{leaf.dtype} {tuple(leaf.shape)}".encode()
        return told + flat.view(torch.uint8).numpy().tobytes()
    if isinstance(leaf, Mapping):
        return b"".join(map(_bytes, pytree.tree_leaves(dict(leaf))))
    if isinstance(leaf, np.ndarray):
        return f"{leaf.dtype} {leaf.shape}".encode() + leaf.tobytes()
    plain = isinstance(leaf, int | float | str | bytes | type(None))
    return (repr(leaf) if plain else type(leaf).__name__).encode()
