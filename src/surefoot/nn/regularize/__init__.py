"""Penalties, dropout and noise, orthogonality: weights and activations, held in."""

from surefoot.nn.regularize.annealed_noise import (
    GradientNoise,
    WeightNoise,
    add_noise_,
    annealed_std,
)
from surefoot.nn.regularize.controller import Balance, PenaltyController, gradient_norm
from surefoot.nn.regularize.conv_norm import (
    conv_norm_bound,
    conv_operator_norm,
    conv_singular_values,
)
from surefoot.nn.regularize.cost import Cost, cost_of
from surefoot.nn.regularize.decay import (
    decay_groups,
    depth_decay_groups,
    depth_penalty,
    geometric_profile,
)
from surefoot.nn.regularize.drop_connect import (
    DropConnect,
    drop_connect,
    drop_connect_moments,
)
from surefoot.nn.regularize.errors import RegularizeError
from surefoot.nn.regularize.invariance import (
    adversarial_direction,
    consistency_penalty,
    jacobian_penalty,
    jacobian_penalty_estimate,
    virtual_adversarial_penalty,
)
from surefoot.nn.regularize.margin import (
    flip_distance,
    large_margin_loss,
    linear_margin,
)
from surefoot.nn.regularize.max_norm import MaxNorm, max_norm_
from surefoot.nn.regularize.noise import GaussianNoise, gaussian_noise
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
from surefoot.nn.regularize.robust_losses import (
    generalized_cross_entropy,
    symmetric_cross_entropy,
)
from surefoot.nn.regularize.stochastic_depth import (
    DepthRates,
    StochasticDepth,
    expected_depth,
    stochastic_depth,
    stochastic_depth_rates,
)
from surefoot.nn.regularize.sweep import (
    NoiseBudget,
    NoiseRow,
    inputs_under_noise,
    noise_budget,
    weights_under_noise,
)
from surefoot.nn.regularize.unfolding import OrthogonalityError

__all__ = [
    "Balance",
    "Cost",
    "DepthRates",
    "DropConnect",
    "GaussianNoise",
    "GradientNoise",
    "MaxNorm",
    "NoiseBudget",
    "NoiseRow",
    "OrthogonalProjection",
    "OrthogonalityError",
    "PenaltyController",
    "RegularizeError",
    "StochasticDepth",
    "WeightNoise",
    "add_noise_",
    "adversarial_direction",
    "annealed_std",
    "coherence",
    "consistency_penalty",
    "conv_norm_bound",
    "conv_operator_norm",
    "conv_singular_values",
    "cost_of",
    "decay_groups",
    "depth_decay_groups",
    "depth_penalty",
    "drop_connect",
    "drop_connect_moments",
    "expected_depth",
    "filter_condition",
    "flip_distance",
    "gaussian_noise",
    "generalized_cross_entropy",
    "geometric_profile",
    "gradient_norm",
    "inputs_under_noise",
    "jacobian_penalty",
    "jacobian_penalty_estimate",
    "large_margin_loss",
    "linear_margin",
    "max_norm_",
    "noise_budget",
    "polar_projection",
    "polar_projection_",
    "qr_retraction",
    "qr_retraction_",
    "soft_orthogonality",
    "srip",
    "stochastic_depth",
    "stochastic_depth_rates",
    "symmetric_cross_entropy",
    "tangent",
    "virtual_adversarial_penalty",
    "weights_under_noise",
]
