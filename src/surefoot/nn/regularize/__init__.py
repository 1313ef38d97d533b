"""Penalties, dropout and noise, orthogonality: weights and activations, held in."""

from surefoot.nn.regularize.conv_norm import (
    conv_norm_bound,
    conv_operator_norm,
    conv_singular_values,
)
from surefoot.nn.regularize.cost import Cost, cost_of
from surefoot.nn.regularize.orthogonality import (
    coherence,
    filter_condition,
    soft_orthogonality,
    srip,
)
from surefoot.nn.regularize.projection import (
    OrthogonalProjection,
    polar_projection,
    polar_projection_,
    qr_retraction,
    qr_retraction_,
    tangent,
)
from surefoot.nn.regularize.unfolding import OrthogonalityError

__all__ = [
    "Cost",
    "OrthogonalProjection",
    "OrthogonalityError",
    "coherence",
    "conv_norm_bound",
    "conv_operator_norm",
    "conv_singular_values",
    "cost_of",
    "filter_condition",
    "polar_projection",
    "polar_projection_",
    "qr_retraction",
    "qr_retraction_",
    "soft_orthogonality",
    "srip",
    "tangent",
]
