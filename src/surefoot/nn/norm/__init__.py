"""Normalisation that torch lacks, its statistics and their errors."""

from surefoot.nn.norm.channels import (
    ChannelLayerNorm,
    ChannelRMSNorm,
    channel_layer_norm,
    channel_rms_norm,
)
from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.gap import NormGap, norm_gap
from surefoot.nn.norm.layer_norm_jacobian import layer_norm_jacobian
from surefoot.nn.norm.masked import (
    BatchNormed,
    masked_batch_norm,
    masked_group_norm,
    masked_instance_norm,
)
from surefoot.nn.norm.masked_layers import (
    MaskedBatchNorm1d,
    MaskedBatchNorm2d,
    MaskedGroupNorm,
    MaskedInstanceNorm,
)
from surefoot.nn.norm.masks import lengths_to_mask
from surefoot.nn.norm.moments import Moments, merged, moments_of
from surefoot.nn.norm.query_key import QKNorm, qk_norm
from surefoot.nn.norm.recalibrate import adapt_bn, recalibrate_bn
from surefoot.nn.norm.recurrent_batch_norm import BatchNormLSTM
from surefoot.nn.norm.recurrent_cells import LayerNormGRUCell, LayerNormLSTMCell
from surefoot.nn.norm.recurrent_layers import LayerNormGRU, LayerNormLSTM
from surefoot.nn.norm.recurrent_steps import (
    RecurrentWeights,
    layer_norm_gru_cell,
    layer_norm_lstm_cell,
)
from surefoot.nn.norm.renorm import (
    BatchRenorm1d,
    BatchRenorm2d,
    BatchRenorm3d,
    batch_renorm,
)
from surefoot.nn.norm.replace import RULES, Replaced, groups_for, replace_norm
from surefoot.nn.norm.scale_invariance import (
    ScaleInvariant,
    effective_learning_rate,
    scale_invariant_parameters,
)
from surefoot.nn.norm.sigma_reparam import SigmaReparam, sigma_reparam
from surefoot.nn.norm.standardize import Standardize
from surefoot.nn.norm.variance_error import (
    NormAdvice,
    NormOption,
    advise_norm,
    crossover_batch,
    effective_size,
    variance_error,
)

__all__ = [
    "RULES",
    "BatchNormLSTM",
    "BatchNormed",
    "BatchRenorm1d",
    "BatchRenorm2d",
    "BatchRenorm3d",
    "ChannelLayerNorm",
    "ChannelRMSNorm",
    "LayerNormGRU",
    "LayerNormGRUCell",
    "LayerNormLSTM",
    "LayerNormLSTMCell",
    "MaskedBatchNorm1d",
    "MaskedBatchNorm2d",
    "MaskedGroupNorm",
    "MaskedInstanceNorm",
    "Moments",
    "NormAdvice",
    "NormError",
    "NormGap",
    "NormOption",
    "QKNorm",
    "RecurrentWeights",
    "Replaced",
    "ScaleInvariant",
    "SigmaReparam",
    "Standardize",
    "adapt_bn",
    "advise_norm",
    "batch_renorm",
    "channel_layer_norm",
    "channel_rms_norm",
    "crossover_batch",
    "effective_learning_rate",
    "effective_size",
    "groups_for",
    "layer_norm_gru_cell",
    "layer_norm_jacobian",
    "layer_norm_lstm_cell",
    "lengths_to_mask",
    "masked_batch_norm",
    "masked_group_norm",
    "masked_instance_norm",
    "merged",
    "moments_of",
    "norm_gap",
    "qk_norm",
    "recalibrate_bn",
    "replace_norm",
    "scale_invariant_parameters",
    "sigma_reparam",
    "variance_error",
]
