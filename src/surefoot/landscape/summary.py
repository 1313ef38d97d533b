"""A surface comes in, what a command says of it goes out: a few lines, or JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.landscape.numbers import numbers
from surefoot.landscape.surface import Surface
from surefoot.record.values import strict


def as_json(
    made: Surface, *, step: int, record: Path | None, output: Path | None
) -> str:
    """What came out as JSON in the strict sense, and where it was put."""
    lowest, highest = _range(made)
    body: dict[str, Any] = {
        "title": made.title,
        "record": None if record is None else str(record),
        "output": None if output is None else str(output),
        "step": step,
        "points": int(made.losses.size),
        "computed": made.evaluations,
        "not_finite": int((~np.isfinite(made.losses)).sum()),
        "error": {name: float(share) for name, share in made.error.items()},
        "directions": list(made.directions),
        "explained": [float(share) for share in made.explained],
        "loss_at_centre": made.loss_at_centre,
        "lowest": lowest,
        "highest": highest,
        "shape": asdict(numbers(made)),
    }
    return json.dumps(strict(body), indent=2) + "\n"


def _range(made: Surface) -> tuple[float | None, float | None]:
    finite = made.losses[np.isfinite(made.losses)]
    return (float(finite.min()), float(finite.max())) if finite.size else (None, None)


def as_text(made: Surface, *, record: Path | None, output: Path | None) -> str:
    """What came out in a few lines, and where it was put."""
    lines = [f"{made.title}: {_extent(made)}", f"  {_computed(made)}"]
    lines.append(f"  {_shape(made)}")
    if made.explained:
        shares = " and ".join(f"{share:.0%}" for share in made.explained)
        lines.append(f"  the directions hold {shares} of the path of training")
    if record is not None:
        lines.append(f"look at it with: surefoot report {record}")
    if output is not None:
        lines.append(str(output))
    return "\n".join(lines) + "\n"


def _extent(made: Surface) -> str:
    lowest, highest = _range(made)
    if lowest is None:
        return "the loss is finite nowhere"
    centre = made.loss_at_centre
    return f"loss {lowest:.4g} to {highest:.4g}, {centre:.4g} at the centre"


def _shape(made: Surface) -> str:
    """Roughness and convexity, in words."""
    found = numbers(made)
    return (
        f"roughness {round(found.roughness, 4):g}; the slice bends downwards at "
        f"{found.negative_curvature:.0%} of its inner points"
    )


def _computed(made: Surface) -> str:
    total, holes = made.losses.size, int((~np.isfinite(made.losses)).sum())
    gone = f"; {holes} are not finite" if holes else ""
    if made.evaluations >= total:
        return f"all {total} points computed{gone}"
    median, worst = (100 * made.error[name] for name in ("median", "p95"))
    return (
        f"{made.evaluations} of {total} points computed, the others interpolated with "
        f"an error of {median:.2g} % median, {worst:.2g} % p95 of the range{gone}"
    )
