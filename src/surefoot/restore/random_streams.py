"""All random streams come in, are drawn from, and go on as if they had not been."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch


class RandomStreams:
    """The random streams of torch, numpy and Python at one moment."""

    def __init__(self, like: RandomStreams | None = None) -> None:
        """Take note of the streams; `like` is a moment before, to share parts with.

        Sharing saves time and memory where numpy and Python draw nothing, as in most
        training loops.
        """
        self._torch = torch.get_rng_state()
        ready = torch.cuda.is_available() and torch.cuda.is_initialized()
        self._cuda = torch.cuda.get_rng_state_all() if ready else None
        self._mark = _numpy_mark()
        known = like is not None and like._mark is not None
        # Half of a drawn pair of normal numbers may wait beside the words.
        if like and known and like._mark == self._mark and not like._numpy[3]:
            self._numpy: Any = like._numpy
        else:
            self._numpy = np.random.get_state()
        python = random.getstate()
        shared = like is not None and like._python == python
        self._python: Any = like._python if like and shared else python

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The moment that `values()` told of."""
        streams = cls.__new__(cls)
        streams._torch, streams._cuda = values["torch"], values["cuda"]
        streams._mark = None
        version, key, gauss = values["python"]
        streams._numpy = values["numpy"]
        streams._python = (version, tuple(key.tolist()), gauss)
        return streams

    @property
    def nbytes(self) -> int:
        """Bytes that are not shared in most loops: those of torch's streams."""
        return self._torch.nbytes + sum(one.nbytes for one in self._cuda or ())

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


def _numpy_mark() -> bytes | None:
    """The words of numpy's stream, read where they lie; None for another generator.

    Asking numpy for its state copies word by word and takes 40 µs, this takes one.
    """
    bits: Any = np.random.get_bit_generator()  # pyright: ignore[reportAttributeAccessIssue]
    if type(bits) is not np.random.MT19937:
        return None
    return ctypes.string_at(bits.ctypes.state_address, _MT19937_BYTES)


_MT19937_BYTES = 625 * 4
"""624 words and the place in them, as numpy's documentation of the generator has it."""


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
