"""Masked batch, group and instance norm: torch's on the data alone, padding unseen."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from conventions import keeps_conventions
from surefoot.nn.norm import (
    MaskedBatchNorm1d,
    MaskedBatchNorm2d,
    MaskedGroupNorm,
    MaskedInstanceNorm,
    NormError,
    lengths_to_mask,
    masked_batch_norm,
    masked_group_norm,
    masked_instance_norm,
)

CHANNELS = 6
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "batch": lambda: MaskedBatchNorm1d(CHANNELS),
    "group": lambda: MaskedGroupNorm(3, CHANNELS),
    "instance": lambda: MaskedInstanceNorm(CHANNELS, affine=True),
}
TORCHS: dict[str, Callable[[], nn.Module]] = {
    "batch": lambda: nn.BatchNorm1d(CHANNELS),
    "group": lambda: nn.GroupNorm(3, CHANNELS),
    "instance": lambda: nn.InstanceNorm1d(CHANNELS, affine=True),
}


def sequences(
    lengths: list[int], longest: int, *, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Values that are not centred, and NaN where there are none."""
    generator = torch.Generator().manual_seed(seed)
    x = 3 + 2 * torch.randn(len(lengths), CHANNELS, longest, generator=generator)
    mask = lengths_to_mask(torch.tensor(lengths), longest)
    return torch.where(mask[:, None], x, torch.nan), mask


def with_odd_weights(layer: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return layer


def test_masked_statistics_of_two_rows_are_3_and_2() -> None:
    x = torch.tensor([[[1.0, 2, 3, 0]], [[4.0, 5, 0, 0]]])
    found = masked_batch_norm(x, lengths_to_mask(torch.tensor([3, 2]), 4))
    assert found.mean.item() == pytest.approx(3.0, abs=1e-6)
    assert found.variance.item() == pytest.approx(2.0, abs=1e-6)
    assert found.valid.item() == 5
    plain = (x.mean().item(), x.var(correction=0).item())
    assert plain == pytest.approx((1.875, 3.359), abs=1e-3)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("training", [True, False])
def test_a_mask_of_all_ones_is_torchs_layer(kind: str, training: bool) -> None:
    ours, torchs = (with_odd_weights(make[kind]()) for make in (LAYERS, TORCHS))
    torchs.load_state_dict(ours.train(training).state_dict())
    torchs.train(training)
    for seed in range(3):
        x, mask = sequences([9] * 5, 9, seed=seed)
        left, right = x.clone().requires_grad_(), x.clone().requires_grad_()
        one, other = ours(left, mask), torchs(right)
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
        weights = [*ours.parameters()], [*torchs.parameters()]
        found = torch.autograd.grad(one.sin().sum(), (left, *weights[0]))
        expected = torch.autograd.grad(other.sin().sum(), (right, *weights[1]))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for name, value in torchs.state_dict().items():
        found = ours.state_dict()[name]
        torch.testing.assert_close(found, value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_without_a_mask_it_is_torchs_layer(kind: str) -> None:
    x, _ = sequences([9] * 5, 9)
    torch.testing.assert_close(LAYERS[kind]()(x), TORCHS[kind]()(x))


def test_rows_that_are_masked_are_not_there() -> None:
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(0)).double()
    mask = torch.tensor([True, True, False, True, False, True, True])
    ours, torchs = MaskedBatchNorm1d(4).double(), nn.BatchNorm1d(4).double()
    out = ours(x.masked_fill(~mask[:, None], torch.nan), mask)
    torch.testing.assert_close(out[mask], torchs(x[mask]))
    torch.testing.assert_close(ours.running_var, torchs.running_var)

    def output(x: Tensor) -> Tensor:
        return masked_batch_norm(x, mask).values

    assert torch.autograd.gradcheck(output, x.requires_grad_())
    assert torch.autograd.gradgradcheck(output, x)


@pytest.mark.parametrize("kind", LAYERS)
def test_how_values_lie_in_memory_does_not_matter(kind: str) -> None:
    x, mask = sequences([9, 4, 6], 9)
    other = x.mT.contiguous().mT.requires_grad_()
    x.requires_grad_()
    one, two = LAYERS[kind]()(x, mask), LAYERS[kind]()(other, mask)
    torch.testing.assert_close(one, two)
    grads = [
        torch.autograd.grad(o.square().sum(), i) for o, i in ((one, x), (two, other))
    ]
    torch.testing.assert_close(*grads)
    (of_sum,) = torch.autograd.grad(LAYERS[kind]()(x, mask).sum(), x)  # expanded ones
    assert torch.isfinite(of_sum).all()


def test_maps_are_normalised_as_sequences_are() -> None:
    x, mask = sequences([12, 7, 0], 12)
    flat, maps = MaskedBatchNorm1d(CHANNELS), MaskedBatchNorm2d(CHANNELS)
    one, other = flat(x, mask), maps(x.unflatten(2, (3, 4)), mask.unflatten(1, (3, 4)))
    torch.testing.assert_close(other.flatten(2), one)
    torch.testing.assert_close(maps.running_var, flat.running_var)


@pytest.mark.parametrize("kind", LAYERS)
@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 8), min_size=2, max_size=5),
    more=st.integers(0, 6),
    fill=st.sampled_from([0.0, 1e6, float("nan"), float("inf")]),
    training=st.booleans(),
)
def test_padding_is_never_seen(
    kind: str, lengths: list[int], more: int, fill: float, training: bool
) -> None:
    layer = with_odd_weights(LAYERS[kind]()).train(training)
    other = copy.deepcopy(layer)
    x, mask = sequences(lengths, 8)
    padded = nn.functional.pad(x, (0, more))
    longer = nn.functional.pad(mask, (0, more))
    padded = padded.masked_fill(~longer[:, None], fill)
    left, right = x.clone().requires_grad_(), padded.clone().requires_grad_()
    one, two = layer(left, mask), other(right, longer)
    torch.testing.assert_close(two[..., :8], one, rtol=1e-5, atol=1e-5)
    assert (two.masked_select(~longer[:, None]) == 0).all()
    (g1,) = torch.autograd.grad(one.sin().sum(), left)
    (g2,) = torch.autograd.grad(two.sin().sum(), right)
    torch.testing.assert_close(g2[..., :8], g1, rtol=1e-4, atol=1e-4)
    assert (g2.masked_select(~longer[:, None]) == 0).all()
    for name, value in layer.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value)


