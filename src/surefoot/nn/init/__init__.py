"""Models come in, initialised, audited, grown, frozen or rebuilt ones go out."""

from surefoot.nn.init.depth_scaled import (
    DeepNorm,
    deepnorm,
    deepnorm_,
    fixup_,
    fixup_factor,
    zero_gamma_,
    zero_last_,
)
from surefoot.nn.init.errors import GrowthError, InitError
from surefoot.nn.init.recurrent import (
    ResidualCell,
    chrono_init_,
    forget_bias_,
    gate_bias,
    identity_recurrence_,
    retention,
)
from surefoot.nn.init.residual import DeepNormResidual, LayerScale, Residual, SkipInit

__all__ = [
    "DeepNorm",
    "DeepNormResidual",
    "GrowthError",
    "InitError",
    "LayerScale",
    "Residual",
    "ResidualCell",
    "SkipInit",
    "chrono_init_",
    "deepnorm",
    "deepnorm_",
    "fixup_",
    "fixup_factor",
    "forget_bias_",
    "gate_bias",
    "identity_recurrence_",
    "retention",
    "zero_gamma_",
    "zero_last_",
]
