"""Normalisation that torch lacks, its statistics and their errors."""

from surefoot.nn.norm.errors import NormError
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
from surefoot.nn.norm.recurrent_batch_norm import BatchNormLSTM
from surefoot.nn.norm.recurrent_cells import LayerNormGRUCell, LayerNormLSTMCell
from surefoot.nn.norm.recurrent_layers import LayerNormGRU, LayerNormLSTM
from surefoot.nn.norm.recurrent_steps import (
    RecurrentWeights,
    layer_norm_gru_cell,
    layer_norm_lstm_cell,
)
from surefoot.nn.norm.standardize import Standardize

__all__ = [
    "BatchNormLSTM",
    "BatchNormed",
    "LayerNormGRU",
    "LayerNormGRUCell",
    "LayerNormLSTM",
    "LayerNormLSTMCell",
    "MaskedBatchNorm1d",
    "MaskedBatchNorm2d",
    "MaskedGroupNorm",
    "MaskedInstanceNorm",
    "Moments",
    "NormError",
    "RecurrentWeights",
    "Standardize",
    "layer_norm_gru_cell",
    "layer_norm_lstm_cell",
    "lengths_to_mask",
    "masked_batch_norm",
    "masked_group_norm",
    "masked_instance_norm",
    "merged",
    "moments_of",
]