def test_plain_group_norm_does_see_padding() -> None:
    x, _ = sequences([9] * 5, 9)
    layer = nn.GroupNorm(3, CHANNELS)
    change = layer(nn.functional.pad(x, (0, 9)))[..., :9] - layer(x)
    assert change.abs().max() > 0.5


@pytest.mark.parametrize("kind", LAYERS)
def test_a_sample_without_data_gives_zeros_and_no_gradient(kind: str) -> None:
    layer = with_odd_weights(LAYERS[kind]())
    x, mask = sequences([5, 0, 3], 5)
    x = x.requires_grad_()
    out = layer(x, mask)
    assert (out[1] == 0).all()
    (gradient,) = torch.autograd.grad(out.square().sum(), x)
    assert (gradient[1] == 0).all()
    assert torch.isfinite(gradient).all()
    assert all(torch.isfinite(value).all() for value in layer.state_dict().values())


def test_a_batch_of_too_few_values_moves_no_running_statistics() -> None:
    layer = MaskedBatchNorm1d(CHANNELS)
    before = copy.deepcopy(layer.state_dict())
    for lengths in ([0, 0], [1, 0]):
        out = layer(*sequences(lengths, 4))
        assert (out == 0).all()
        for name, value in before.items():
            assert torch.equal(layer.state_dict()[name], value), name


def test_the_mean_over_all_batches_is_followed_without_a_momentum() -> None:
    layer = MaskedBatchNorm1d(CHANNELS, momentum=None)
    means = []
    for seed in range(3):
        x, mask = sequences([4, 2, 3], 4, seed=seed)
        layer(x, mask)
        means.append(masked_batch_norm(x, mask).mean)
    torch.testing.assert_close(layer.running_mean, torch.stack(means).mean(0))


@pytest.mark.parametrize("groups", [None, 1, 2, 4])
@pytest.mark.parametrize("affine", [True, False])
def test_gradients_of_both_orders_are_those_of_differences(
    groups: int | None, affine: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 4, dtype=torch.float64, generator=generator)
    weights = torch.randn(2, 4, dtype=torch.float64, generator=generator)
    mask = lengths_to_mask(torch.tensor([4, 2, 3]), 4)
    given = (x, *weights) if affine else (x,)
    given = tuple(one.clone().requires_grad_() for one in given)

    def output(x: Tensor, *of: Tensor) -> Tensor:
        named = dict(zip(("weight", "bias"), of, strict=False))
        if groups is None:
            return masked_batch_norm(x, mask, **named).values
        return masked_group_norm(x, mask, groups=groups, **named)

    assert torch.autograd.gradcheck(output, given)
    assert torch.autograd.gradgradcheck(output, given)


