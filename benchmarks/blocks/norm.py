"""Norms beside torch's own on the same values, forward and backward.

A third of the values is padding, which torch's own do not know of and average with the
rest. Sizes are those of speech, text and images; a batch of rows is the worst case, as
its time is that of launching operations, of which torch's own is a single one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.blocks.measure import Measure, Work
from surefoot.nn.norm import (
    BatchRenorm1d,
    BatchRenorm2d,
    MaskedBatchNorm1d,
    MaskedGroupNorm,
    MaskedInstanceNorm,
    lengths_to_mask,
)

TARGET = 1.3
SEQUENCES = ((32, 64, 100), (32, 128, 200), (16, 256, 500), (32, 256, 1024))
MAPS = ((32, 64, 16, 16), (8, 128, 32, 32), (32, 64, 56, 56))


def _trained(
    make: Callable[[int], nn.Module], shape: tuple[int, ...], *, masked: bool = False
) -> Work:
    """A forward and a backward pass of a layer."""
    generator = torch.Generator().manual_seed(0)
    layer = make(shape[1])
    x = torch.randn(shape, generator=generator).requires_grad_()
    gradient = torch.randn(shape, generator=generator)
    given = (x, *layer.parameters())
    lengths = torch.linspace(shape[-1] / 3, shape[-1], shape[0]).long()
    rest = (lengths_to_mask(lengths, shape[-1]),) if masked else ()
    return lambda: torch.autograd.grad(layer(x, *rest), given, gradient)


def _beside(
    ours: Callable[[int], nn.Module],
    torchs: Callable[[int], nn.Module],
    shape: tuple[int, ...],
) -> Measure:
    name, peer = type(ours(64)).__name__, type(torchs(64)).__name__
    masked = name.startswith("Masked")
    return Measure(
        f"{name}, {' x '.join(map(str, shape))}",
        f"nn.{peer}",
        TARGET,
        lambda: _trained(ours, shape, masked=masked),
        lambda: _trained(torchs, shape),
        batches=4 if torch.Size(shape).numel() < 1_000_000 else 1,
    )


MEASURES: tuple[Measure, ...] = (
    *(_beside(MaskedBatchNorm1d, nn.BatchNorm1d, shape) for shape in SEQUENCES),
    *(
        _beside(
            lambda n: MaskedInstanceNorm(n, affine=True),
            lambda n: nn.InstanceNorm1d(n, affine=True),
            shape,
        )
        for shape in SEQUENCES
    ),
    *(
        _beside(lambda n: MaskedGroupNorm(8, n), lambda n: nn.GroupNorm(8, n), shape)
        for shape in SEQUENCES
    ),
    *(_beside(BatchRenorm2d, nn.BatchNorm2d, shape) for shape in MAPS),
    _beside(BatchRenorm1d, nn.BatchNorm1d, (32, 128, 200)),
    _beside(BatchRenorm1d, nn.BatchNorm1d, (4096, 512)),
    _beside(BatchRenorm1d, nn.BatchNorm1d, (64, 256)),
)
