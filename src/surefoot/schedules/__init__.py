"""Values that vary with the step, and actions after it.

A `Scheduled` is a pure function of the step: a learning rate, a penalty's weight, a
temperature, σ, a drop rate, a clip threshold. What is applied after `optimizer.step()`
is a post-step action, and `after_step` registers it.
"""

from surefoot.schedules.back_off import BackOffLR
from surefoot.schedules.combined import (
    Clamp,
    Maximum,
    Minimum,
    Repeated,
    Shifted,
    Smoothed,
    Then,
)
from surefoot.schedules.curriculum import CurriculumSampler
from surefoot.schedules.errors import ScheduleError
from surefoot.schedules.guard import CurriculumGuard
from surefoot.schedules.inverse_power import InversePower
from surefoot.schedules.layer_rates import (
    LayerRates,
    curvature_rates,
    group_norms,
    norm_rates,
)
from surefoot.schedules.layerwise import layerwise_lr
from surefoot.schedules.options import VaryOption
from surefoot.schedules.post_step import PostStepAction, PostSteps, Vary, after_step
from surefoot.schedules.range_test import RangeTest, lr_range_test, lr_sensitivity
from surefoot.schedules.recipes import (
    anneal,
    batch_factor,
    early_strong,
    large_batch,
    ramp_up,
    untuned_warmup,
    warm_up,
)
from surefoot.schedules.roughness import (
    Roughness,
    recorded,
    schedule_roughness,
    smooth_schedule,
)
from surefoot.schedules.scheduled import (
    Constant,
    Product,
    Scheduled,
    Sum,
    scheduled,
    value_at,
)
from surefoot.schedules.shapes import (
    Cosine,
    Exponential,
    Geometric,
    InverseSigmoid,
    Linear,
    PiecewiseConstant,
    Root,
    Tabulated,
)
from surefoot.schedules.stored import from_dict, to_dict
from surefoot.schedules.torch_scheduler import ScheduledLR

__all__ = [
    "BackOffLR",
    "Clamp",
    "Constant",
    "Cosine",
    "CurriculumGuard",
    "CurriculumSampler",
    "Exponential",
    "Geometric",
    "InversePower",
    "InverseSigmoid",
    "LayerRates",
    "Linear",
    "Maximum",
    "Minimum",
    "PiecewiseConstant",
    "PostStepAction",
    "PostSteps",
    "Product",
    "RangeTest",
    "Repeated",
    "Root",
    "Roughness",
    "ScheduleError",
    "Scheduled",
    "ScheduledLR",
    "Shifted",
    "Smoothed",
    "Sum",
    "Tabulated",
    "Then",
    "Vary",
    "VaryOption",
    "after_step",
    "anneal",
    "batch_factor",
    "curvature_rates",
    "early_strong",
    "from_dict",
    "group_norms",
    "large_batch",
    "layerwise_lr",
    "lr_range_test",
    "lr_sensitivity",
    "norm_rates",
    "ramp_up",
    "recorded",
    "schedule_roughness",
    "scheduled",
    "smooth_schedule",
    "to_dict",
    "untuned_warmup",
    "value_at",
    "warm_up",
]
