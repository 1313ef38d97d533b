"""Norms of convolutions against the dense matrix of the same operator."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from surefoot.nn.regularize import (
    OrthogonalityError,
    conv_norm_bound,
    conv_operator_norm,
    conv_singular_values,
)

CONVS = (functional.conv1d, functional.conv2d, functional.conv3d)


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=source)


def dense(
    weight: Tensor, size: tuple[int, ...], *, circular: bool = True, **how: Any
) -> Tensor:
    """The matrix of a convolution, a column an element of the input."""
    channels = weight.shape[1] * how.get("groups", 1)
    units = torch.eye(channels * torch.Size(size).numel(), dtype=weight.dtype)
    maps = units.reshape(-1, channels, *size)
    dilation = how.get("dilation", 1)
    reach = [dilation * (k - 1) for k in weight.shape[2:]]
    if circular:
        for axis, width in enumerate(reach):  # kernels may be wider than the map
            places = torch.arange(-width, size[axis]) % size[axis]
            maps = maps.index_select(2 + axis, places)
    else:
        pads = [(width // 2, width - width // 2) for width in reversed(reach)]
        maps = functional.pad(maps, list(itertools.chain(*pads)))
    return CONVS[len(size) - 1](maps, weight, **how).flatten(1).mT


# --- the claims -----------------------------------------------------------------


def test_a_mean_filter_of_unfolded_norm_1_has_norm_3() -> None:
    kernel = torch.full((1, 1, 3, 3), 1 / 3, dtype=torch.float64)
    unfolded = torch.linalg.matrix_norm(kernel.flatten(1), 2)
    assert float(unfolded) == pytest.approx(1.0, abs=1e-12)
    assert float(conv_operator_norm(kernel, 8)) == pytest.approx(3.0, abs=1e-12)


def test_torchs_spectral_norm_leaves_a_convolution_at_1_7518() -> None:
    torch.manual_seed(0)
    conv = nn.utils.parametrizations.spectral_norm(nn.Conv2d(16, 32, 3))
    for _ in range(200):
        weight = conv.weight.detach()
    unfolded = torch.linalg.matrix_norm(weight.flatten(1), 2)
    assert float(unfolded) == pytest.approx(1.0, abs=1e-3)
    assert float(conv_operator_norm(weight, 32)) == pytest.approx(1.7518, abs=2e-3)


def test_orthogonal_init_of_a_convolution_is_far_from_an_isometry() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 32, 3)
    nn.init.orthogonal_(conv.weight)
    values = conv_singular_values(conv.weight.detach(), 16)
    assert float(values[-1]) < 0.5
    assert float(values[0]) > 2.0
    assert float(values[0]) <= 3.0


# --- against the dense matrix ---------------------------------------------------


@given(
    seed=st.integers(0, 10_000),
    axes=st.integers(1, 2),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    groups=st.sampled_from([1, 2]),
    steps=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_all_singular_values_are_those_of_the_dense_matrix(
    seed: int, axes: int, *, kernel: int, stride: int, dilation: int, groups: int,
    steps: int,
) -> None:  # fmt: skip
    weight = gaussian(4, 3, *(kernel,) * axes, seed=seed)
    size = (stride * steps,) * axes
    how = {"stride": stride, "dilation": dilation, "groups": groups}
    expected = torch.linalg.svdvals(dense(weight, size, **how))
    found = conv_singular_values(weight, size, **how)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    norm = conv_operator_norm(weight, size, **how)
    torch.testing.assert_close(norm, expected[0], rtol=1e-9, atol=1e-9)
    bound = float(conv_norm_bound(weight, **how))
    assert float(norm) <= bound * (1 + 1e-9)


def test_three_axes_of_different_sizes() -> None:
    weight = gaussian(2, 2, 1, 2, 3)
    found = conv_operator_norm(weight, (2, 4, 6), stride=(1, 2, 3))
    expected = torch.linalg.svdvals(dense(weight, (2, 4, 6), stride=(1, 2, 3)))[0]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_zero_padding_is_bounded_by_a_larger_circle(stride: int, dilation: int) -> None:
    weight = gaussian(5, 4, 3, 3)
    how = {"stride": stride, "dilation": dilation}
    norm = torch.linalg.svdvals(dense(weight, (8, 8), circular=False, **how))[0]
    circle = conv_operator_norm(weight, 8 + 2 * dilation, **how)
    bound = conv_norm_bound(weight, **how)
    assert float(norm) <= float(circle) <= float(bound)
    assert float(circle) < 1.15 * float(norm)


def test_the_bound_is_no_looser_than_the_root_of_the_kernel_size() -> None:
    weight = gaussian(8, 4, 3, 3)
    unfolded = torch.linalg.matrix_norm(weight.flatten(1), 2)
    bound = float(conv_norm_bound(weight))
    assert bound <= 3 * float(unfolded)
    # A stride as wide as the kernel reads each input once: a plain matrix.
    assert float(conv_norm_bound(weight, stride=3)) == pytest.approx(float(unfolded))


def test_a_transposed_convolution_has_the_norm_of_its_adjoint() -> None:
    weight = gaussian(3, 2, 3)
    units = torch.eye(3 * 4, dtype=torch.float64).reshape(-1, 3, 4)
    wide = functional.conv_transpose1d(units, weight, stride=2)
    folded = wide[..., :8].clone()
    folded[..., : wide.shape[-1] - 8] += wide[..., 8:]
    expected = torch.linalg.svdvals(folded.flatten(1))[0]
    found = conv_operator_norm(weight, 8, stride=2)
    torch.testing.assert_close(found, expected)


def test_the_norm_has_the_gradient_of_differences() -> None:
    weight = gaussian(2, 3, 3, 2).requires_grad_()
    for how in ({}, {"stride": 2}, {"dilation": 2}):
        assert torch.autograd.gradcheck(
            lambda w, how=how: conv_operator_norm(w, 4, **how), (weight,)
        )
        assert torch.autograd.gradcheck(
            lambda w, how=how: conv_norm_bound(w, **how), (weight,)
        )


def test_the_norm_can_be_vectorised() -> None:
    weights = gaussian(3, 2, 2, 3)
    each = torch.stack([conv_operator_norm(one, 5) for one in weights])
    found = torch.func.vmap(lambda w: conv_operator_norm(w, 5))(weights)
    torch.testing.assert_close(found, each)


def test_bad_input_is_refused() -> None:
    weight = torch.ones(2, 2, 3, 3)
    with pytest.raises(OrthogonalityError, match="of a convolution"):
        conv_operator_norm(torch.ones(2, 2), 8)
    with pytest.raises(OrthogonalityError, match="divisor"):
        conv_operator_norm(weight, 9, stride=2)
    with pytest.raises(OrthogonalityError, match=r"size=\(8,\) came for 2 axes"):
        conv_operator_norm(weight, (8,))
    with pytest.raises(OrthogonalityError, match="dilation=0"):
        conv_operator_norm(weight, 8, dilation=0)
    with pytest.raises(OrthogonalityError, match="groups=3"):
        conv_norm_bound(weight, groups=3)
