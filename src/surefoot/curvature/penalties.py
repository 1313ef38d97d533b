"""Penalties from curvature: weights or a loss come in, a term of the loss goes out.

`CurvaturePenalty` holds weights near an anchor, the more so the more the loss curves
there: λ Σ max(h_i, 0) (w_i − a_i)², with the Hessian's diagonal, or with its largest
eigenvalues along their eigenvectors. With the Fisher's diagonal it is elastic weight
consolidation (Kirkpatrick et al. 2017, arXiv 1612.00796).

`SharpnessPenalty` makes the curvature itself part of what is minimised: the trace of
the Hessian (Wei and Schwab 2020, arXiv 1911.05405) or its largest eigenvalue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor, nn

from surefoot.curvature.errors import CurvatureError, explained
from surefoot.curvature.losses import with_graph
from surefoot.curvature.space import Space, Where, space


class Pairs(Protocol):
    """Eigenvalues `[k]` and eigenvectors `[n, k]`, such as `Eigenpairs`."""

    @property
    def values(self) -> Any:
        """Shape `[k]`, torch or numpy."""
        ...

    @property
    def vectors(self) -> Tensor:
        """Shape `[n, k]`."""
        ...


class CurvaturePenalty:
    """λ Σ max(h_i, 0) (w_i − a_i)²: a spring on each weight, or on a few directions.

    Made by `of_diagonal` or `of_eigenpairs`, with the model as it is then as anchor.
    Calling it gives a number with a graph, to be added to the loss. Negative curvature
    is taken for none, as a negative spring would push the weights away.

    Attributes:
        anchor: the weights that it pulls towards, `[n]`.
        values: h, `[n]` of the diagonal or `[k]` of directions, none negative.
        vectors: the directions `[n, k]`; None for a diagonal.
        strength: λ. It may be changed at any time.
    """

    def __init__(
        self,
        over: Space,
        values: Tensor,
        *,
        vectors: Tensor | None = None,
        strength: float = 1.0,
    ) -> None:
        expected = over.size if vectors is None else vectors.shape[1]
        if values.shape != (expected,):
            raise CurvatureError(
                f"{tuple(values.shape)} curvatures came; expected {expected}, one for "
                f"each {'weight' if vectors is None else 'direction'}"
            )
        if vectors is not None and len(vectors) != over.size:
            raise CurvatureError(
                f"the directions have {len(vectors)} rows; expected {over.size}, one "
                "for each weight: choose the same weights with where="
            )
        if not bool(values.isfinite().all()):
            raise CurvatureError("a curvature is NaN or infinite; expected numbers")
        self.space, self.strength = over, strength
        self.anchor = over.flat(over.tensors).detach().clone()
        self.values = values.detach().to(self.anchor).clamp(min=0)
        self.vectors = None if vectors is None else vectors.detach().to(self.anchor)

    @classmethod
    def of_diagonal(
        cls,
        model: nn.Module,
        values: Tensor,
        *,
        strength: float = 1.0,
        where: Where = None,
    ) -> Self:
        """A spring on each weight, by the Hessian's or the Fisher's diagonal `[n]`.

        Raises:
            CurvatureError: not one finite number for each weight.

        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.zeros_(model.weight)
        >>> penalty = CurvaturePenalty.of_diagonal(model, torch.tensor([3.0, -1.0]))
        >>> with torch.no_grad():
        ...     _ = model.weight.add_(2.0)
        >>> penalty()
        tensor(12., grad_fn=<MulBackward0>)
        """
        return cls(space(model, where), values, strength=strength)

    @classmethod
    def of_eigenpairs(
        cls,
        model: nn.Module,
        pairs: Pairs,
        *,
        strength: float = 1.0,
        where: Where = None,
    ) -> Self:
        """A spring along each eigenvector; weights move freely across them.

        Raises:
            CurvatureError: the eigenvectors are of another number of weights.
        """
        values = torch.as_tensor(pairs.values)
        over = space(model, where)
        return cls(over, values, vectors=pairs.vectors, strength=strength)

    def __call__(self) -> Tensor:
        """The penalty at the weights of now, with its graph."""
        away = self.space.flat(self.space.tensors) - self.anchor
        if self.vectors is not None:
            away = away @ self.vectors
        return self.strength * (self.values * away.square()).sum()

    def state_dict(self) -> dict[str, Any]:
        """Anchor, curvatures, directions and strength, to be saved beside the model."""
        return {
            "anchor": self.anchor,
            "values": self.values,
            "vectors": self.vectors,
            "strength": self.strength,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            CurvatureError: it is of another number of weights.
        """
        if state["anchor"].shape != self.anchor.shape:
            raise CurvatureError(
                f"the state is of {len(state['anchor'])} weights; expected "
                f"{len(self.anchor)}"
            )
        self.anchor = state["anchor"].to(self.anchor)
        self.values = state["values"].to(self.anchor)
        vectors = state["vectors"]
        self.vectors = None if vectors is None else vectors.to(self.anchor)
        self.strength = state["strength"]


