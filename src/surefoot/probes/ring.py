"""Rows that wait for the next flush: readings come in, blocks on the host go out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from surefoot.types import Floats, Reading, Series

_NARROW = 256
"""Rows up to here are cheaper as numbers than as arrays; wide ones are the probe's
own and are not copied."""


class Ring:
    """Rows of one quantity that wait for the next flush.

    What is on the host already (readings of a CPU, plain numbers) waits in a list.
    Readings of a GPU wait in a buffer there, shape `[capacity, len(layers)]`,
    float32: nothing is copied to the host until `drain`, which makes one copy for
    all rows.
    """

    def __init__(self, reading: Reading, capacity: int, stream: str) -> None:
        self.layers = reading.layers
        self._quantity = reading.quantity
        self._stream = stream
        self._capacity = capacity
        self._steps: list[int] = []
        self._rows: list[Sequence[float] | Floats] = []
        self._buffer = _buffer(reading, capacity)

    @property
    def full(self) -> bool:
        """Whether the next row has no place."""
        return len(self._steps) == self._capacity

    def fits(self, reading: Reading) -> bool:
        """Whether a reading has the layers of the rows."""
        layers = reading.layers
        # Comparing 4,096 names one by one would cost more than the reading.
        return layers is self.layers or layers == self.layers

    @property
    def latest(self) -> Sequence[float] | Floats:
        """The row that was put last; from a GPU, this waits for the device."""
        if self._buffer is None:
            return self._rows[-1]
        return self._buffer[len(self._steps) - 1].tolist()

    def put(self, reading: Reading) -> None:
        """Copy one row in."""
        values = reading.values
        if not isinstance(values, torch.Tensor):
            self._rows.append(list(values))
        elif self._buffer is None:
            wide = values.numel() > _NARROW
            self._rows.append(values.numpy() if wide else values.tolist())
        else:
            self._buffer[len(self._steps)].copy_(values)
        self._steps.append(reading.step)

    def drain(self) -> Series | None:
        """The waiting rows as one Series on the host, or None; the ring is empty."""
        if not self._steps:
            return None
        if self._buffer is None:
            values = np.asarray(self._rows, dtype=np.float32)
        else:
            values = self._buffer[: len(self._steps)].cpu().numpy().copy()
        steps = np.asarray(self._steps, dtype=np.int64)
        self._steps, self._rows = [], []
        return Series(self._quantity, self.layers, steps, values, self._stream)


def _buffer(reading: Reading, capacity: int) -> torch.Tensor | None:
    """A place on the device for the rows, if that is not the host."""
    values = reading.values
    if not isinstance(values, torch.Tensor) or values.device.type == "cpu":
        return None
    shape = (capacity, len(reading.layers))
    return torch.empty(shape, dtype=torch.float32, device=values.device)
