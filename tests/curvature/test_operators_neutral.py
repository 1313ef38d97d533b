"""A model is as before, bit for bit, whatever was asked for and however it ended."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from curvature import nets
from curvature.nets import Case
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.operators import (
    Batches,
    fisher,
    ggn,
    hessian,
    preconditioned,
    restricted,
)

MAKERS: dict[str, Callable[..., Any]] = {
    "hessian": hessian,
    "ggn": ggn,
    "empirical": fisher,
    "true": lambda *args, **options: fisher(*args, **options, kind="true"),
}


def state(model: nn.Module) -> list[Any]:
    """All that training goes on from, by value; hooks by their number."""
    streams = np.random.get_state()
    return [
        [(id(t), t.dtype, t.detach().clone(), t._version) for t in _tensors(model)],
        [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        [id(p.grad) for p in model.parameters()],
        [module.training for module in model.modules()],
        [len(module._forward_hooks) for module in model.modules()],
        [len(module._forward_pre_hooks) for module in model.modules()],
        [len(module._forward_pre_hooks_with_kwargs) for module in model.modules()],
        torch.get_rng_state(),
        [streams[0], streams[1].tolist(), *streams[2:]],
        random.getstate(),
        [torch.backends.cuda.flash_sdp_enabled(), torch.backends.cudnn.enabled],
        torch.is_grad_enabled(),
    ]


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    before = state(model)
    with suppress(CurvatureError, ZeroDivisionError):
        yield
    after = state(model)
    changed = [place for place, (a, b) in enumerate(zip(before, after, strict=True))
               if not same(a, b)]  # fmt: skip
    assert not changed


def with_gradients(case: Case) -> None:
    case.loss_fn(case.model, case.batch).backward()


@pytest.mark.parametrize("build", nets.ALL, ids=lambda build: build.__name__)
@pytest.mark.parametrize("kind", MAKERS)
def test_products_leave_no_trace(build: Any, kind: str) -> None:
    case = nets.made(build)
    with_gradients(case)
    rows = len(case.batch[0])
    halves = [[one[: rows // 2] for one in case.batch]]
    halves += [[one[rows // 2 :] for one in case.batch]]
    with untouched(case.model):
        A = MAKERS[kind](case.model, case.batch, loss_fn=case.loss_fn, training=True)
        v = torch.randn(A.shape[0], dtype=A.dtype, generator=torch.Generator())
        assert (A @ v).isfinite().all()
        A.close()
        if build is nets.batch_norm:
            return
        A = MAKERS[kind](case.model, Batches(halves), loss_fn=case.loss_fn)
        assert (A @ v).isfinite().all()
        assert restricted(A, A.space.names[:1]).shape[0] == A.space.sizes[0]


@pytest.mark.parametrize("kind", MAKERS)
def test_an_error_leaves_no_trace(kind: str) -> None:
    case = nets.made(nets.batch_norm)
    with_gradients(case)

    def loss_fn(model: Any, batch: Any) -> torch.Tensor:
        case.loss_fn(model, batch)
        torch.rand(1), random.random(), np.random.rand()
        raise ZeroDivisionError

    with untouched(case.model):
        MAKERS[kind](case.model, case.batch, loss_fn=loss_fn, training=False)
        raise AssertionError
    calls = iter(range(9))

    def later(model: Any, batch: Any) -> torch.Tensor:
        return loss_fn(model, batch) if next(calls) else case.loss_fn(model, batch)

    with untouched(case.model):
        A = MAKERS[kind](case.model, Batches([case.batch]), loss_fn=later)
        _ = A @ torch.ones(A.shape[0], dtype=A.dtype)
        raise AssertionError


def test_a_preconditioner_leaves_its_optimizer_alone() -> None:
    case = nets.made(nets.smooth)
    optimizer = torch.optim.AdamW(case.model.parameters())
    with_gradients(case)
    optimizer.step()
    before = [t.clone() for s in optimizer.state.values() for t in s.values()]
    with untouched(case.model):
        H = hessian(case.model, case.batch, loss_fn=case.loss_fn)
        P = preconditioned(H, optimizer)
        _ = P @ torch.ones(P.shape[0], dtype=P.dtype)
    after = [t for s in optimizer.state.values() for t in s.values()]
    assert same(before, after)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_goes_on_where_it_was(workers: int) -> None:
    case = nets.made(nets.linear)

    def epochs(*, ask: bool) -> list[list[float]]:
        found = []
        loader = DataLoader(
            TensorDataset(*case.batch),
            batch_size=2,
            shuffle=True,
            generator=torch.Generator().manual_seed(3),
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        for _ in range(2):
            for place, (x, _) in enumerate(loader):
                found.append(x.flatten().tolist())
                if ask and place == 1:
                    H = hessian(case.model, loader, loss_fn=case.loss_fn)
                    assert H.loss.item() == pytest.approx(whole.loss.item(), rel=1e-12)
        return found

    whole = hessian(case.model, case.batch, loss_fn=case.loss_fn)
    expected = epochs(ask=False)
    with untouched(case.model):
        assert epochs(ask=True) == expected
