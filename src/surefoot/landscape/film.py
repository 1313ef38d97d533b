"""Films of descents: a landscape and paths on it come in, a GIF or an MP4 goes out.

    film(BANANA.field(), race(BANANA), to="race.gif")

On the left the paths from above, on the right on the surface, below the loss at every
step. What a frame shows is what the optimizers wrote: see `surefoot.landscape.descent`.
The same numbers give the same file. Needs the extra "plot".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from surefoot.landscape import style
from surefoot.landscape.descent import Descent
from surefoot.landscape.draw import add_contour, title
from surefoot.landscape.encode import write_gif, write_mp4
from surefoot.landscape.land import Doubles, Drawable, Land, Scale, land, scale_of
from surefoot.landscape.relief import add_relief, relief_axes, visible

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FilmOptions:
    """How a film is made.

    Attributes:
        frames: at most so many beside the last: with more steps some are passed over.
        seconds: that the descents take; the end is shown for two more.
        dpi: dots per inch of 9.6 x 5.8 inches: 110 gives 1056 x 638.
        turn: degrees by which the camera goes round; a GIF grows with it tenfold.
        log: a logarithmic scale or not; None decides by the losses.
        text: beneath the title.
    """

    frames: int = 80
    seconds: float = 8.0
    dpi: float = 110.0
    turn: float = 0.0
    log: bool | None = None
    text: str = ""

    def __post_init__(self) -> None:
        """Refuse what makes no film."""
        if self.frames < 1 or self.seconds <= 0 or self.dpi <= 0:
            raise ValueError(
                f"{self.frames} frames in {self.seconds} seconds at {self.dpi} dpi "
                "came; each must be above zero"
            )


PROJECTED = "training, on this plane"
"""What the path of a training is called: its losses are those of the drawn surface, at
the checkpoints' projections, not those that the training had."""

END_SECONDS = 2.0
"""How long the last frame stays, before the film begins anew."""


def film(
    drawable: Drawable,
    descents: Sequence[Descent] = (),
    *,
    to: str | Path,
    options: FilmOptions | None = None,
) -> Path:
    """Film descents on a landscape.

    Args:
        drawable: a field of kind "landscape" over two directions, or a surface.
        descents: paths on it, from `surefoot.landscape.descent`; by default the path
            of the training that the field has.
        to: ends in .gif, or in .mp4, which needs ffmpeg.
        options: length, size, scale.

    Returns:
        The file.

    Raises:
        ValueError: no path, another ending, or what `contour` refuses.
        FileNotFoundError: an MP4 is wanted and there is no ffmpeg.
    """
    options = options or FilmOptions()
    to = Path(to)
    writers = {".gif": write_gif, ".mp4": write_mp4}
    if to.suffix.lower() not in writers:
        raise ValueError(f'"{to.name}" came; expected a name ending in .gif or .mp4')
    pictures = frames(drawable, descents, options=options)
    steps = frame_steps(_paths(drawable, descents), options.frames)
    seconds = [options.seconds / len(steps)] * (len(steps) - 1) + [END_SECONDS]
    writers[to.suffix.lower()](pictures, seconds, to=to, exact=style.EXACT)
    return to


def still(
    drawable: Drawable,
    descents: Sequence[Descent] = (),
    *,
    step: int | None = None,
    options: FilmOptions | None = None,
) -> Figure:
    """One frame of a film as a figure: the last one, or that at a step.

    Args and errors are those of `film`.
    """
    options = options or FilmOptions(dpi=150)
    paths = _paths(drawable, descents)
    with style.styled():
        stage = Stage(land(drawable), paths, options)
        stage.show(step if step is not None else _longest(paths))
        stage.freeze()
    return stage.figure


def frames(
    drawable: Drawable,
    descents: Sequence[Descent] = (),
    *,
    options: FilmOptions | None = None,
) -> Iterator[Pixels]:
    """The pictures of a film, uint8, shape [height, width, 3]; as of `film`."""
    options = options or FilmOptions()
    paths = _paths(drawable, descents)
    steps = frame_steps(paths, options.frames)
    with style.styled():
        stage = Stage(land(drawable), paths, options)
    for index, step in enumerate(steps):
        with style.styled():  # not around the yield: the caller has settings as well
            stage.turn_to(options.turn * index / max(len(steps) - 1, 1))
            stage.show(step)
            picture = stage.pixels()
        yield picture


