"""The losses of players come in; whether their game converges, circles or bursts.

All players follow the gradient of their own loss: v = (∇₁L₁, ∇₂L₂, ...). Near a fixed
point one round of updates multiplies the error by a matrix that the Jacobian J of v
makes: I − ηJ if all move at once. J is not symmetric, so that its eigenvalues are
complex, and imaginary parts are rotation (Mescheder et al. 2017, arXiv 1705.10461).
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from surefoot.tasks.gan.errors import GameError

State = Literal[
    "converges", "circles", "rotates outwards", "diverges", "flat", "unresolved"
]

Turns = Literal["simultaneous", "alternating"] | Sequence[Sequence[int]]

RESOLVED = 1e-3
"""Residuals of the largest multiplier above this leave the verdict open. Smaller ones
were followed by the verdict of the whole matrix in tests/tasks/test_gan.py."""

EXACT = 400
"""Games of up to so many weights have their whole Jacobian computed."""

SLACK = 1e-6
"""Multipliers are told apart from 1 by more than this: an exact 1, as of a bilinear
game with alternating updates, comes out of float32 gradients within a few 1e-8."""

_VERDICTS = (
    ("converges", "the game converges"),
    ("circles", "the game circles and comes no nearer"),
    ("rotates outwards", "the game rotates outwards"),
    ("diverges", "the game diverges without rotation"),
    ("flat", "some directions do not move, no other one grows"),
    ("unresolved", "the error is too wide to tell; allow more products"),
)


@dataclass(frozen=True, slots=True)
class GameStability:
    """By what one round of updates multiplies small errors.

    `multipliers` are eigenvalues of the round, complex, the largest first: all of them
    of a small game, else those found. `radius` is the largest modulus, and `error` the
    residual of its eigenpair: 0 for a small game. `period` is in rounds: how many a
    full turn takes; infinite without rotation.
    """

    multipliers: tuple[complex, ...]
    radius: float
    error: float
    period: float

    @property
    def state(self) -> State:
        """What the largest multiplier says."""
        if self.error > RESOLVED:
            return "unresolved"
        wide = self.error + SLACK
        turns = math.isfinite(self.period)
        if self.radius - wide > 1:
            return "rotates outwards" if turns else "diverges"
        if self.radius + wide < 1:
            return "converges"
        if self.error > SLACK:
            return "unresolved"
        return "circles" if turns else "flat"

    @property
    def rotation_alarm(self) -> bool:
        """Whether the players turn around each other and come no nearer."""
        return self.state in ("circles", "rotates outwards")

    def __str__(self) -> str:
        """One sentence with the multiplier, its period and what they mean."""
        turn = f", a turn in {self.period:.3g} rounds" if self.rotation_alarm else ""
        said = dict(_VERDICTS)[self.state]
        return f"largest multiplier {self.radius:.6g} ± {self.error:.1g}{turn}: {said}"


def game_jacobian(
    losses: Sequence[Tensor], players: Sequence[Iterable[Tensor]]
) -> Tensor:
    """The Jacobian `[n, n]` of all players' gradients, in float64 on the host.

    Row i is how the gradient of weight i, of its own player's loss, changes with each
    of the n weights. One backward pass a weight: for small games.

    Raises:
        GameError: as `game_stability`.

    >>> x, y = (torch.zeros((), requires_grad=True) for _ in range(2))
    >>> game_jacobian((x * y, -x * y), ([x], [y])).long()
    tensor([[ 0,  1],
            [-1,  0]])
    """
    field = _Field(losses, players)
    rows = torch.eye(field.size, device=field.flat.device, dtype=field.flat.dtype)
    return torch.stack([field.pulled(row) for row in rows]).cpu().double()


def game_stability(
    losses: Sequence[Tensor],
    players: Sequence[Iterable[Tensor]],
    *,
    rates: Sequence[float],
    turns: Turns = "simultaneous",
    products: int = 40,
    seed: int = 0,
) -> GameStability:
    """Whether plain gradient descent of all players converges from where they are.

    Up to 400 weights all multipliers are computed; above, the largest ones by Arnoldi's
    method, from products with the transposed Jacobian, which has the same eigenvalues:
    a backward pass for each product and turn. Adam and momentum multiply otherwise.

    Args:
        losses: one a player, with graphs: of a GAN, from made samples that are not
            detached.
        players: the weights of each one.
        rates: the learning rate of each one.
        turns: who moves when, in one round: all at once, one after the other, or a
            sequence of players' numbers, such as `[[1]] * 5 + [[0]]` for five updates
            of the critic before one of the generator.
        products: how many at most, in a large game.
        seed: of the first vector, in a large game.

    Raises:
        GameError: not one loss and rate a player, players that share a weight, a loss
            without a graph, or numbers that are not finite.

    >>> x, y = (torch.zeros((), requires_grad=True) for _ in range(2))
    >>> game = (x * y, -x * y), ([x], [y])
    >>> print(game_stability(*game, rates=(0.1, 0.1)))
    largest multiplier 1.00499 ± 0, a turn in 63 rounds: the game rotates outwards
    >>> print(game_stability(*game, rates=(0.1, 0.1), turns="alternating"))
    largest multiplier 1 ± 0, a turn in 62.8 rounds: the game circles
    and comes no nearer
    """
    field = _Field(losses, players)
    lengths = [field.rates(rates, turn) for turn in _turns(turns, len(field.sizes))]
    if field.size <= EXACT:
        change = _round(game_jacobian(losses, field.players), lengths)
        return _judged(torch.linalg.eigvals(change), torch.zeros(field.size))
    stream = torch.Generator().manual_seed(seed)
    first = torch.randn(field.size, generator=stream).to(field.flat)
    found = _arnoldi(lambda vector: _pulled_round(field, lengths, vector), first,
                     min(products, field.size))  # fmt: skip
    return _judged(*found)


class _Field:
    """The gradients of all players as one vector, with its graph."""

    def __init__(
        self, losses: Sequence[Tensor], players: Sequence[Iterable[Tensor]]
    ) -> None:
        self.players = [list(one) for one in players]
        self.weights = [weight for one in self.players for weight in one]
        self.sizes = [sum(w.numel() for w in one) for one in self.players]
        self.size = sum(self.sizes)
        _check_game(losses, self.players)
        slopes = list[Tensor]()
        for loss, weights in zip(losses, self.players, strict=True):
            slopes += torch.autograd.grad(
                loss, weights, create_graph=True, materialize_grads=True
            )
        self.flat = torch.cat([one.flatten() for one in slopes])
        if not bool(self.flat.isfinite().all()):
            raise GameError(
                "a gradient is NaN or infinite; measure before the game has burst"
            )

    def pulled(self, vector: Tensor) -> Tensor:
        """Jᵀ times a vector."""
        if not self.flat.requires_grad:
            return torch.zeros_like(vector)
        found = torch.autograd.grad(
            self.flat, self.weights, vector, retain_graph=True, materialize_grads=True
        )
        return torch.cat([one.flatten() for one in found])

    def rates(self, rates: Sequence[float], turn: Sequence[int]) -> Tensor:
        """The rate of each weight in one turn: 0 of those that do not move."""
        if len(rates) != len(self.sizes) or not all(0 <= r < math.inf for r in rates):
            raise GameError(
                f"rates={rates!r} came for {len(self.sizes)} players; expected a rate "
                "of 0 or more for each"
            )
        parts = [
            torch.full((size,), rates[one] if one in turn else 0.0, dtype=torch.float64)
            for one, size in enumerate(self.sizes)
        ]
        return torch.cat(parts)


def _check_game(losses: Sequence[Tensor], players: Sequence[list[Tensor]]) -> None:
    if len(losses) != len(players) or not all(players):
        raise GameError(
            f"{len(losses)} losses and {len(players)} players came; expected a loss "
            "and at least one weight for each"
        )
    weights = [id(weight) for one in players for weight in one]
    if len(set(weights)) < len(weights):
        raise GameError("a weight came twice; expected players that share none")
    for index, loss in enumerate(losses):
        if loss.numel() != 1 or not loss.requires_grad:
            raise GameError(
                f"loss {index} has shape {tuple(loss.shape)} and requires_grad="
                f"{loss.requires_grad}; expected one number with a graph"
            )


def _turns(turns: Turns, players: int) -> Sequence[Sequence[int]]:
    if turns == "simultaneous":
        return [list(range(players))]
    if turns == "alternating":
        return [[player] for player in range(players)]
    known = not isinstance(turns, str) and len(turns) > 0
    if not known or not all(one in range(players) for turn in turns for one in turn):
        raise GameError(
            f"turns={turns!r} came; expected 'simultaneous', 'alternating', or the "
            f"numbers of the players, 0 to {players - 1}, that move in each turn"
        )
    return [[int(one) for one in turn] for turn in turns]


# --- one round ------------------------------------------------------------------


def _round(jacobian: Tensor, lengths: Sequence[Tensor]) -> Tensor:
    """What a round changes: (I − EₖJ)···(I − E₁J) − I, apart from I to be exact."""
    change = torch.zeros_like(jacobian)
    for length in lengths:
        change = change - length[:, None] * (jacobian + jacobian @ change)
    return change


def _pulled_round(field: _Field, lengths: Sequence[Tensor], vector: Tensor) -> Tensor:
    """The transpose of the same, times a vector."""
    change = torch.zeros_like(vector)
    for length in reversed(lengths):
        change = change - field.pulled(length.to(vector) * (vector + change))
    return change


def _arnoldi(
    times: Callable[[Tensor], Tensor], first: Tensor, products: int
) -> tuple[Tensor, Tensor]:
    """Ritz values of an operator on a Krylov space, and residuals of their pairs."""
    basis = [first / first.norm()]
    found = torch.zeros(products + 1, products, dtype=torch.float64)
    size = products
    for column in range(products):
        rest = times(basis[-1])
        before, known = rest.norm(), torch.stack(basis)
        for _ in range(2):  # twice is enough (Giraud, Langou and Rozložník 2005)
            inside = known @ rest
            rest = rest - inside @ known
            found[: len(basis), column] += inside.cpu().double()
        norm = float(rest.norm())
        if norm <= 10 * torch.finfo(rest.dtype).eps * float(before):
            size = column + 1
            break
        found[column + 1, column] = norm
        basis.append(rest / norm)
    values, vectors = torch.linalg.eig(found[:size, :size])
    return values, found[size, size - 1] * vectors[-1].abs()


def _judged(change: Tensor, residuals: Tensor) -> GameStability:
    """The largest multiplier 1 + μ; of equal ones, one that turns."""
    values = change + 1
    order = values.abs().argsort(descending=True)
    radius = float(values[order[0]].abs())
    equal = values.abs() >= radius - SLACK
    leads = int(torch.where(equal, values.imag.abs(), -1.0).argmax())
    angle = abs(cmath.phase(complex(values[leads].item())))
    # A negative real multiplier overshoots from step to step: that is no rotation.
    turns = min(angle, math.pi - angle) > SLACK
    return GameStability(
        multipliers=tuple(complex(one) for one in values[order].tolist()),
        radius=radius,
        error=float(residuals[leads]),
        period=2 * math.pi / angle if turns else math.inf,
    )
