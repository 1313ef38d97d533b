"""All random streams come in, are drawn from, and go on as if they had not been."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch


class RandomStreams:
    """The random streams of torch, numpy and Python at one moment."""

    def __init__(self) -> None:
        self._torch = torch.get_rng_state()
        ready = torch.cuda.is_available() and torch.cuda.is_initialized()
        self._cuda = torch.cuda.get_rng_state_all() if ready else None
        self._numpy = np.random.get_state()
        self._python = random.getstate()

    def restore(self) -> None:
        """Let them go on from that moment."""
        torch.set_rng_state(self._torch)
        if self._cuda is not None:
            torch.cuda.set_rng_state_all(self._cuda)
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
