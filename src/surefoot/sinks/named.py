"""The name of a sink comes in, what opens it goes out.

Each sink is a module of its own, loaded only when it is asked for, so that nothing
here needs packages that not everybody has.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable

from surefoot.types import Sink

NAMES = ("tensorboard", "mlflow", "wandb")

Opener = Callable[[str], Sink]
"""Given the name of a run, its sink."""


def opener(sink: Sink | str) -> Opener:
    """What opens a sink for a run: one of ours by its name, or one's own as it is.

    A name may be followed by a colon and a place: the folder of "tensorboard", the
    tracking URI of "mlflow", the project of "wandb".

    Raises:
        ValueError: a name that we do not know.
        TypeError: neither a name nor a sink.
        ImportError: the package that it needs is not installed.
    """
    if not isinstance(sink, str):
        missing = [
            name
            for name in ("write", "event", "close")
            if not callable(getattr(sink, name, None))
        ]
        if missing:
            raise TypeError(
                f"a sink came as {type(sink).__name__}, without {', '.join(missing)}; "
                f"expected one of {', '.join(NAMES)}, or an object with the methods "
                "write(series), event(event) and close()"
            )
        return lambda run: sink
    name, _, place = sink.partition(":")
    if name not in NAMES:
        raise ValueError(
            f"unknown sink {name!r}; expected one of {', '.join(NAMES)}, with a colon "
            "and a place if you like, as in tensorboard:logs"
        )
    if name == "mlflow":
        # Its usage reports draw from Python's random numbers on a thread of their own,
        # and ask a server: neither is ours to cause. Who set it keeps what was set.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        opened = importlib.import_module(f"surefoot.sinks.{name}").opened
    except ModuleNotFoundError as error:
        raise ImportError(
            f"the sink {name!r} needs the package {error.name!r}, which is not "
            f"installed; pip install 'surefoot[{name}]'",
            name=error.name,
        ) from error
    return lambda run: opened(run, place)
