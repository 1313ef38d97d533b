"""Models come in, initialised, audited, grown, frozen or rebuilt ones go out."""

from surefoot.nn.init.activations import Swapped, activations_of, replace_activation
from surefoot.nn.init.audit import InitAudit, LayerAudit, audit_init
from surefoot.nn.init.depth_growth import Growing, Grown, grow_depth
from surefoot.nn.init.depth_scaled import (
    DeepNorm,
    deepnorm,
    deepnorm_,
    fixup_,
    fixup_factor,
    zero_gamma_,
    zero_last_,
)
from surefoot.nn.init.draws import initialize_
from surefoot.nn.init.errors import GrowthError, InitError
from surefoot.nn.init.freezing import GradualUnfreezing, freeze, unfreeze
from surefoot.nn.init.gains import gain
from surefoot.nn.init.identity import identity_block, identity_error, residual_block
from surefoot.nn.init.lsuv import Scaled, lsuv_
from surefoot.nn.init.places import Rebuilt
from surefoot.nn.init.recurrent import (
    ResidualCell,
    chrono_init_,
    forget_bias_,
    gate_bias,
    identity_recurrence_,
    retention,
)
from surefoot.nn.init.reinitialization import reinitialize
from surefoot.nn.init.residual import DeepNormResidual, LayerScale, Residual, SkipInit
from surefoot.nn.init.surgery import InputNorm, Skip, add_skip, insert_norm
from surefoot.nn.init.width_growth import Split, grow_width

__all__ = [
    "DeepNorm",
    "DeepNormResidual",
    "GradualUnfreezing",
    "Growing",
    "Grown",
    "GrowthError",
    "InitAudit",
    "InitError",
    "InputNorm",
    "LayerAudit",
    "LayerScale",
    "Rebuilt",
    "Residual",
    "ResidualCell",
    "Scaled",
    "Skip",
    "SkipInit",
    "Split",
    "Swapped",
    "activations_of",
    "add_skip",
    "audit_init",
    "chrono_init_",
    "deepnorm",
    "deepnorm_",
    "fixup_",
    "fixup_factor",
    "forget_bias_",
    "freeze",
    "gain",
    "gate_bias",
    "grow_depth",
    "grow_width",
    "identity_block",
    "identity_error",
    "identity_recurrence_",
    "initialize_",
    "insert_norm",
    "lsuv_",
    "reinitialize",
    "replace_activation",
    "residual_block",
    "retention",
    "unfreeze",
    "zero_gamma_",
    "zero_last_",
]
