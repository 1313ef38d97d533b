"""Products with the Hessian against dense ones; blocks, checks of what comes in."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch.func import functional_call

from curvature import nets
from curvature.nets import Case
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.operators import hessian, restricted
from surefoot.curvature.space import Space, space


def dense_hessian(case: Case, over: Space | None = None) -> torch.Tensor:
    """The Hessian by torch's own means: derivatives of a function of a flat vector."""
    over = over or space(case.model)
    names = {
        name
        for name, tensor in case.model.named_parameters(remove_duplicate=False)
        for name_of, own in zip(over.names, over.tensors, strict=True)
        if tensor is own
    }
    by_id = {id(t): i for i, t in enumerate(over.tensors)}
    of = {
        name: by_id[id(tensor)]
        for name, tensor in case.model.named_parameters(remove_duplicate=False)
        if name in names
    }
    buffers = {name: b.clone() for name, b in case.model.named_buffers()}

    def loss(flat: torch.Tensor) -> torch.Tensor:
        pieces = over.split(flat)
        values = {name: pieces[place] for name, place in of.items()}

        class Called:
            def __call__(self, *args: Any) -> torch.Tensor:
                return functional_call(case.model, {**values, **buffers}, args)

        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return case.loss_fn(Called(), case.batch)

    start = over.flat([tensor.detach() for tensor in over.tensors])
    return torch.autograd.functional.hessian(loss, start)


def close(found: torch.Tensor, expected: torch.Tensor, bound: float = 1e-6) -> None:
    assert (found - expected).norm() <= bound * expected.norm()


@pytest.mark.parametrize("build", nets.ALL, ids=lambda build: build.__name__)
def test_products_are_those_of_the_dense_hessian(build: Any) -> None:
    case = nets.made(build)
    expected = dense_hessian(case)
    with hessian(case.model, case.batch, loss_fn=case.loss_fn) as H:
        close(H @ torch.eye(H.shape[0], dtype=torch.float64), expected)
        assert H.products == H.shape[0]
        assert H.loss.item() == pytest.approx(
            case.loss_fn(case.model, case.batch).item(), rel=1e-12
        )


def test_a_block_is_that_of_the_dense_hessian_and_leaves_the_whole_open() -> None:
    case = nets.made(nets.conv2d)
    expected = dense_hessian(case)
    H = hessian(case.model, case.batch, loss_fn=case.loss_fn)
    eye = torch.eye(H.shape[0], dtype=torch.float64)
    with restricted(H, ["0", "5.bias"]) as block:
        rows = [place for name in block.space.names for place in _range(H.space, name)]
        close(block @ eye[: len(rows), : len(rows)], expected[rows][:, rows])
    with pytest.raises(CurvatureError, match="closed"):
        _ = block @ eye[: len(rows), 0]
    close(H @ eye, expected)
    H.close()
    with pytest.raises(CurvatureError, match="closed"):
        _ = H @ eye[0]


def _range(over: Space, name: str) -> range:
    return range(*over.slices[name].indices(over.size))


def test_closing_frees_the_graph() -> None:
    case = nets.made(nets.smooth)
    H = hessian(case.model, case.batch, loss_fn=case.loss_fn)
    terms = weakref.ref(H._terms._kept[0])
    H.close()
    assert terms() is None
