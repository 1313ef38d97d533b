"""Surefoot: flight recorder, diagnostician and autopilot for training in PyTorch.

Public names only. They are looked up when first used, so that the reading half
(records, diagnosis, reports) works on a machine without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surefoot.autopilot.live import KnobError
    from surefoot.autopilot.policy import Policy
    from surefoot.diagnosis.examine import examine
    from surefoot.preflight.check import check
    from surefoot.preflight.report import Report
    from surefoot.probes.options import Options
    from surefoot.record.reader import RecordReader
    from surefoot.record.schema import RecordError
    from surefoot.replay.in_process import read_incident
    from surefoot.run import Run, SurefootWarning
    from surefoot.types import Sink
    from surefoot.watching import watch

__version__ = "0.1.0"

_HOMES: Mapping[str, str] = {
    "KnobError": "surefoot.autopilot.live",
    "Options": "surefoot.probes.options",
    "Policy": "surefoot.autopilot.policy",
    "RecordError": "surefoot.record.schema",
    "RecordReader": "surefoot.record.reader",
    "Report": "surefoot.preflight.report",
    "Run": "surefoot.run",
    "Sink": "surefoot.types",
    "SurefootWarning": "surefoot.run",
    "check": "surefoot.preflight.check",
    "examine": "surefoot.diagnosis.examine",
    "read_incident": "surefoot.replay.in_process",
    "watch": "surefoot.watching",
}

__all__ = [
    "KnobError",
    "Options",
    "Policy",
    "RecordError",
    "RecordReader",
    "Report",
    "Run",
    "Sink",
    "SurefootWarning",
    "check",
    "examine",
    "read_incident",
    "watch",
]


def __getattr__(name: str) -> Any:
    """A public name, from the module that holds it."""
    if name not in _HOMES:
        raise AttributeError(
            f"module 'surefoot' has no name {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, "__version__"]