def test_torch_func_sees_the_same_function() -> None:
    x, mask = sequences([5, 3], 5)
    x = torch.where(mask[:, None], x, 0.0)

    def loss(x: Tensor) -> Tensor:
        return masked_instance_norm(x, mask).sin().sum()

    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(loss)(x), expected, rtol=1e-4, atol=1e-5)
    both = torch.func.vmap(lambda y: masked_instance_norm(y, mask))(
        torch.stack([x, 2 * x])
    )
    torch.testing.assert_close(both[0], masked_instance_norm(x, mask))


@pytest.mark.parametrize("kind", LAYERS)
def test_conventions(kind: str) -> None:
    x, mask = sequences([5, 3, 2], 5)
    x = torch.where(mask[:, None], x, 0.0)
    keeps_conventions(LAYERS[kind], x, mask=mask, exported=True)


def test_half_precision_has_statistics_in_float32() -> None:
    x, mask = sequences([50, 30, 20], 50)
    layer = MaskedGroupNorm(3, CHANNELS)
    out = layer((x + 200).bfloat16(), mask)
    assert out.dtype == torch.bfloat16
    expected = layer((x + 200).bfloat16().float(), mask)
    torch.testing.assert_close(out.float(), expected, rtol=1e-2, atol=1e-2)


# --- what is refused ------------------------------------------------------------


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (torch.ones(2, 5), "torch.float32.*mask.bool()"),
        (torch.ones(2, 5, dtype=torch.int64), "torch.int64"),
        (torch.ones(2, 4, dtype=torch.bool), r"\[2, 4\].*expected \[2, 5\]"),
        (torch.ones(2, CHANNELS, 5, dtype=torch.bool), r"none for channels"),
    ],
)
def test_another_mask_is_refused_and_nothing_moves(
    kind: str, mask: Tensor, told: str
) -> None:
    layer = LAYERS[kind]()
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(NormError, match=told):
        layer(torch.ones(2, CHANNELS, 5), mask)
    for name, value in before.items():
        assert torch.equal(layer.state_dict()[name], value)


def test_groups_that_do_not_divide_are_refused_with_those_that_do() -> None:
    with pytest.raises(NormError, match=r"4 groups came for 6.*1, 2, 3, 6"):
        MaskedGroupNorm(4, 6)
    with pytest.raises(NormError, match="0 groups"):
        masked_group_norm(torch.ones(2, 6, 3), torch.ones(2, 3).bool(), groups=0)


def test_one_value_a_channel_is_no_batch() -> None:
    layer = MaskedBatchNorm1d(CHANNELS)
    with pytest.raises(NormError, match="a variance needs two"):
        layer(torch.ones(1, CHANNELS), torch.ones(1, dtype=torch.bool))
    layer.eval()(torch.ones(1, CHANNELS), torch.ones(1, dtype=torch.bool))


def test_values_of_another_dimension_are_refused() -> None:
    mask = torch.ones(2, 3, 3, dtype=torch.bool)
    with pytest.raises(NormError, match=r"expected \[N, C\] or \[N, C, L\]"):
        MaskedBatchNorm1d(CHANNELS)(torch.ones(2, CHANNELS, 3, 3), mask)
    with pytest.raises(NormError, match=r"int64 came"):
        masked_instance_norm(torch.ones(2, 3, dtype=torch.int64), mask[:, 0, 0])


@pytest.mark.parametrize(
    ("lengths", "longest"),
    [([1.0, 2.0], 3), ([[1, 2]], 3), ([True], 3), ([1, 4], 3), ([-1, 2], 3)],
)
def test_lengths_that_are_none_are_refused(lengths: list, longest: int) -> None:
    with pytest.raises(NormError, match="expected"):
        lengths_to_mask(torch.tensor(lengths), longest)


def test_the_longest_length_is_found() -> None:
    assert lengths_to_mask(torch.tensor([2, 0, 3])).sum(1).tolist() == [2, 0, 3]
    assert lengths_to_mask(torch.tensor([], dtype=torch.int64)).shape == (0, 0)
