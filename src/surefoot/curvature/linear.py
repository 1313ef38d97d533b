"""Vectors over some weights come in, their products with a symmetric matrix go out.

The matrix is never formed. Whatever has `@` and `.shape` is as good for the rest of
this package; this is what the operators of Surefoot have in common.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.space import Space


class Operator(ABC):
    """A symmetric matrix over the weights of a Space, known by its products.

    Attributes:
        space: the weights that rows and columns stand for.
        shape: (n, n) with n = `space.size`.
        products: columns multiplied so far.
        notes: what a reader of the results should know, such as the mode of batch
            norms or the precision of the forward pass.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, space: Space) -> None:
        self.space = space
        self.shape = (space.size, space.size)
        self.dtype, self.device = space.dtype, space.device
        self.products = 0
        self.closed = False

    def __matmul__(self, other: torch.Tensor) -> torch.Tensor:
        """The product with a vector [n] or with the columns of a matrix [n, k].

        Raises:
            CurvatureError: shape, dtype or device do not fit, the operator was closed,
                or its weights were changed since it was made.
        """
        self._check(other)
        columns = [other] if other.dim() == 1 else list(other.unbind(1))
        if not columns:
            return other.clone()
        found = self._columns([column.detach() for column in columns])
        self.products += len(columns)
        return found[0] if other.dim() == 1 else torch.stack(found, dim=1)

    @abstractmethod
    def _columns(self, columns: list[torch.Tensor]) -> list[torch.Tensor]:
        """Products with vectors [n]."""

    def _check(self, other: torch.Tensor) -> None:
        if self.closed:
            raise CurvatureError(
                "this operator was closed and its graph freed; make a new one"
            )
        if not isinstance(other, torch.Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise CurvatureError(
                f"came {type(other).__name__}; expected a torch tensor [n] or [n, k] "
                f"with n = {self.shape[0]}; for arrays use .to_scipy()"
            )
        if other.dim() not in (1, 2) or len(other) != self.shape[0]:
            raise CurvatureError(
                f"came a tensor {list(other.shape)}; expected [{self.shape[0]}] or "
                f"[{self.shape[0]}, k], as this operator is {self.shape}"
            )
        if other.dtype != self.dtype or other.device != self.device:
            raise CurvatureError(
                f"came {other.dtype} on {other.device}; expected {self.dtype} on "
                f"{self.device}: use vector.to(operator.device, operator.dtype)"
            )

    def close(self) -> None:
        """Free the graph; later products raise."""
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        n = f"{self.shape[0]:,}"
        return f"{type(self).__name__}({n} × {n}, {self.products} products)"

    def to_scipy(self) -> ForScipy:
        """The same for numpy arrays, as `scipy.sparse.linalg` takes it."""
        return ForScipy(self)


class ForScipy:
    """An operator on numpy arrays: `scipy.sparse.linalg.eigsh(operator.to_scipy())`.

    It has what `scipy.sparse.linalg.aslinearoperator` asks for, so that scipy need not
    be installed for the rest.
    """

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.shape = operator.shape
        wide = operator.dtype == torch.float64
        self.dtype = np.dtype(np.float64 if wide else np.float32)

    def matvec(self, vector: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The product with a vector [n] or [n, 1], in the shape that came."""
        return self.matmat(vector.reshape(-1)).reshape(vector.shape)

    def matmat(self, matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The product with the columns of a matrix [n, k]."""
        given = torch.from_numpy(np.ascontiguousarray(matrix, dtype=self.dtype))
        found = self.operator @ given.to(self.operator.device, self.operator.dtype)
        return found.cpu().numpy().astype(self.dtype, copy=False)

    rmatvec = matvec
    rmatmat = matmat
    __matmul__ = matmat


class Block(Operator):
    """The rows and columns of an operator that belong to some of its tensors."""

    def __init__(self, whole: Operator, places: tuple[int, ...]) -> None:
        super().__init__(whole.space.part(places))
        self._whole: Operator | None = whole
        self._places = places
        self.notes = whole.notes

    def _columns(self, columns: list[torch.Tensor]) -> list[torch.Tensor]:
        assert self._whole is not None
        whole = self._whole.space
        wide: list[torch.Tensor] = []
        for column in columns:
            pieces: list[torch.Tensor | None] = [None] * len(whole.tensors)
            for place, piece in zip(
                self._places, self.space.split(column), strict=True
            ):
                pieces[place] = piece
            wide.append(whole.flat(pieces))
        found = self._whole @ torch.stack(wide, dim=1)
        rows = [whole.split(column) for column in found.unbind(1)]
        return [self.space.flat([row[p] for p in self._places]) for row in rows]

    def close(self) -> None:
        """Let go of the operator; it stays open for whoever else holds it."""
        super().close()
        self._whole = None