def frame_steps(descents: Sequence[Descent], most: int) -> list[int]:
    """Which step each frame shows: even, from the start to the longest path's end.

    >>> from surefoot.landscape.functions import BOWL
    >>> from surefoot.landscape.descent import race
    >>> frame_steps(race(BOWL, steps=10), 5)
    [0, 2, 4, 6, 8, 10]
    """
    last = _longest(descents)
    return [round(last * i / min(most, last or 1)) for i in range(min(most, last) + 1)]


def _longest(descents: Sequence[Descent]) -> int:
    return max(one.steps for one in descents)


def _paths(drawable: Drawable, descents: Sequence[Descent]) -> Sequence[Descent]:
    """The given descents, or the training's path with the heights of the surface."""
    if descents:
        return descents
    seen = land(drawable)
    if len(seen.path) < 2:
        raise ValueError(
            "no path came: give descents, or a landscape with the training's path"
        )
    return (Descent(PROJECTED, seen.path, seen.at(seen.path)),)


class Stage:
    """A figure on which steps are shown one after the other.

    The landscape is drawn once; a frame draws only the paths over it.
    """

    def __init__(
        self, seen: Land, descents: Sequence[Descent], options: FilmOptions
    ) -> None:
        if not len(seen.betas):
            raise ValueError("a landscape over one direction came; a film needs two")
        self._seen, self._descents = seen, descents
        projected = descents[0].optimizer == PROJECTED
        self._counted = "checkpoint" if projected else "step"
        self._scale = scale_of(seen, log=options.log)
        looks = style.line_looks(tuple(one.optimizer for one in descents))
        self._looks = [looks[one.optimizer] for one in descents]
        self.figure = style.figure(9.6, 5.8, dpi=options.dpi)
        self._lay_out(options)
        self._runners = [
            _Runner(one, look, (self._above, self._space, self._below))
            for one, look in zip(descents, self._looks, strict=True)
        ]
        self._turned = 0.0
        self._ground: Any = None
        self._hidden = self._hide()

    def show(self, step: int) -> None:
        """Put all paths where they are after a step."""
        for runner, (points, shown) in zip(self._runners, self._hidden, strict=True):
            runner.show(step, points, shown)
        self._clock.set_text(f"{self._counted} {step}")

    def turn_to(self, degrees: float) -> None:
        """Turn the camera; what is hidden changes, and all is drawn anew."""
        if degrees != self._turned:
            self._space.azim += degrees - self._turned
            self._turned, self._ground = degrees, None
            self._hidden = self._hide()

    def freeze(self) -> None:
        """Make the paths part of the figure, as they are now."""
        for artist in self._moving():
            artist.set_animated(False)

    def pixels(self) -> Pixels:
        """The figure as it is now."""
        canvas: Any = self.figure.canvas
        if self._ground is None:
            canvas.draw()
            self._ground = canvas.copy_from_bbox(self.figure.bbox)
            self.figure.set_layout_engine("none")
        canvas.restore_region(self._ground)
        for artist in self._moving():
            (artist.axes or self.figure).draw_artist(artist)
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def _moving(self) -> Iterator[Any]:
        for runner in self._runners:
            yield from runner.artists
        yield self._clock

    def _lay_out(self, options: FilmOptions) -> None:
        grid = self.figure.add_gridspec(2, 2, height_ratios=(3.1, 1))
        self._above: Any = self.figure.add_subplot(grid[0, 0])
        self._space = relief_axes(self.figure, grid[0, 1], elevation=46)
        self._below: Any = self.figure.add_subplot(grid[1, :])
        add_contour(self._above, self._seen, self._scale)
        add_relief(self._space, self._seen, self._scale, path=False)
        self._add_losses()
        self._add_texts(options)

    def _add_losses(self) -> None:
        axes, losses = self._below, np.concatenate([o.losses for o in self._descents])
        low, high = _loss_range(losses, self._scale)
        axes.set(xlim=(0, max(_longest(self._descents), 1)), ylim=(low, high))
        axes.set_yscale("log" if low > 0 and high / low > 20 else "linear")
        axes.set(xlabel=self._counted, ylabel="loss")
        axes.grid(axis="y", color="#ECEEF0")
        axes.spines[["top", "right"]].set_visible(False)

    def _add_texts(self, options: FilmOptions) -> None:
        heading = title(self._seen) + ("\n" if options.text else "")
        self.figure.suptitle(
            heading, x=0.012, ha="left", fontweight="bold", fontsize=12
        )
        self.figure.text(0.012, 0.935, options.text, va="top", fontsize=10)
        self._clock = self._above.text(
            0.02, 0.97, "", transform=self._above.transAxes, va="top", animated=True,
            fontsize=10, fontweight="bold", path_effects=style.HALO,
        )  # fmt: skip
        names = dict(
            zip((o.optimizer for o in self._descents), self._looks, strict=True)
        )
        handles = [
            self._below.plot([], [], color=colour, marker=marker, label=name)[0]
            for name, (colour, marker) in names.items()
        ]
        self._below.legend(
            handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5),
        )  # fmt: skip

    def _hide(self) -> list[tuple[Doubles, NDArray[np.bool_]]]:
        """Each path in space, and which of its points no hill stands before."""
        found: list[tuple[Doubles, NDArray[np.bool_]]] = []
        for one in self._descents:
            heights = self._scale.heights(self._seen.at(one.points))
            points = np.column_stack([one.points, heights])
            shown = visible(self._space, self._seen, self._scale, points=points)
            found.append((points, shown))
        return found


