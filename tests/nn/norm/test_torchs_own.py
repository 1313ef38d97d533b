"""What torch's own norms do, where the documentation here tells of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn


@pytest.mark.parametrize(
    ("sigma", "deviation"), [(1.0, 1.0), (0.01, 0.9535), (0.001, 0.3015)]
)
def test_batch_norm_is_blind_to_scale_until_eps(sigma: float, deviation: float) -> None:
    x = torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0))
    out = nn.BatchNorm1d(1)(sigma * x / x.std(correction=0))
    assert out.std().item() == pytest.approx(deviation, abs=1e-3)
    closed = sigma / (sigma**2 + 1e-5) ** 0.5
    assert out.std(correction=0).item() == pytest.approx(closed, abs=1e-4)


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
def test_norms_over_features_do_not_see_padding(kind: type[nn.Module]) -> None:
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    norm = kind(8)
    padded = norm(nn.functional.pad(x, (0, 0, 0, 7)))[:, :5]
    assert (padded - norm(x)).abs().max() == 0.0


def test_group_and_instance_norm_do_not_see_the_batch() -> None:
    x = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(0))
    for norm in (nn.GroupNorm(4, 8), nn.InstanceNorm1d(8)):
        torch.testing.assert_close(norm(x)[:1], norm(x[:1]))
    assert not torch.allclose(nn.BatchNorm1d(8)(x)[:1], nn.BatchNorm1d(8)(x[:1]))


def test_a_batch_of_one_has_no_variance() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm1d(8)(torch.ones(1, 8))
