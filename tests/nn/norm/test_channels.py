"""Layer and RMS norm over channels: torch's own, with the dimensions moved."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from conventions import keeps_conventions
from surefoot.nn.norm import ChannelLayerNorm, ChannelRMSNorm, NormError


def values(shape: tuple[int, ...]) -> torch.Tensor:
    return 1 + torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(4, 6), (3, 6, 5), (2, 6, 4, 5), (2, 6, 2, 3, 4)])
def test_it_is_torchs_norm_between_two_permutations(shape: tuple[int, ...]) -> None:
    x = values(shape)
    pairs = (
        (ChannelLayerNorm(6), nn.LayerNorm(6)),
        (ChannelRMSNorm(6, bias=False), nn.RMSNorm(6)),
    )
    for ours, torchs in pairs:
        for one in (*ours.parameters(), *torchs.parameters()):
            nn.init.normal_(one, generator=torch.Generator().manual_seed(len(one)))
        expected = torchs(x.movedim(1, -1)).movedim(-1, 1)
        torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-6)


def test_padding_changes_nothing() -> None:
    x = values((2, 6, 5))
    for norm in (ChannelLayerNorm(6), ChannelRMSNorm(6)):
        longer = norm(nn.functional.pad(x, (0, 4)))
        torch.testing.assert_close(longer[..., :5], norm(x), rtol=0, atol=1e-6)


def test_the_bias_of_an_rms_norm_is_added() -> None:
    norm, x = ChannelRMSNorm(6), values((2, 6, 5))
    plain = norm(x)
    with torch.no_grad():
        norm.bias.copy_(torch.arange(6.0))
    torch.testing.assert_close(norm(x), plain + torch.arange(6.0)[:, None])


@pytest.mark.parametrize("kind", [ChannelLayerNorm, ChannelRMSNorm])
def test_gradients_and_conventions(kind: type[nn.Module]) -> None:
    layer = kind(4, dtype=torch.float64)
    x = values((2, 4, 3)).double().requires_grad_()
    assert torch.autograd.gradcheck(layer, x)
    keeps_conventions(lambda: kind(4), values((2, 4, 3, 3)), exported=True)
    keeps_conventions(lambda: kind(4, affine=False), values((2, 4, 3)))


def test_channels_that_are_not_there_are_refused() -> None:
    with pytest.raises(NormError, match=r"expected \[N, 6, \*\], channels second"):
        ChannelLayerNorm(6)(torch.ones(2, 5, 6))
