"""Functions of two parameters that show one thing each: a point in, a loss out.

Gradients and Hessians are those of autograd. The gallery and the films are drawn from
these functions; all are torch's, so that real optimizers can descend on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from surefoot.types import Field

Doubles = NDArray[np.float64]

Formula = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Two tensors of one shape come in, the loss at each pair goes out."""


@dataclass(frozen=True, slots=True)
class Function2D:
    """A function of two parameters, and where to look at it.

    Attributes:
        name: as in the gallery.
        formula: for a title, in the mathematical notation of matplotlib.
        of: computes it; both arguments have one shape.
        point: the place that it is known for, `(x, y)`.
        extent: what a picture shows, `(left, right, bottom, top)`.
        lesson: one sentence for those who learn from the picture.
        starts: places from which a descent is worth watching.
        log: whether heights are best drawn on a logarithmic scale.
    """

    name: str
    formula: str
    of: Formula
    point: tuple[float, float]
    extent: tuple[float, float, float, float]
    lesson: str
    starts: tuple[tuple[float, float], ...]
    log: bool = False

    def value(self, points: torch.Tensor) -> torch.Tensor:
        """Loss at each point.

        Args:
            points: shape [..., 2].

        Returns:
            Shape [...], differentiable.

        >>> SADDLE.value(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor([ 1.0000, -0.7500])
        """
        return self.of(points[..., 0], points[..., 1])

    def gradient(self, point: Sequence[float]) -> torch.Tensor:
        """Gradient at one point, shape [2], float64.

        >>> BOWL.gradient((2.0, 1.0))
        tensor([2., 1.], dtype=torch.float64)
        """
        at = torch.nn.Parameter(_exact(point))
        return torch.autograd.grad(self.value(at), at)[0]

    def hessian(self, point: Sequence[float]) -> torch.Tensor:
        """Hessian at one point, shape [2, 2], float64.

        >>> SADDLE.hessian((0.0, 0.0)).diagonal()
        tensor([ 2., -2.], dtype=torch.float64)
        """
        found = torch.autograd.functional.hessian(self.value, _exact(point))
        if not isinstance(found, torch.Tensor):
            raise TypeError(f"the Hessian of {self.name} came as {type(found)}")
        return found

    def axes(self, points: int = 161) -> tuple[Doubles, Doubles]:
        """Even coordinates over the extent, float64, shape [points] each."""
        left, right, bottom, top = self.extent
        return np.linspace(left, right, points), np.linspace(bottom, top, points)

    def heights(self, points: int = 161) -> Doubles:
        """Loss on the grid of `axes`, shape [points, points]: first index along x."""
        xs, ys = (torch.from_numpy(one) for one in self.axes(points))
        x, y = torch.meshgrid(xs, ys, indexing="ij")
        return self.of(x, y).numpy()

    def field(self, points: int = 161) -> Field:
        """Heights as a "landscape", for what draws, films or exports one.

        >>> BOWL.field(5).values.shape
        (5, 5)
        """
        xs, ys = self.axes(points)
        about = {
            "title": f"{self.name}: {self.formula}",
            "directions": ["x", "y"],
            "log": self.log,
        }
        return Field(
            step=0,
            kind="landscape",
            axes={"alpha": xs.tolist(), "beta": ys.tolist()},
            values=self.heights(points).astype(np.float32),
            about=about,
        )


def _exact(point: Sequence[float]) -> torch.Tensor:
    at = torch.tensor(point, dtype=torch.float64)
    if at.shape != (2,):
        raise ValueError(f"a point has two coordinates; {tuple(point)} came")
    return at


def _bowl(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x**2 + y**2) / 2


