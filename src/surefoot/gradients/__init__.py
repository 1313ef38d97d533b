"""Gradients come in, clipped ones, ratios and conflicts go out."""

from surefoot.gradients.adaptive import EmaClip, QuantileClip, ZScoreClip
from surefoot.gradients.clipping import AttachedClip, Clip, ClipError, NormClip
from surefoot.gradients.conflict import (
    GradientConflict,
    gradient_conflict,
    pairwise_cosines,
    task_gradients,
)
from surefoot.gradients.policy import PolicyClip
from surefoot.gradients.unitwise import UnitwiseClip, unitwise_clip_
from surefoot.gradients.update_ratio import (
    Dominant,
    UpdateRatios,
    dominant_layers,
    update_ratio,
)

__all__ = [
    "AttachedClip",
    "Clip",
    "ClipError",
    "Dominant",
    "EmaClip",
    "GradientConflict",
    "NormClip",
    "PolicyClip",
    "QuantileClip",
    "UnitwiseClip",
    "UpdateRatios",
    "ZScoreClip",
    "dominant_layers",
    "gradient_conflict",
    "pairwise_cosines",
    "task_gradients",
    "unitwise_clip_",
    "update_ratio",
]
