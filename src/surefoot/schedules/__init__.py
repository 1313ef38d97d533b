"""Values that vary with the step, and actions after it.

A `Scheduled` is a pure function of the step: a learning rate, a penalty's weight, a
temperature, σ, a drop rate, a clip threshold. What is applied after `optimizer.step()`
is a post-step action, and `after_step` registers it.
"""

from surefoot.schedules.errors import ScheduleError
from surefoot.schedules.post_step import PostStepAction, PostSteps, Vary, after_step
from surefoot.schedules.scheduled import Scheduled, scheduled, value_at
from surefoot.schedules.shapes import (
    Constant,
    Cosine,
    Geometric,
    Linear,
    Product,
    Then,
)
from surefoot.schedules.stored import from_dict, to_dict
from surefoot.schedules.torch_scheduler import ScheduledLR

__all__ = [
    "Constant",
    "Cosine",
    "Geometric",
    "Linear",
    "PostStepAction",
    "PostSteps",
    "Product",
    "ScheduleError",
    "Scheduled",
    "ScheduledLR",
    "Then",
    "Vary",
    "after_step",
    "from_dict",
    "scheduled",
    "to_dict",
    "value_at",
]
