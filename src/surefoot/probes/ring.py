"""A ring on the device: rows of readings come in, one host copy a flush goes out."""

from __future__ import annotations

import numpy as np
import torch

from surefoot.types import Reading, Series


class Ring:
    """Rows of one quantity that wait on the device for the next flush.

    The buffer has shape `[capacity, len(layers)]`, float32. Nothing is copied to
    the host until `drain`, which makes one copy for all rows.
    """

    def __init__(self, reading: Reading, capacity: int, stream: str) -> None:
        self.layers = reading.layers
        self._quantity = reading.quantity
        self._stream = stream
        self._steps: list[int] = []
        self._buffer = torch.empty(
            (capacity, len(reading.layers)),
            dtype=torch.float32,
            device=reading.values.device,
        )

    @property
    def full(self) -> bool:
        """Whether the next row has no place."""
        return len(self._steps) == self._buffer.shape[0]

    @property
    def latest(self) -> torch.Tensor:
        """The row that was put last, shape `[len(layers)]`."""
        return self._buffer[len(self._steps) - 1]

    def put(self, reading: Reading) -> torch.Tensor:
        """Copy one row in; the row in the buffer, shape `[len(layers)]`, goes out."""
        row = self._buffer[len(self._steps)]
        row.copy_(reading.values)
        self._steps.append(reading.step)
        return row

    def drain(self) -> Series | None:
        """The waiting rows as one Series on the host, or None; the ring is empty."""
        if not self._steps:
            return None
        values = self._buffer[: len(self._steps)].cpu().numpy().copy()
        steps = np.asarray(self._steps, dtype=np.int64)
        self._steps = []
        return Series(self._quantity, self.layers, steps, values, self._stream)
