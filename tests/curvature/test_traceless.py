"""Whatever is measured, and whatever fails: the model is as before, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from curvature import nets
from surefoot.curvature.along import alignment, finite_difference_curvature
from surefoot.curvature.classify import classify_point
from surefoot.curvature.critical import critical_sharpness
from surefoot.curvature.edge import stability
from surefoot.curvature.noise import micro_gradients, parts
from surefoot.curvature.operators import hessian
from surefoot.curvature.sharpness import layer_sharpness
from surefoot.curvature.updates import next_update

Loss = Callable[[Any, Any], Tensor]


def _model() -> nn.Module:
    net = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1)
    )
    net[3].eval()
    return net


def _loss(model: nn.Module, batch: Any) -> Tensor:
    noise = torch.randn(()) + random.random() + np.random.random()
    return nets.squares(model, batch) * (1 + 0 * float(noise))


def _aligned(model: nn.Module, batch: Any, loss_fn: Loss) -> None:
    with hessian(model, batch, loss_fn=loss_fn) as whole:
        alignment(whole, k=2)


def _stability(model: nn.Module, batch: Any, loss_fn: Loss) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    stability(model, batch, loss_fn=loss_fn, optimizer=optimizer)


def _update(model: nn.Module, batch: Any, loss_fn: Loss) -> None:
    optimizer = torch.optim.AdamW(model.parameters())
    next_update(model, batch, loss_fn=loss_fn, optimizer=optimizer)


WORK: tuple[Callable[[nn.Module, Any, Loss], Any], ...] = (
    _aligned,
    _stability,
    _update,
    lambda m, b, f: finite_difference_curvature(m, b, loss_fn=f),
    lambda m, b, f: critical_sharpness(m, b, loss_fn=f),
    lambda m, b, f: layer_sharpness(m, b, loss_fn=f),
    lambda m, b, f: classify_point(m, b, loss_fn=f),
    lambda m, b, f: micro_gradients(m, parts(b, 4), loss_fn=f),
)
NAMES = (
    "alignment", "stability", "next_update", "finite_difference_curvature",
    "critical_sharpness", "layer_sharpness", "classify_point", "micro_gradients",
)  # fmt: skip


@pytest.mark.parametrize("fails", [False, True], ids=["works", "fails"])
@pytest.mark.parametrize("work", WORK, ids=NAMES)
def test_nothing_remains(work, fails: bool) -> None:
    torch.manual_seed(0)
    model = _model()
    batch = torch.randn(16, 4), torch.randn(16, 1)
    _loss(model, batch).backward()
    calls: list[int] = []

    def loss_fn(model: nn.Module, batch: Any) -> Tensor:
        calls.append(1)
        if fails and (len(calls) > 3 or work in WORK[:3] or work in WORK[5:7]):
            model(batch[0])
            raise RuntimeError("fails")
        return _loss(model, batch)

    before = _bits(model)
    if fails:
        with pytest.raises(RuntimeError, match="fails"):
            work(model, batch, loss_fn)
    else:
        work(model, batch, loss_fn)
    assert _bits(model) == before
    assert calls


def _bits(model: nn.Module) -> tuple[Any, ...]:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    slopes = {
        name: None if one.grad is None else (id(one.grad), one.grad.numpy().tobytes())
        for name, one in model.named_parameters()
    }
    return (
        {n: (id(t), t.detach().numpy().tobytes()) for n, t in tensors.items()},
        slopes,
        [(id(one), one.training) for one in model.modules()],
        torch.get_rng_state().numpy().tobytes(),
        str(np.random.get_state()),
        random.getstate(),
    )
