"""Blocks of readings come in, numbers under tidy tags go out, fewer than came.

What belongs to the whole run goes out at every step. What there is for every layer is
thinned: thousands of charts with every step would slow any of these programs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from surefoot.record.quantities import ALL
from surefoot.types import RUN, Series

QUANTITIES = (
    "loss",
    "lr",
    "metric",
    "accuracy",
    "step_seconds",
    "grad_norm",
    "weight_norm",
    "update_norm",
    "dead_share",
    "saturated_share",
    "activation_std",
)
"""What is sent if nothing else is asked for; the record has all of them."""

EVERY = 10
"""Steps between two numbers of one layer: the interval of the periodic probes."""

_WHOLE = tuple(one.name for one in ALL if one.axis in ("run", "group", "metric"))


class Scalars:
    """Thins what is sent; one for each sink, since it knows what went out before."""

    def __init__(
        self, quantities: Sequence[str] = QUANTITIES, *, every: int = EVERY
    ) -> None:
        if every < 1:
            raise ValueError(
                f"every came as {every}; expected at least 1: steps between two "
                "numbers of one layer"
            )
        self._quantities = tuple(quantities)
        self._every = every
        self._last: dict[tuple[str, str], int] = {}

    def rows(self, series: Series) -> Iterator[tuple[int, dict[str, float]]]:
        """Steps, and the numbers of each by their tags; NaN of a layer left out.

        >>> loss = Series("loss", ("run",), np.arange(2), np.ones((2, 1), np.float32))
        >>> list(Scalars().rows(loss))
        [(0, {'surefoot/loss': 1.0}), (1, {'surefoot/loss': 1.0})]
        """
        if series.quantity not in self._quantities or not len(series.steps):
            return
        tags = tags_of(series)
        whole = series.quantity in _WHOLE
        kept = slice(None) if whole else self._thinned(series)
        for step, row in zip(
            series.steps[kept].tolist(), series.values[kept].tolist(), strict=True
        ):
            # A layer that was not read has NaN; a loss that is NaN is the news.
            known = {
                tag: value
                for tag, value in zip(tags, row, strict=True)
                if whole or value == value
            }
            if known:
                yield step, known

    def _thinned(self, series: Series) -> np.ndarray:
        """Which rows are the first in their `every` steps."""
        key = (series.stream, series.quantity)
        bins = series.steps // self._every
        new = np.diff(bins, prepend=self._last.get(key, -1)) > 0
        self._last[key] = int(bins[-1])
        return new


def tags_of(series: Series) -> list[str]:
    """A tag for each layer: surefoot, the stream if it has a name, quantity, layer.

    >>> none = np.empty((0, 1), np.float32)
    >>> tags_of(Series("grad_norm", ("fc.weight",), np.arange(0), none, "critic"))
    ['surefoot/critic/grad_norm/fc.weight']
    """
    stream = "" if series.stream == "main" else f"{series.stream}/"
    head = f"surefoot/{stream}{series.quantity}"
    if series.layers == RUN:
        return [head]
    return [f"{head}/{layer}" for layer in series.layers]