class SharpnessPenalty:
    """The Hessian's trace or its largest eigenvalue, as a term of the loss.

    Call it with the loss of a step, before `backward`; it gives a number with a graph.
    Its gradient is a third derivative: a step costs about a training step and two
    products with the Hessian more, and every operation of the model needs three
    derivatives (ReLU's are zero almost everywhere, so that only what stands between
    them is seen).

    - "trace": z·Hz for random signs z, whose mean is the trace. One probe's error is
      that of Hutchinson's estimate, and averages out over steps.
    - "top": v·Hv for the eigenvector v of the largest eigenvalue, held fixed: by
      Hellmann and Feynman that is the eigenvalue's gradient. v is kept from call to
      call and improved by power iteration on H + c, `rounds` products each.

    Args:
        strength: λ, the factor of the penalty. It may be changed at any time.
        kind: "trace" or "top".
        rounds: probes, or power iterations, for each call.
        seed: of the random signs.

    >>> weight = torch.nn.Parameter(torch.tensor([2.0]))
    >>> penalty = SharpnessPenalty(0.1)
    >>> loss = (weight**4 / 4).sum()
    >>> penalty(loss, [weight]).backward()
    >>> weight.grad
    tensor([1.2000])
    """

    def __init__(
        self,
        strength: float,
        *,
        kind: Literal["trace", "top"] = "trace",
        rounds: int = 1,
        seed: int = 0,
    ) -> None:
        if kind not in ("trace", "top") or rounds < 1:
            raise ValueError(
                f"kind is {kind!r}, rounds {rounds}; expected 'trace' or 'top', and 1 "
                "or more"
            )
        self.strength, self.kind, self.rounds = strength, kind, rounds
        self._seed, self._calls = seed, 0
        self._top: list[Tensor] | None = None
        self._shift = 0.0

    def __call__(self, loss: Tensor, weights: Iterable[Tensor]) -> Tensor:
        """λ times the curvature of a loss over these weights, with its graph.

        Raises:
            CurvatureError: the loss has no graph or is not finite, or an operation in
                it has no second derivative.
        """
        held = [one for one in weights if one.requires_grad]
        slopes = _slopes(with_graph(loss), held)
        self._calls += 1
        found = self._trace(slopes, held) if self.kind == "trace" else (
            self._largest(slopes, held)
        )  # fmt: skip
        return self.strength * found

    def state_dict(self) -> dict[str, Any]:
        """What the next call depends on: probes drawn, eigenvector and shift."""
        return {"calls": self._calls, "top": self._top, "shift": self._shift}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._calls, self._top = int(state["calls"]), state["top"]
        self._shift = float(state["shift"])

    def _trace(self, slopes: list[Tensor], weights: list[Tensor]) -> Tensor:
        stream = self._stream()
        drawn = [
            _inner(probe, _product(slopes, weights, along=probe, keep=True))
            for probe in (_signs(weights, stream) for _ in range(self.rounds))
        ]
        return torch.stack(drawn).mean()

    def _largest(self, slopes: list[Tensor], weights: list[Tensor]) -> Tensor:
        """v·Hv, v fixed after `rounds` steps of power iteration on H + c.

        c is the largest |Hv| seen where v·Hv was negative: without it a saddle's
        negative eigenvalue of larger size would attract v.
        """
        top = self._top or _signs(weights, self._stream())
        for _ in range(self.rounds):
            top = _unit(top)
            product = _product(slopes, weights, along=top)
            if float(_inner(top, product)) < 0:
                length = float(_inner(product, product).sqrt())
                self._shift = max(self._shift, length)
            top = [
                one + self._shift * old for one, old in zip(product, top, strict=True)
            ]
        self._top = _unit(top)
        product = _product(slopes, weights, along=self._top, keep=True)
        return _inner(self._top, product)

    def _stream(self) -> torch.Generator:
        seed = hash((self._seed, self._calls)) % 2**63
        return torch.Generator().manual_seed(seed)


# --- products that can be differentiated ----------------------------------------


def _slopes(loss: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    try:
        found = torch.autograd.grad(
            loss, list(weights), create_graph=True, materialize_grads=True
        )
    except RuntimeError as error:
        raise explained(error) from error
    return list(found)


def _product(
    slopes: Sequence[Tensor],
    weights: Sequence[Tensor],
    *,
    along: Sequence[Tensor],
    keep: bool = False,
) -> list[Tensor]:
    """Hv, with a graph of its own if it is to be kept; zeros if the loss is linear."""
    curved = [i for i, one in enumerate(slopes) if one.requires_grad]
    if not curved:
        return [torch.zeros_like(one) for one in weights]
    try:
        found = torch.autograd.grad(
            [slopes[i] for i in curved],
            list(weights),
            [along[i] for i in curved],
            create_graph=keep,
            retain_graph=True,
            materialize_grads=True,
        )
    except RuntimeError as error:
        raise explained(error) from error
    return list(found)


def _signs(weights: Sequence[Tensor], stream: torch.Generator) -> list[Tensor]:
    """Random signs, the same on every device."""
    return [
        (2 * torch.randint(0, 2, one.shape, generator=stream) - 1).to(one)
        for one in weights
    ]


def _inner(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    return torch.stack(
        [(one * other).sum() for one, other in zip(left, right, strict=True)]
    ).sum()


def _unit(vector: Sequence[Tensor]) -> list[Tensor]:
    """Of length one; a zero vector stays zero."""
    norm = _inner(vector, vector).sqrt().clamp(min=torch.finfo(vector[0].dtype).tiny)
    return [one / norm for one in vector]
