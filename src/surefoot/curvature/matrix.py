"""Anything that multiplies vectors comes in, a matrix that counts products goes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from surefoot.curvature.errors import CurvatureError

COLUMNS_AT_ONCE = 8
"""Operators that multiply several columns at once keep a graph for each: a GiB for 60
columns of a small ResNet (measured on curvlinops' vectorised products)."""


class Multiplies(Protocol):
    """A square, symmetric matrix: `@` with vectors `[n]` and columns `[n, k]`.

    Torch tensors, our operators, those of curvlinops and hessian-eigenthings, and,
    with numpy on both sides, arrays and SciPy's linear operators.
    """

    @property
    def shape(self) -> Sequence[int]:
        """Rows and columns, the same number."""
        ...

    def __matmul__(self, other: Any, /) -> Any:
        """The product with a vector or with columns."""
        ...


class Matrix:
    """A symmetric operator as the methods of this folder use it.

    `products` counts one for each column. Vectors are `[size]`, of `dtype` (float32,
    or float64 where the operator has it) on `device`; bfloat16 and float16 operators
    get vectors of their own dtype, and what they return is worked on in float32.
    """

    def __init__(self, operator: Multiplies) -> None:
        self.size = _size(operator)
        self.products = 0
        self._operator = operator
        kind = getattr(operator, "dtype", torch.get_default_dtype())
        self._torch = isinstance(kind, torch.dtype)
        self._kind: Any = kind
        exact = str(kind).rpartition(".")[2] == "float64"
        self.dtype = torch.float64 if exact else torch.float32
        device = getattr(operator, "device", "cpu") if self._torch else "cpu"
        self.device = torch.device(device)
        if "float" not in str(kind):
            raise CurvatureError(
                f"the operator's dtype is {kind}; expected a floating one; convert it"
            )

    def __matmul__(self, other: Tensor) -> Tensor:
        """`[n]` or `[n, k]` in, the same shape out.

        Raises:
            CurvatureError: the product has another shape than what was multiplied.
        """
        if other.ndim == 1:
            return self._product(other)
        if isinstance(self._operator, Tensor):
            return self._product(other)
        parts = other.split(COLUMNS_AT_ONCE, dim=1)
        return torch.cat([self._product(part) for part in parts], dim=1)

    def _product(self, other: Tensor) -> Tensor:
        self.products += 1 if other.ndim == 1 else other.shape[1]
        if self._torch:
            result = self._operator @ other.to(self._kind)
        else:
            result = torch.from_numpy(np.array(self._operator @ other.numpy()))
        if tuple(result.shape) != tuple(other.shape):
            raise CurvatureError(
                f"the operator made shape {tuple(result.shape)} of a vector of shape "
                f"{tuple(other.shape)}; expected the same; check its `@`"
            )
        return result.detach().to(self.dtype)


def as_operator(operator: Multiplies) -> Matrix:
    """See a matrix, an array or an operator of another library as a `Matrix`.

    >>> import numpy as np
    >>> as_operator(np.diag([2.0, 1.0])) @ torch.ones(2, dtype=torch.float64)
    tensor([2., 1.], dtype=torch.float64)

    Raises:
        CurvatureError: it is not square, empty, or not of a floating dtype.
    """
    return operator if isinstance(operator, Matrix) else Matrix(operator)


def _size(operator: Multiplies) -> int:
    shape = tuple(operator.shape)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 1:
        raise CurvatureError(
            f"the operator's shape is {shape}; expected [n, n] with n >= 1; "
            "eigenvalues, traces and diagonals are those of square matrices"
        )
    return int(shape[0])


class Probes:
    """Random vectors `[n]` from a stream of their own: the same on every device."""

    def __init__(self, matrix: Matrix, seed: int) -> None:
        self._matrix = matrix
        self._stream = np.random.default_rng(seed)

    def gaussian(self) -> Tensor:
        """Independent standard normal entries: their direction is uniform."""
        return self._on_device(self._stream.standard_normal(self._matrix.size))

    def sphere(self) -> Tensor:
        """A uniform direction of norm √n."""
        vector = self.gaussian()
        return vector * (self._matrix.size**0.5 / vector.norm())

    def signs(self) -> Tensor:
        """Independent entries of -1 and 1 (Rademacher)."""
        bits = self._stream.integers(0, 2, self._matrix.size, dtype=np.int8)
        return self._on_device(2 * bits - 1)

    def _on_device(self, values: np.ndarray) -> Tensor:
        matrix = self._matrix
        return torch.from_numpy(values).to(device=matrix.device, dtype=matrix.dtype)