def _loss_range(losses: Doubles, scale: Scale) -> tuple[float, float]:
    """What the curves are drawn on; a point beside the grid has no loss."""
    if np.isnan(losses).all():
        return scale.low, scale.high
    low = max(float(np.nanmin(losses)), scale.low if scale.log else -np.inf)
    high = max(min(float(np.nanmax(losses)), scale.high), low)
    if scale.log:
        return low / 1.3, high * 1.3
    pad = (high - low) * 0.05 or 1.0
    return low - pad, high + pad


class _Runner:
    """One path in the three pictures: a trail, and a marker at its head."""

    def __init__(
        self, descent: Descent, look: tuple[str, str], places: tuple[Any, Any, Any]
    ) -> None:
        self._descent = descent
        colour, marker = look
        above, space, below = places
        trail = {"color": colour, "linewidth": 1.7, "animated": True}
        head = {
            "marker": marker, "color": colour, "mec": style.PAPER, "mew": 1.0,
            "markersize": 7.5, "linestyle": "none", "animated": True,
        }  # fmt: skip
        (self._above,) = above.plot([], [], path_effects=style.HALO, **trail)
        (self._above_head,) = above.plot([], [], **head)
        (self._through,) = space.plot([], [], [], linestyle=":", **trail)
        (self._space,) = space.plot([], [], [], **trail)
        (self._space_head,) = space.plot([], [], [], **head)
        (self._below,) = below.plot([], [], **trail)
        (self._below_head,) = below.plot([], [], clip_on=False, **head)

    @property
    def artists(self) -> tuple[Any, ...]:
        """In the order they are drawn."""
        trails = (self._above, self._through, self._space, self._below)
        return (*trails, self._above_head, self._space_head, self._below_head)

    def show(self, step: int, points: Doubles, shown: NDArray[np.bool_]) -> None:
        end = min(step, self._descent.steps) + 1
        self._above.set_data(*self._descent.points[:end].T)
        self._above_head.set_data(*self._descent.points[end - 1 : end].T)
        front = np.where(shown[:end, None], points[:end], np.nan)
        self._through.set_data_3d(*points[:end].T)
        self._space.set_data_3d(*front.T)
        self._space_head.set_data_3d(*points[end - 1 : end].T)
        losses = self._descent.losses[:end]
        self._below.set_data(np.arange(end), losses)
        self._below_head.set_data([end - 1], losses[-1:])
