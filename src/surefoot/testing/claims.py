"""Claims: what should hold comes in, an AssertionError goes out where it does not."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Attempt:
    """What runs inside must end well: its error becomes an AssertionError."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, AssertionError):
            raise AssertionError(
                f"{self._where}: it raised {type(error).__name__} ({error}); expected "
                "no error, whatever comes"
            ) from error


def require(holds: object, message: str) -> None:
    """Raise the message where something does not hold, also under `python -O`."""
    if not holds:
        raise AssertionError(message)
