"""Operators come in, what they leave of signals, on path or branches, goes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from surefoot.nn.flow.errors import FlowError


@dataclass(frozen=True, slots=True)
class Placement:
    """Singular values `[n]`, largest first, of a chain of operators A₁ … A_L.

    `path` are those of A_L ⋯ A₁, each operator on the identity path itself; `branch`
    those of (I + A_L) ⋯ (I + A₁), each on a branch beside it.
    """

    path: Tensor
    branch: Tensor

    @property
    def medians(self) -> tuple[float, float]:
        """Of both: what a typical direction is multiplied by."""
        return float(self.path.quantile(0.5)), float(self.branch.quantile(0.5))


def path_or_branch(operators: Sequence[Tensor], *, gain: float = 1.0) -> Placement:
    """What a chain of square operators does on the identity path and on branches.

    Attention on the main path averages tokens away within a few blocks: all but one
    singular value of a product of softmax maps vanish (Dong et al. 2021). For other
    modules use their `jacobian`.

    Args:
        operators: matrices `[n, n]` in the order in which they are applied.
        gain: of the branches, I + gain·A.

    Raises:
        FlowError: there are none, or they are not square and of one size.

    >>> half = 0.5 * torch.eye(3)
    >>> path_or_branch([half] * 4).medians
    (0.0625, 5.0625)
    """
    sizes = {tuple(one.shape) for one in operators}
    if len(sizes) != 1 or len(size := next(iter(sizes))) != 2 or size[0] != size[1]:
        raise FlowError(
            f"operators of shapes {sorted(sizes)} came; expected one or more matrices "
            "[n, n] of one size"
        )
    matrices = [one.detach().double() for one in operators]
    eye = torch.eye(len(matrices[0]), dtype=torch.float64, device=matrices[0].device)
    path = branch = eye
    for matrix in matrices:
        path, branch = matrix @ path, branch + gain * (matrix @ branch)
    return Placement(torch.linalg.svdvals(path), torch.linalg.svdvals(branch))
