"""Two ways to train beside each other: same seeds, a table, an interval, a picture."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from surefoot.experiments.verdict import verdict
from surefoot.landscape.style import LINES, caption, figure, save, styled
from surefoot.types import Prescription


@dataclass(frozen=True)
class Outcome:
    """What a run ended with, held out, and how it got there."""

    metric: float
    curve: Sequence[float]


@dataclass(frozen=True)
class Pair:
    """What is compared, by name, and in which measure."""

    before: str
    after: str
    metric: str
    curve: str
    higher_is_better: bool = True


def compare(
    pair: Pair,
    before: Callable[[int], Outcome],
    after: Callable[[int], Outcome],
    *,
    to: str,
) -> None:
    """Run both on each seed, print before and after, and draw the curves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--to", default=to)
    told = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(told.seeds)
    outcomes = [[run(seed) for seed in seeds] for run in (before, after)]
    old, new = ([one.metric for one in arm] for arm in outcomes)
    print(f"{pair.metric}, seed by seed")
    for name, values in ((pair.before, old), (pair.after, new)):
        print(f"  {name:32s}", "  ".join(f"{value:9.4g}" for value in values))
    found = verdict(
        Prescription(pair.after, (), "", ""),
        pair.metric,
        seeds=seeds,
        baseline=old,
        treated=new,
        higher_is_better=pair.higher_is_better,
    )
    low, high = found.interval
    says = "helped" if found.held else "not shown to help"
    print(
        f"better by {found.effect:.4g}, 95 % interval {low:.4g} to {high:.4g}: {says}"
    )
    print(f"picture: {_draw(pair, outcomes, told.to)}")


def _draw(pair: Pair, outcomes: Sequence[Sequence[Outcome]], to: str) -> str:
    with styled():
        made = figure(6.4, 3.6)
        axes = made.subplots()
        for arm, name, colour, style in zip(
            outcomes, (pair.before, pair.after), LINES, ("--", "-"), strict=False
        ):
            for index, outcome in enumerate(arm):
                label = name if index == 0 else None
                axes.plot(outcome.curve, style, color=colour, label=label, lw=1.2)
        axes.set_xlabel("evaluation")
        axes.set_ylabel(pair.curve)
        axes.legend(frameon=False)
        caption(made, f"one line a seed, {len(outcomes[0])} seeds")
        return str(save(made, to))
