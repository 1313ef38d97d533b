"""`python -m benchmarks.rescue.rival`: the cases of the one rival autopilot.

Each is trained as it is, under guard, under steer, and rescued; nothing comes in, a
table goes out. The first six it repaired, the last two it harmed.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from benchmarks.rescue.zoo_trainer import ZooTrainer
from surefoot.rescue.attempt import Plan
from surefoot.rescue.rescue import rescue
from surefoot.zoo.homes import warm_cosine
from surefoot.zoo.scenario import Scenario, planted
from surefoot.zoo.task import Task, before_step, scale_rate


def jump(task: Task) -> None:
    """The learning rate times 200 from the middle on."""
    scale_rate(task, 200.0, task.steps // 2)


def division(task: Task) -> None:
    """The loss is 0/0 on three batches in the middle."""
    _broken(task, lambda zero: zero / zero)


def logarithm(task: Task) -> None:
    """The loss holds log(0) · 0 on three batches in the middle."""
    _broken(task, lambda zero: zero * torch.log(zero))


def _broken(task: Task, operation: Callable[[torch.Tensor], torch.Tensor]) -> None:
    usual, place = task.loss, [0]

    def loss(model: torch.nn.Module, batch: object) -> torch.Tensor:
        value = usual(model, batch)
        half = task.steps // 2
        if half <= place[0] < half + 3:
            value = value + operation(value - value)
        return value

    def next_step(step: int) -> Callable[[], None]:
        def change() -> None:
            place[0] = step

        return change

    task.loss = loss
    for step in range(task.steps):
        before_step(task, step, next_step(step))


def cosine(task: Task) -> None:
    """A cosine to nearly zero: healthy."""
    task.schedule = warm_cosine(task.steps // 20, task.steps)


def as_it_is(task: Task) -> None:
    """Nothing more than the scenario."""


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario, what is planted on top, and what the rival made of it."""

    name: str
    home: str
    fault: str | None
    strength: int
    plant: Callable[[Task], None]
    rival: str


CASES: tuple[Case, ...] = (
    Case("rate × 200 in mid-run", "mlp", None, 0, jump, ".10 → .95"),
    Case("dead ReLU in mid-run", "mlp", "dead_later", 3, as_it_is, ".09 → .95"),
    Case("zero_grad missing", "mlp", "never_zeroed", 2, as_it_is, ".57 → .94"),
    Case("bad batch", "mlp", "corrupted_batch", 3, as_it_is, ".70 → .96"),
    Case("NaN by a division", "mlp", None, 0, division, ".10 → .90"),
    Case("NaN by a logarithm", "mlp", None, 0, logarithm, ".10 → .85"),
    Case("a layer without optimizer", "mlp", "unheld_layer", 3, as_it_is, ".92 → .67"),
    Case("healthy, cosine", "mlp", None, 0, cosine, ".94 → .39"),
    Case("healthy, transformer", "vit", None, 0, as_it_is, "not measured"),
)


@dataclass
class CaseTrainer(ZooTrainer):
    """Trains the scenario of a case with what is planted on top."""

    plant: Callable[[Task], None] = as_it_is

    def _task(self) -> Task:
        task, _ = planted(self.scenario)
        self.plant(task)
        return task


def outcome(case: Case, seed: int) -> Mapping[str, float]:
    """The accuracy of each branch, on the half of the examples that chose nothing."""
    scenario = Scenario(case.home, case.fault, case.strength, seed)
    trainer = CaseTrainer(scenario, plant=case.plant)
    found = rescue(trainer)
    best = Plan() if found.best is None else found.best.attempt.plan
    plans = {"none": Plan(), "rescue": best}
    for mode in ("guard", "steer"):
        plans[mode] = Plan(autopilot=mode)
        trainer.attempt(plans[mode])
    values = {name: trainer.reported(plan) for name, plan in plans.items()}
    return {name: float("nan") if v is None else v for name, v in values.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.rescue.rival", None, __doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=(1,))
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print("| case | the rival | left alone | guard | steer | rescue |\n|-|-|-|-|-|-|")
    for case in CASES:
        rows = [outcome(case, seed) for seed in chosen.seeds]
        means = [
            sum(row[name] for row in rows) / len(rows)
            for name in ("none", "guard", "steer", "rescue")
        ]
        cells = " | ".join(f"{one:.2f}" for one in means)
        print(f"| {case.name} | {case.rival} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
