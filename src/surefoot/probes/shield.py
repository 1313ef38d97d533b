"""The one shield: a failing probe is switched off alone, and training goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

_log = logging.getLogger("surefoot")


class Shield:
    """Runs what must never reach the training loop; remembers what failed.

    `tell` is called once for each failure with its name and the error's text.
    """

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self.off: dict[str, str] = {}
        self._tell = tell

    def run(self, name: str, action: Callable[[], Value]) -> Value | None:
        """The action's value; None when it failed now or before.

        Ctrl-C and exits pass through; errors do not.
        """
        if name in self.off:
            return None
        try:
            return action()
        # The shield around probes and sinks: whatever a probe raises must not end
        # the user's training.
        except Exception as error:  # noqa: BLE001
            self.off[name] = f"{type(error).__name__}: {error}"
            _log.warning(
                "%s failed and is switched off for this run; training goes on (%s)",
                name,
                self.off[name],
            )
            self._tell(name, self.off[name])
            return None
