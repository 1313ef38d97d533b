"""What can be wrong with a schedule or with an action after the step."""

from __future__ import annotations


class ScheduleError(ValueError):
    """A schedule, a step or a post-step action that cannot be used as it came."""
