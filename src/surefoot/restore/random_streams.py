"""All random streams come in, are drawn from, and go on as if they had not been."""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch


class RandomStreams:
    """The random streams of torch, numpy and Python at one moment."""

    def __init__(self) -> None:
        self._torch = torch.get_rng_state()
        ready = torch.cuda.is_available() and torch.cuda.is_initialized()
        self._cuda = torch.cuda.get_rng_state_all() if ready else None
        self._numpy: Any = np.random.get_state()
        self._python: Any = random.getstate()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The moment that `values()` told of."""
        streams = cls.__new__(cls)
        streams._torch, streams._cuda = values["torch"], values["cuda"]
        version, key, gauss = values["python"]
        streams._numpy = values["numpy"]
        streams._python = (version, tuple(key.tolist()), gauss)
        return streams

    def values(self) -> dict[str, Any]:
        """The moment by stream, as tensors, arrays and numbers."""
        version, key, gauss = self._python
        return {
            "torch": self._torch,
            "cuda": self._cuda,
            "numpy": self._numpy,
            "python": (version, np.asarray(key, dtype=np.uint32), gauss),
        }

    def restore(self) -> None:
        """Let them go on from that moment.

        Streams of devices that are not there are left out.
        """
        torch.set_rng_state(self._torch)
        if self._cuda is not None and torch.cuda.is_available():
            here = self._cuda[: torch.cuda.device_count()]
            torch.cuda.set_rng_state_all(here)
        np.random.set_state(self._numpy)
        random.setstate(self._python)


@contextmanager
def repeated(seed: int) -> Generator[None]:
    """Inside, all random streams begin at the same place; afterwards they go on.

    What is drawn inside, such as the masks of dropout, is the same at every call.

    >>> with repeated(0):
    ...     first = torch.rand(2)
    >>> with repeated(0):
    ...     bool((torch.rand(2) == first).all())
    True
    """
    streams = RandomStreams()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        yield
    finally:
        streams.restore()
