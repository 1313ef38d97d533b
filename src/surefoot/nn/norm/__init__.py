"""Normalisation that torch lacks, its statistics and their errors."""

from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.recurrent_batch_norm import BatchNormLSTM
from surefoot.nn.norm.recurrent_cells import LayerNormGRUCell, LayerNormLSTMCell
from surefoot.nn.norm.recurrent_layers import LayerNormGRU, LayerNormLSTM
from surefoot.nn.norm.recurrent_steps import (
    RecurrentWeights,
    layer_norm_gru_cell,
    layer_norm_lstm_cell,
)

__all__ = [
    "BatchNormLSTM",
    "LayerNormGRU",
    "LayerNormGRUCell",
    "LayerNormLSTM",
    "LayerNormLSTMCell",
    "NormError",
    "RecurrentWeights",
    "layer_norm_gru_cell",
    "layer_norm_lstm_cell",
]
