"""Weights come in, how far their filters are from orthonormal goes out.

All of it can be differentiated, and added to a loss. Nothing here is about the norm of
a convolution as an operator, which orthonormal filters do not fix: that is
`conv_operator_norm`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from surefoot.nn.regularize.unfolding import (
    computable,
    gram,
    in_full_precision,
    unfolded,
)


@in_full_precision
def soft_orthogonality(weight: Tensor, groups: int = 1) -> Tensor:
    """‖WᵀW − I‖_F², a penalty that is 0 for orthonormal filters (Bansal et al. 2018).

    WᵀW is taken of the smaller side, as a wide matrix can only have orthonormal rows.
    Multiply it by a weight of 1e-4 to 1e-2 (ibid., section 4) and add it to the loss.

    Args:
        weight: `[out, in]` or `[out, in, *kernel]`; each filter is a row.
        groups: of a convolution; their penalties are added.

    Returns:
        A number, shape `[]`.

    >>> soft_orthogonality(torch.diag(torch.tensor([2.0, 0.5])))
    tensor(9.5625)

    Raises:
        OrthogonalityError: the weight has fewer than two axes, or no such groups.
    """
    return _excess(weight, groups).square().sum()


@in_full_precision
def srip(weight: Tensor, groups: int = 1) -> Tensor:
    """σ(WᵀW − I), the penalty of spectral restricted isometry (Bansal et al. 2018).

    The largest distance of a squared singular value from 1, by a full decomposition;
    the paper estimates it with two power iterations, which is a lower bound of it.

    Returns:
        A number, shape `[]`; the largest one of the groups.

    >>> srip(torch.diag(torch.tensor([2.0, 0.5])))
    tensor(3.)

    Raises:
        OrthogonalityError: the weight has fewer than two axes, or no such groups.
    """
    return torch.linalg.eigvalsh(_excess(weight, groups)).abs().amax()


@in_full_precision
def coherence(weight: Tensor, groups: int = 1) -> Tensor:
    """Largest |cosine| between two filters: 1 if two are parallel, 0 if none meet.

    Of more filters than inputs some must meet: for n filters of d inputs it is at
    least √((n − d)/(d(n − 1))) (Welch 1974). A filter of zeros meets none.

    Returns:
        A number, shape `[]`; the largest one of the groups, 0 for single filters.

    >>> coherence(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -2.0]]))
    tensor(1.)
    >>> coherence(torch.eye(3))
    tensor(0.)

    Raises:
        OrthogonalityError: the weight has fewer than two axes, or no such groups.
    """
    rows = computable(unfolded(weight, groups))
    lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    rows = rows / torch.where(lengths > 0, lengths, 1.0)
    cosines = (rows @ rows.mT).abs()
    own = torch.eye(rows.shape[1], dtype=torch.bool, device=rows.device)
    # Two filters that are parallel may come out a rounding above 1.
    return cosines.masked_fill(own, 0.0).amax().clamp(max=1.0)


@in_full_precision
def filter_condition(weight: Tensor, groups: int = 1) -> Tensor:
    """Largest over smallest singular value of the filters: 1 if orthonormal.

    Infinite where they are linearly dependent.

    Returns:
        A number, shape `[]`; the largest one of the groups.

    >>> filter_condition(torch.diag(torch.tensor([2.0, 0.5])))
    tensor(4.)

    Raises:
        OrthogonalityError: the weight has fewer than two axes, or no such groups.
    """
    values = torch.linalg.svdvals(computable(unfolded(weight, groups)))
    return (values[:, 0] / values[:, -1]).amax()


def _excess(weight: Tensor, groups: int) -> Tensor:
    """WᵀW − I, `[groups, n, n]`."""
    product = gram(computable(unfolded(weight, groups)))
    return product - torch.eye(product.shape[-1]).to(product)
