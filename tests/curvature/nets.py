"""Small networks of every supported layer type, with a batch and a loss each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class Case:
    """A model, a batch (inputs, targets) and `loss_fn(model, batch)`."""

    model: nn.Module
    batch: Any
    loss_fn: Callable[[Any, Any], torch.Tensor]


def cross_entropy(model: Any, batch: Any) -> torch.Tensor:
    x, y = batch
    out = model(x)
    return functional.cross_entropy(out.reshape(-1, out.shape[-1]), y.reshape(-1))


def squares(model: Any, batch: Any) -> torch.Tensor:
    x, y = batch
    return functional.mse_loss(model(x), y)


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


class Tied(nn.Module):
    """An embedding whose weights are those of the head, too."""

    def __init__(self, words: int = 5, width: int = 3) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.inner = nn.Linear(width, width)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.inner(self.embed(x))))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], layers: int = 1) -> None:
        super().__init__()
        self.core = kind(2, 3, num_layers=layers, batch_first=True)
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.core(x)[0])


class Attending(nn.Module):
    def __init__(self, *, weights: bool) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)
        self.weights = weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attend(x, x, x, need_weights=self.weights)[0]


class Sdpa(nn.Module):
    """Attention as it is written today: one causal call of torch's function."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def _labels(*shape: int, classes: int) -> torch.Tensor:
    return torch.randint(classes, shape)


def _classes(model: nn.Module, *shape: int, classes: int = 3) -> Case:
    """A classifier of inputs of a shape; the last dimension of its output is logits."""
    x = torch.randn(*shape, dtype=torch.float64)
    model = model.double()
    with torch.no_grad():
        rows = model(x).shape[:-1]
    return Case(model, (x, _labels(*rows, classes=classes)), cross_entropy)


def _numbers(model: nn.Module, *shape: int) -> Case:
    x = torch.randn(*shape, dtype=torch.float64)
    model = model.double()
    with torch.no_grad():
        y = torch.randn_like(model(x))
    return Case(model, (x, y), squares)


def linear() -> Case:
    return _numbers(nn.Linear(3, 2), 5, 3)


def smooth() -> Case:
    acts = (nn.Tanh(), nn.GELU(), nn.SiLU(), nn.Softplus(), nn.ELU(), nn.Sigmoid())
    parts = [part for act in acts for part in (nn.Linear(3, 3), act)]
    return _classes(nn.Sequential(*parts), 4, 3)


def relu() -> Case:
    inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 3))
    return _classes(inner, 5, 3)


def residual() -> Case:
    block = Residual(nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3), nn.GELU()))
    return _classes(nn.Sequential(block, nn.Linear(3, 3)), 4, 3)


def conv1d() -> Case:
    net = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.Tanh(), nn.AvgPool1d(2))
    return _numbers(net, 3, 2, 6)


def conv2d() -> Case:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2, padding=1),
        nn.GroupNorm(2, 2),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2, 3),
    )
    return _classes(net, 4, 1, 4, 4)


def conv_transpose() -> Case:
    net = nn.Sequential(nn.ConvTranspose2d(2, 1, 2, stride=2), nn.Tanh())
    return _numbers(net, 2, 2, 2, 2)


def batch_norm() -> Case:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)
    )
    return _classes(net, 4, 1, 3, 3)


def embedding_tied() -> Case:
    x = _labels(3, 4, classes=5)
    return Case(Tied().double(), (x, x.roll(-1, 1)), cross_entropy)


def rnn() -> Case:
    return _classes(Recurrent(nn.RNN), 2, 3, 2, classes=2)


def lstm() -> Case:
    return _classes(Recurrent(nn.LSTM), 2, 3, 2, classes=2)


def gru() -> Case:
    return _classes(Recurrent(nn.GRU), 2, 3, 2, classes=2)


def attention() -> Case:
    return _numbers(Attending(weights=False), 2, 3, 4)


def attention_with_weights() -> Case:
    return _numbers(Attending(weights=True), 2, 3, 4)


def sdpa() -> Case:
    return _numbers(Sdpa(), 2, 3, 4)


def encoder_layer() -> Case:
    layer = nn.TransformerEncoderLayer(2, 2, 3, dropout=0.0, batch_first=True)
    return _classes(layer, 2, 3, 2, classes=2)


def logistic() -> Case:
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.rand(5, 2, dtype=torch.float64)

    def loss_fn(model: Any, batch: Any) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(model(batch[0]), batch[1])

    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2))
    return Case(net.double(), (x, y), loss_fn)


ALL = (
    linear, smooth, relu, residual, conv1d, conv2d, conv_transpose, batch_norm,
    embedding_tied, rnn, lstm, gru, attention, attention_with_weights, sdpa,
    encoder_layer, logistic,
)  # fmt: skip


def made(build: Callable[[], Case], seed: int = 0) -> Case:
    """A case with weights and data of a seed; the global random stream moves."""
    torch.manual_seed(seed)
    return build()
