"""How blocks stretch signals: known matrices, deep chains, and probes beside them."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn import functional

from surefoot.nn.flow import (
    FlowError,
    block_jacobian,
    jacobian,
    jacobian_over_depth,
)
from surefoot.nn.flow.linearized import linearized

WIDTH, DEPTH, GAIN = 256, 24, 0.1


def _weights(count: int, *, seed: int, width: int = WIDTH) -> list[Tensor]:
    """Gaussian matrices of gain 1 and an input, drawn as one stream."""
    draw = torch.Generator().manual_seed(seed)
    kind = torch.float64
    given = torch.randn(width, generator=draw, dtype=kind)
    drawn = [
        torch.randn(width, width, generator=draw, dtype=kind) for _ in range(count)
    ]
    return [given, *(one / width**0.5 for one in drawn)]


def pre_norm(weight: Tensor, gain: float) -> Callable[[Tensor], Tensor]:
    return lambda x: x + gain * (weight @ functional.layer_norm(x, x.shape))


def post_norm(weight: Tensor, gain: float) -> Callable[[Tensor], Tensor]:
    return lambda x: functional.layer_norm(x + gain * (weight @ x), x.shape)


def test_a_linear_map_returns_its_singular_values() -> None:
    matrix = torch.randn(6, 9, dtype=torch.float64)
    exact = torch.linalg.svdvals(matrix)
    found = block_jacobian(lambda x: matrix @ x, torch.randn(9, dtype=torch.float64))
    assert found.exact
    assert (found.inputs, found.outputs) == (9, 6)
    assert found.largest == pytest.approx(float(exact[0]), rel=1e-12)
    assert found.smallest == pytest.approx(float(exact[-1]), rel=1e-12)
    assert found.median == pytest.approx(float(exact[2:4].mean()), rel=1e-12)
    assert found.rms == pytest.approx(float(matrix.norm()) / 3, rel=1e-12)


def test_24_blocks_of_gain_a_tenth_keep_the_signal_with_either_norm() -> None:
    """rms 0.966 with post-norm, 1.109 with pre-norm, on this draw of weights."""
    x, *weights = _weights(DEPTH, seed=0)
    post = jacobian_over_depth([post_norm(w, GAIN) for w in weights], x)
    pre = jacobian_over_depth([pre_norm(w, GAIN) for w in weights], x)
    assert post.whole.rms == pytest.approx(0.966, abs=0.001)
    assert pre.whole.rms == pytest.approx(1.109, abs=0.001)
    assert post.product == pytest.approx(post.whole.rms, rel=0.1)


def test_the_residual_stream_of_pre_norm_grows_and_that_of_post_norm_does_not() -> None:
    x, *weights = _weights(DEPTH, seed=0)
    pre = post = x
    for weight in weights:
        pre, post = pre_norm(weight, 1.0)(pre), post_norm(weight, 1.0)(post)
    assert float(pre.square().mean().sqrt()) == pytest.approx(5.1, abs=0.1)
    assert float(post.square().mean().sqrt()) == pytest.approx(1.0, abs=0.001)


def test_the_jacobian_of_a_residual_block_is_the_identity_and_the_branch() -> None:
    branch = nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 5)).double()
    x = torch.randn(5, dtype=torch.float64)
    whole = jacobian(lambda x: x + branch(x), x)
    eye = torch.eye(5, dtype=torch.float64)
    assert (whole - (eye + jacobian(branch, x))).abs().max() < 1e-12


@pytest.mark.parametrize("norm_first", [True, False])
def test_torchs_layer_has_the_norm_where_norm_first_says(norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0.0, norm_first=norm_first, batch_first=True
    ).double()
    x = torch.randn(1, 3, 8, dtype=torch.float64)

    def attend(x: Tensor) -> Tensor:
        return layer.self_attn(x, x, x, need_weights=False)[0]

    def feed(x: Tensor) -> Tensor:
        return layer.linear2(torch.relu(layer.linear1(x)))

    def written(x: Tensor) -> Tensor:
        if norm_first:
            x = x + attend(layer.norm1(x))
            return x + feed(layer.norm2(x))
        x = layer.norm1(x + attend(x))
        return layer.norm2(x + feed(x))

    torch.testing.assert_close(layer(x), written(x))
    torch.testing.assert_close(jacobian(layer, x), jacobian(written, x))


def _outlier(width: int) -> Callable[[Tensor], Tensor]:
    direction = torch.randn(width) / width**0.5
    return lambda x: 0.01 * x + 5 * direction * (direction @ x)


def _cases(width: int) -> dict[str, Callable[[Tensor], Tensor]]:
    torch.manual_seed(0)
    matrix = torch.randn(width, width) / width**0.5
    chain = [post_norm(torch.randn(width, width) / width**0.5, 0.5) for _ in range(3)]
    return {
        "gaussian": lambda x: matrix @ x,
        "residual": pre_norm(matrix, 0.1),
        "chain": lambda x: chain[2](chain[1](chain[0](x))),
        "outlier": _outlier(width),
        "narrower": lambda x: (matrix @ x)[: width // 2],
        "wider": lambda x: torch.cat([matrix @ x, x]),
    }


@pytest.mark.parametrize("name", list(_cases(2)))
def test_probes_come_within_5_percent_of_the_exact_values(name: str) -> None:
    block = _cases(600)[name]
    x = torch.randn(600)
    exact = block_jacobian(block, x, method="exact")
    found = block_jacobian(block, x, method="probes")
    assert not found.exact
    assert found.rms == pytest.approx(exact.rms, rel=0.05)
    assert abs(found.rms - exact.rms) <= 4 * found.error + 1e-6
    assert found.largest == pytest.approx(exact.largest, rel=0.01)
    assert found.median == pytest.approx(exact.median, rel=0.05)


def test_probes_do_not_lie_along_weights_drawn_with_the_same_seed() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(256, 256) / 16
    found = block_jacobian(lambda x: matrix @ x, torch.ones(256), method="probes")
    assert found.rms == pytest.approx(float(matrix.norm()) / 16, rel=0.05)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 99))
def test_probes_of_small_maps_are_exact_where_they_use_up_the_space(
    inputs: int, outputs: int, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    matrix = torch.randn(outputs, inputs, generator=draw, dtype=torch.float64)
    x = torch.zeros(inputs, dtype=torch.float64)
    found = block_jacobian(lambda x: matrix @ x, x, method="probes")
    assert found.rms == pytest.approx(float(matrix.norm()) / inputs**0.5, rel=1e-9)
    exact = torch.linalg.svdvals(matrix)
    assert found.largest == pytest.approx(float(exact[0]), rel=1e-9)


MODULES = {
    "attention": (lambda: nn.TransformerEncoderLayer(8, 2, 16), (3, 1, 8)),
    "lstm": (lambda: nn.LSTM(4, 4), (5, 4)),
    "convolution": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()),
        (2, 2, 5, 5),
    ),
    "dropout": (lambda: nn.Dropout(0.5), (12,)),
}


@pytest.mark.parametrize("name", list(MODULES))
def test_products_agree_with_the_rows_and_the_module_stays_as_it_was(
    name: str,
) -> None:
    make, shape = MODULES[name]
    module = make().double()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with linearized(module, torch.randn(shape, dtype=torch.float64)) as here:
        matrix = here.rows()
        ahead = torch.randn(here.inputs, dtype=torch.float64)
        back = torch.randn(here.outputs, dtype=torch.float64)
        torch.testing.assert_close(here.ahead(ahead), matrix @ ahead)
        torch.testing.assert_close(here.back(back), matrix.T @ back)
    after = module.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert all(weight.grad is None for weight in module.parameters())


def test_a_stream_of_torch_is_not_moved_by_a_module_that_draws() -> None:
    blocks = [nn.Dropout(0.5), nn.Linear(8, 8)]
    stream = torch.random.get_rng_state()
    block_jacobian(blocks[0], torch.ones(8))
    jacobian_over_depth(blocks, torch.ones(8))
    assert torch.equal(stream, torch.random.get_rng_state())


def test_batch_norms_of_a_chain_keep_their_statistics() -> None:
    block = nn.BatchNorm1d(3)
    jacobian_over_depth([block, nn.ReLU()], torch.randn(8, 3), method="probes")
    assert block.num_batches_tracked.item() == 0


@pytest.mark.parametrize(
    ("block", "x", "told"),
    [
        (nn.Embedding(3, 2), torch.tensor([1]), "after the embedding"),
        (lambda x: x.detach(), torch.ones(2), "not computed from the input"),
        (lambda x: {"a": x}, torch.ones(2), "no tensor"),
        (torch.log, -torch.ones(2), "NaN or infinity"),
    ],
)
def test_what_has_no_jacobian_is_refused(
    block: nn.Module, x: Tensor, told: str
) -> None:
    with pytest.raises(FlowError, match=told):
        block_jacobian(block, x)


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(FlowError, match="2 or more"):
        block_jacobian(torch.relu, torch.ones(2), probes=1)
    with pytest.raises(FlowError, match="'exact' or 'probes'"):
        block_jacobian(torch.relu, torch.ones(2), method="svd")  # type: ignore[arg-type]
    with pytest.raises(FlowError, match="no blocks"):
        jacobian_over_depth([], torch.ones(2))
