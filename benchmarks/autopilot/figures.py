"""Results come in, figures of every method on every task go out.

Sensitivity to the learning rate is the mean over the grid of what a run ends above the
best that any method reached on that task and seed; a run that ends above its start, or
not finite, counts as one that learnt nothing (Wortsman et al. 2023, arXiv:2309.14322,
where the best is the method's own; a method that is equally bad at all rates would have
none then).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from benchmarks.autopilot.training import Result

FAILED = 0.1
"""A run that makes less than this share of the progress that is possible has failed."""
HARM = 0.005
"""A run that ends this share above plain training at the same rate was harmed."""

OWN_RATE = {1.0}
"""The only rate of a method that finds its own."""

Runs = Mapping[float, Result]
"""The runs of one task, method and seed by their learning rate."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One method on one task; `sensitivity` holds one number a seed.

    `best` is the mean over the seeds of the best loss at any rate, `at_best` that at
    the rate which is best for plain training, and `milliseconds` CPU time a step. The
    same of plain training, with the same seeds, are `plain`, `plain_best` and
    `plain_milliseconds`. `harms` tells by how much of itself each run lies above plain
    training at the same rate and seed.
    """

    sensitivity: tuple[float, ...]
    plain: tuple[float, ...]
    best: float
    at_best: float
    plain_best: float
    milliseconds: float
    plain_milliseconds: float
    harms: tuple[float, ...]
    runs: int
    failed: int
    diverged: int

    @property
    def mean(self) -> float:
        """Sensitivity, mean over the seeds."""
        return fmean(self.sensitivity)

    @property
    def spread(self) -> float:
        """Half the distance between the seeds that lie farthest apart."""
        return (max(self.sensitivity) - min(self.sensitivity)) / 2

    @property
    def ratio(self) -> float:
        """Sensitivity as a share of that of plain training."""
        return fmean(self.sensitivity) / fmean(self.plain)


def ended(one: Result) -> float:
    """The final loss, or the first where that is lower or there is no other."""
    return one.initial if one.final is None else min(one.final, one.initial)


def diverged(one: Result) -> bool:
    """Whether a run ends above where it began, or not finite."""
    return one.final is None or one.final > one.initial


def grouped(results: Iterable[Result]) -> dict[str, dict[str, dict[int, Runs]]]:
    """Results by task, method, seed and learning rate."""
    found: dict[str, dict[str, dict[int, dict[float, Result]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    for one in results:
        found[one.job.task][one.job.method][one.job.seed][one.job.rate] = one
    return {
        task: {name: dict(seeds) for name, seeds in by.items()}
        for task, by in found.items()
    }


def best_of_all(methods: Mapping[str, Mapping[int, Runs]], seed: int) -> float:
    """The lowest loss that any method reached at any rate, with one seed."""
    runs = [by[seed] for by in methods.values() if seed in by]
    return min(ended(one) for some in runs for one in some.values())


def figures(
    methods: Mapping[str, Mapping[int, Runs]], name: str, plain: str
) -> Figures | None:
    """Those of the method `name`, beside the method `plain`; None if it has no seed.

    Only seeds count with which it has run at every rate of plain training; of a method
    that finds its own rate, one run stands for all.
    """
    rates = max(map(len, methods[plain].values()))
    beside = {seed: by for seed, by in methods[plain].items() if len(by) == rates}
    own = {
        seed: runs
        for seed, runs in methods[name].items()
        if seed in beside and (len(runs) == rates or set(runs) == OWN_RATE)
    }
    if not own:
        return None
    bests = {seed: best_of_all(methods, seed) for seed in own}
    runs = [one for by in own.values() for one in by.values()]
    plain_runs = [one for seed in own for one in beside[seed].values()]
    return Figures(
        sensitivity=_above(own, bests),
        plain=_above({seed: beside[seed] for seed in own}, bests),
        best=fmean(min(map(ended, by.values())) for by in own.values()),
        at_best=fmean(at_best_rate(own[seed], beside[seed]) for seed in own),
        plain_best=fmean(min(map(ended, beside[seed].values())) for seed in own),
        milliseconds=median(one.milliseconds for one in runs),
        plain_milliseconds=median(one.milliseconds for one in plain_runs),
        harms=tuple(harm for seed in own for harm in harms(own[seed], beside[seed])),
        runs=len(runs),
        failed=sum(failed(one, bests[one.job.seed]) for one in runs),
        diverged=sum(map(diverged, runs)),
    )


def _above(own: Mapping[int, Runs], bests: Mapping[int, float]) -> tuple[float, ...]:
    """How far the runs of each seed end above the best, mean over the rates."""
    means = {seed: fmean(map(ended, by.values())) for seed, by in own.items()}
    return tuple(mean - bests[seed] for seed, mean in means.items())


def at_best_rate(own: Runs, plain: Runs) -> float:
    """The loss at the rate that is best for plain training."""
    rate = min(plain, key=lambda one: ended(plain[one]))
    return ended(own[rate] if rate in own else next(iter(own.values())))


def harms(own: Runs, plain: Runs) -> list[float]:
    """By what share each run ends above plain training at the same rate."""
    shared = [rate for rate in own if rate in plain]
    return [ended(own[rate]) / ended(plain[rate]) - 1 for rate in shared]


def failed(one: Result, best: float) -> bool:
    """Whether a run made less than a tenth of the progress that is possible."""
    return ended(one) > one.initial - FAILED * (one.initial - best)


@dataclass(frozen=True, slots=True)
class Summary:
    """One method over tasks; every ratio is a mean over them, beside plain training.

    `sensitivity` is the mean ratio and `low`, `high` the least and the largest, `best`
    that of the best losses and `at_best` that at the rate which is best for plain
    training. `harmed` is the share of runs that end over 0.5 % above plain training at
    the same rate, `worst` the largest such share. `cost` is the median ratio of CPU
    time a step.
    """

    name: str
    tasks: int
    sensitivity: float
    low: float
    high: float
    best: float
    at_best: float
    failed: int
    diverged: int
    runs: int
    harmed: float
    worst: float
    cost: float


def summary(name: str, own: Sequence[Figures]) -> Summary:
    """A method over the tasks that it was run on."""
    ratios = [one.ratio for one in own]
    all_harms = [harm for one in own for harm in one.harms] or [0.0]
    return Summary(
        name=name,
        tasks=len(own),
        sensitivity=fmean(ratios),
        low=min(ratios),
        high=max(ratios),
        best=fmean(one.best / one.plain_best for one in own),
        at_best=fmean(one.at_best / one.plain_best for one in own),
        failed=sum(one.failed for one in own),
        diverged=sum(one.diverged for one in own),
        runs=sum(one.runs for one in own),
        harmed=fmean(harm > HARM for harm in all_harms),
        worst=max(all_harms),
        cost=median(one.milliseconds / one.plain_milliseconds for one in own),
    )


def best_peer(
    by_task: Mapping[str, Mapping[str, Figures]], task: str, ours: Sequence[str]
) -> tuple[str, Figures]:
    """The method of others that is least sensitive on one task."""
    others = {name: one for name, one in by_task[task].items() if name not in ours}
    name = min(others, key=lambda each: others[each].mean)
    return name, others[name]
