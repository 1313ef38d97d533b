"""How much the black box may hold: what a user says comes in, bytes go out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UNITS: Mapping[str, int] = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class BlackBoxOptions:
    """What a black box may take, and where it writes.

    Args:
        budget: host memory for states and batches, such as "1GB", "512MiB" or a number
            of bytes.
        persist: a folder to which all is mirrored while the run goes on, so that it
            survives a process that is killed; True takes one beside the record.
        steps: updates whose batches are kept at most.
        incidents: incident files that one run may write.
        percent: share of the time of training that it may take; None takes a state at
            every tenth update, whatever that costs.
        also: what else changes while training, by name, with `state_dict` and
            `load_state_dict`: averages, loaders. Schedulers and GradScalers are found.

    Raises:
        ValueError: the budget is no amount of memory, or a number is not positive.

    >>> BlackBoxOptions("512MB").nbytes
    512000000
    """

    budget: str | int = "1GB"
    persist: bool | str | Path = False
    steps: int = 2_000
    incidents: int = 3
    percent: float | None = 1.0
    also: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        parse_bytes(self.budget)
        for name in ("steps", "incidents"):
            value: Any = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"{name} of the black box came as {value!r}; expected a whole "
                    "number from 1 on"
                )
        share: Any = self.percent
        if share is not None and not (isinstance(share, (int, float)) and share > 0):
            raise ValueError(
                f"percent of the black box came as {share!r}; expected a positive "
                "number, or None for no limit"
            )
        for name, one in self.also.items():
            if not (hasattr(one, "state_dict") and hasattr(one, "load_state_dict")):
                raise ValueError(
                    f"also[{name!r}] of the black box came as {type(one).__name__}; "
                    "expected an object with state_dict() and load_state_dict()"
                )

    @property
    def nbytes(self) -> int:
        """The budget in bytes."""
        return parse_bytes(self.budget)


def parse_bytes(budget: str | int) -> int:
    """An amount of memory in bytes.

    Raises:
        ValueError: it is none.

    >>> parse_bytes("1.5 GB")
    1500000000
    >>> parse_bytes("2KiB")
    2048
    """
    if isinstance(budget, int) and not isinstance(budget, bool) and budget >= 0:
        return budget
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(budget))
    unit = None if found is None else UNITS.get(found[2].upper())
    if found is None or unit is None:
        raise ValueError(
            f"the budget of the black box came as {budget!r}; expected an amount of "
            'memory such as "1GB", "512MiB" or a number of bytes'
        )
    return int(float(found[1]) * unit)


def options_from(
    asked: str | int | bool | BlackBoxOptions | None,
) -> BlackBoxOptions | None:
    """The options that a user asked for; None for no black box.

    Raises:
        ValueError: it says neither yes, no nor how much.
    """
    if isinstance(asked, BlackBoxOptions):
        return asked
    if asked is None or asked is False:
        return None
    return BlackBoxOptions() if asked is True else BlackBoxOptions(asked)
