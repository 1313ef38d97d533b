"""Modules and activations come in, how signals and gradients pass them goes out."""

from surefoot.nn.flow.attention import attention_entropy, entropy_of_weights
from surefoot.nn.flow.depth import DepthProfile, blocks_of, depth_profile
from surefoot.nn.flow.direction import DirectionChange, direction_change
from surefoot.nn.flow.errors import FlowError
from surefoot.nn.flow.gates import GateGain, gate_gain
from surefoot.nn.flow.gaussian import gaussian_mean
from surefoot.nn.flow.jacobian import (
    BlockJacobian,
    DepthJacobian,
    block_jacobian,
    jacobian,
    jacobian_over_depth,
)
from surefoot.nn.flow.placement import Placement, path_or_branch
from surefoot.nn.flow.units import (
    DeadUnits,
    Saturation,
    UnitWatch,
    saturated,
    watch_units,
)

__all__ = [
    "BlockJacobian",
    "DeadUnits",
    "DepthJacobian",
    "DepthProfile",
    "DirectionChange",
    "FlowError",
    "GateGain",
    "Placement",
    "Saturation",
    "UnitWatch",
    "attention_entropy",
    "block_jacobian",
    "blocks_of",
    "depth_profile",
    "direction_change",
    "entropy_of_weights",
    "gate_gain",
    "gaussian_mean",
    "jacobian",
    "jacobian_over_depth",
    "path_or_branch",
    "saturated",
    "watch_units",
]
