"""A way to train or test under noise comes in; how much noise it bears goes out.

Each measure (loss, steps to a goal, accuracy, calibration) is compared with that of no
noise at the same seeds, for one σ after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any, Literal

import torch
from torch import Tensor, nn

from surefoot.nn.regularize.errors import RegularizeError
from surefoot.restore.still import still
from surefoot.signatures.calibration import calibration_error
from surefoot.types import LossFunction

Measures = Callable[[float, int], Mapping[str, float]]
"""`measures(sigma, seed)`: numbers by name, lower meaning better."""

Where = Literal["weights", "inputs"]


@dataclass(frozen=True, slots=True)
class NoiseRow:
    """One σ: how much each measure rose above that of no noise, and standard errors."""

    sigma: float
    excess: Mapping[str, float]
    error: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class NoiseBudget:
    """What noise did: a row for each σ, rising, and the measures without noise.

    `beyond[name]` is the first σ at which a measure rose by more than its tolerance;
    None if none did. A measure that became NaN or infinite is beyond any tolerance.
    """

    clean: Mapping[str, float]
    rows: tuple[NoiseRow, ...]
    beyond: Mapping[str, float | None]

    @property
    def first_beyond(self) -> float | None:
        """The first σ at which any measure is beyond its tolerance."""
        found = [sigma for sigma in self.beyond.values() if sigma is not None]
        return min(found, default=None)


def noise_budget(
    measures: Measures,
    sigmas: Sequence[float],
    *,
    tolerance: Mapping[str, float],
    seeds: Sequence[int] = (0, 1, 2),
) -> NoiseBudget:
    """Run with each σ and without, on the same seeds, and compare.

    Args:
        measures: trains or tests with noise of σ and gives numbers, lower being
            better: the final loss, steps to a goal, the error rate, the calibration
            error. `weights_under_noise` and `inputs_under_noise` make one for a
            trained model; a function that trains with noise is your own.
        sigmas: above 0.
        tolerance: for each measure that is to be judged, how much it may rise.
        seeds: the runs of each σ.

    >>> budget = noise_budget(
    ...     lambda sigma, seed: {"loss": sigma**2}, [0.1, 0.2, 0.4],
    ...     tolerance={"loss": 0.03},
    ... )
    >>> budget.first_beyond
    0.2

    Raises:
        RegularizeError: no σ or seed, a σ that is not above 0, or a tolerance for
            what is not measured.
    """
    if not sigmas or not seeds or not all(sigma > 0 for sigma in sigmas):
        raise RegularizeError(
            f"sigmas={list(sigmas)} and seeds={list(seeds)} came; expected one σ above "
            "0 or more, and one seed or more"
        )
    clean = [measures(0.0, seed) for seed in seeds]
    if not tolerance.keys() <= clean[0].keys():
        raise RegularizeError(
            f"tolerances of {sorted(tolerance)} came; measured are {sorted(clean[0])}"
        )
    rows = tuple(_row(measures, sigma, clean, seeds) for sigma in sorted(sigmas))
    beyond = {
        name: next((r.sigma for r in rows if not r.excess[name] <= most), None)
        for name, most in tolerance.items()
    }
    names = clean[0].keys()
    return NoiseBudget({n: mean(run[n] for run in clean) for n in names}, rows, beyond)


def weights_under_noise(
    model: nn.Module,
    batch: Any,
    *,
    loss_fn: LossFunction,
    pairs: int = 16,
) -> Measures:
    """Measures of a trained model whose weights get noise: its mean loss.

    Each draw is used with both signs, which cancels the slope: near a minimum the
    mean rise is σ²/2 times the trace of the Hessian. Model and random streams are as
    before, bit for bit.

    Args:
        model: called as it is, in its own modes.
        batch: given to the loss.
        loss_fn: `loss_fn(model, batch)`.
        pairs: of draws for each σ and seed.

    Returns:
        A function of σ and seed for `noise_budget`, with the measure "loss".
    """

    def measured(sigma: float, seed: int) -> Mapping[str, float]:
        stream = torch.Generator().manual_seed(seed)
        losses: list[Tensor] = []
        with still(model), torch.no_grad(), _moving(model) as move:
            for _ in range(pairs if sigma else 1):
                drawn = [_drawn(one, stream) for one in model.parameters()]
                for sign in (1, -1) if sigma else (1,):
                    move(drawn, sign * sigma)
                    losses.append(loss_fn(model, batch).detach())
        return {"loss": float(torch.stack(losses).double().mean())}

    return measured


def inputs_under_noise(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    draws: int = 8,
) -> Measures:
    """Measures of a trained classifier whose inputs get noise.

    Args:
        model: from `[N, ...]` to logits `[N, classes]`; runs in evaluation mode, and
            is as before afterwards.
        inputs: floating point.
        targets: class indices `[N]`.
        draws: for each σ and seed.

    Returns:
        A function of σ and seed for `noise_budget`, with the measures "loss"
        (cross-entropy), "error" (share of wrong answers) and "calibration" (expected
        calibration error, 15 bins).
    """

    def measured(sigma: float, seed: int) -> Mapping[str, float]:
        stream = torch.Generator().manual_seed(seed)
        count = draws if sigma else 1
        with still(model, training=False), torch.no_grad():
            views = [inputs + sigma * _drawn(inputs, stream) for _ in range(count)]
            scores = torch.cat([model(view) for view in views]).float()
        labels = targets.repeat(count)
        confidence, answer = scores.softmax(-1).max(-1)
        right = answer == labels
        return {
            "loss": float(nn.functional.cross_entropy(scores, labels)),
            "error": 1 - float(right.double().mean()),
            "calibration": calibration_error(
                confidence.cpu().numpy(), right.cpu().numpy()
            ),
        }

    return measured


# --- parts ----------------------------------------------------------------------


def _row(
    measures: Measures,
    sigma: float,
    clean: Sequence[Mapping[str, float]],
    seeds: Sequence[int],
) -> NoiseRow:
    noisy = [measures(sigma, seed) for seed in seeds]
    rises = {
        name: [run[name] - bare[name] for run, bare in zip(noisy, clean, strict=True)]
        for name in clean[0]
    }
    root = math.sqrt(len(seeds))
    errors = {
        name: stdev(values) / root if len(values) > 1 and _finite(values) else math.nan
        for name, values in rises.items()
    }
    return NoiseRow(sigma, {name: mean(v) for name, v in rises.items()}, errors)


def _finite(values: Sequence[float]) -> bool:
    return all(math.isfinite(value) for value in values)


@contextmanager
def _moving(
    model: nn.Module,
) -> Generator[Callable[[Sequence[Tensor], float], None]]:
    """Moves weights from where they are, along draws; puts them back at the end."""
    weights = list(model.parameters())
    kept = [one.detach().clone() for one in weights]

    def move(drawn: Sequence[Tensor], far: float) -> None:
        for weight, centre, one in zip(weights, kept, drawn, strict=True):
            weight.copy_(centre + far * one)

    try:
        yield move
    finally:
        for weight, centre in zip(weights, kept, strict=True):
            weight.copy_(centre)


def _drawn(like: Tensor, stream: torch.Generator) -> Tensor:
    """Drawn on the host, so that it is the same on every device."""
    return torch.randn(like.shape, generator=stream, dtype=torch.float32).to(like)