def _rugged(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Rastrigin's function with ripples of height two, so that its bowl is seen."""
    return 2 + x**2 + y**2 - torch.cos(2 * math.pi * x) - torch.cos(2 * math.pi * y)


def _ackley(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Ackley's function, D. Ackley 1987; smooth at its tip up to 1e-12."""
    far = torch.sqrt((x**2 + y**2) / 2 + 1e-12)
    waves = (torch.cos(2 * math.pi * x) + torch.cos(2 * math.pi * y)) / 2
    return 20 + math.e - 20 * torch.exp(-far / 5) - torch.exp(waves)


def _double_well(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x**4 / 4 - x**2 / 2 + x / 10 + y**2 / 2


def _saddle(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x**2 - y**2 + y**4 / 4


def _plateau(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A well in a flat floor, as of a saturated unit."""
    return 1 - torch.exp(-(x**2 + y**2) / 2)


def _valley(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A quadratic with condition number 1,000."""
    return (100 * x**2 + y**2 / 10) / 2


def _banana(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Rosenbrock's function."""
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def _himmelblau(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def _cliff(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A gentle slope that ends in a wall."""
    return x**2 / 20 + y**2 / 4 + 4 * torch.sigmoid(12 * (x - 1))


HIGHER_WELL = (0.9456492739235914, 0.0)
"""Root of x³ − x + 1/10 above zero: the local minimum of the double well."""
LOWER_WELL = (-1.0466805318046022, 0.0)
"""The root below −1: its global minimum."""

BOWL = Function2D(
    name="Convex bowl",
    formula=r"$(x^2 + y^2)/2$",
    of=_bowl,
    point=(0.0, 0.0),
    extent=(-2.0, 2.0, -2.0, 2.0),
    lesson="One minimum, curved alike in all directions: any small rate gets there.",
    starts=((-1.6, 1.2), (1.5, 1.5)),
)
RUGGED = Function2D(
    name="Rugged",
    formula=r"$2 + x^2 + y^2 - \cos 2\pi x - \cos 2\pi y$",
    of=_rugged,
    point=(0.9510511496002784, 0.9510511496002784),
    extent=(-2.2, 2.2, -2.2, 2.2),
    lesson="Many minima: where a descent ends depends on where it starts.",
    starts=((-1.4, 1.7), (1.3, 0.6)),
)
DOUBLE_WELL = Function2D(
    name="Local minimum",
    formula=r"$x^4/4 - x^2/2 + x/10 + y^2/2$",
    of=_double_well,
    point=HIGHER_WELL,
    extent=(-1.8, 1.8, -1.5, 1.5),
    lesson="Two wells, one deeper: the gradient tells only the way down from here.",
    starts=((-1.5, 1.2), (1.5, 1.2)),
)
SADDLE = Function2D(
    name="Saddle",
    formula=r"$x^2 - y^2 + y^4/4$",
    of=_saddle,
    point=(0.0, 0.0),
    extent=(-1.6, 1.6, -2.0, 2.0),
    lesson="Up one way, down another: no gradient at the pass, yet no minimum.",
    starts=((-1.4, 1e-3), (1.3, -1e-2)),
)
PLATEAU = Function2D(
    name="Plateau",
    formula=r"$1 - e^{-(x^2+y^2)/2}$",
    of=_plateau,
    point=(-3.8, 3.2),
    extent=(-4.6, 4.6, -4.6, 4.6),
    lesson="Far from the well neither slope nor curvature tells where to go.",
    starts=((-2.6, 1.8), (2.2, 1.6)),
)
VALLEY = Function2D(
    name="Sharp valley",
    formula=r"$50x^2 + y^2/20$",
    of=_valley,
    point=(0.0, 0.0),
    extent=(-0.5, 0.5, -4.0, 4.0),
    lesson="A thousand times steeper across than along: the walls limit the rate.",
    starts=((0.4, 3.5), (-0.35, 3.0)),
)
BANANA = Function2D(
    name="Bent valley",
    formula=r"Rosenbrock, $(1-x)^2 + 100(y-x^2)^2$",
    of=_banana,
    point=(1.0, 1.0),
    extent=(-2.0, 2.0, -1.0, 3.0),
    lesson="The valley is found at once; following its bend takes the time.",
    starts=((-1.5, 2.5), (0.2, -0.7)),
    log=True,
)
HIMMELBLAU = Function2D(
    name="Four minima",
    formula=r"Himmelblau, $(x^2+y-11)^2 + (x+y^2-7)^2$",
    of=_himmelblau,
    point=(3.0, 2.0),
    extent=(-5.0, 5.0, -5.0, 5.0),
    lesson="Four minima of one depth: starts beside each other part at the ridges.",
    starts=((0.0, -0.5), (-0.5, -1.2)),
    log=True,
)
ACKLEY = Function2D(
    name="Ripples on a funnel",
    formula="Ackley",
    of=_ackley,
    point=(0.0, 0.0),
    extent=(-4.0, 4.0, -4.0, 4.0),
    lesson="The funnel is seen only by who steps over the ripples.",
    starts=((-3.2, 2.4), (2.7, 2.9)),
)
CLIFF = Function2D(
    name="Cliff",
    formula=r"$x^2/20 + y^2/4 + 4\sigma(12x-12)$",
    of=_cliff,
    point=(1.0, 0.0),
    extent=(-3.0, 3.0, -3.0, 3.0),
    lesson="One step at the wall undoes many: what clipping of gradients is for.",
    starts=((1.6, 2.0), (2.4, -1.5)),
)

GALLERY: tuple[Function2D, ...] = (BOWL, RUGGED, DOUBLE_WELL, SADDLE, PLATEAU, VALLEY)
"""The six that a gallery shows: what a minimum, and what no minimum looks like."""

ALL: tuple[Function2D, ...] = (*GALLERY, BANANA, HIMMELBLAU, ACKLEY, CLIFF)


def function_named(name: str) -> Function2D:
    """A function of `ALL` by its name, however it is capitalised.

    Raises:
        ValueError: there is none of that name.

    >>> function_named("saddle").point
    (0.0, 0.0)
    """
    for one in ALL:
        if one.name.lower() == name.lower():
            return one
    names = ", ".join(f'"{one.name}"' for one in ALL)
    raise ValueError(f'no function is called "{name}"; there are {names}')
