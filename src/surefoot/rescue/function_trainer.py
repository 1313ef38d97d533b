"""A Python function as a Trainer: it trains once a call, and gives a held-out number.

In: `train(training)`, which builds a model, watches it with `training.watch` and
returns what it scores on held-out data. Out: an attempt for each plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from surefoot.autopilot.apply import apply_changes
from surefoot.autopilot.live import KnobError, Live
from surefoot.diagnosis.examine import examine
from surefoot.record.reader import RecordReader
from surefoot.rescue.attempt import Attempt, Measure, Plan
from surefoot.rescue.readings import losses_of, updates_of
from surefoot.rescue.timing import after_updates
from surefoot.restore.random_streams import RandomStreams
from surefoot.run import Run
from surefoot.watching import Models, Optimizers, watch

TrainFunction = Callable[["Training"], float | None]


@dataclass(slots=True)
class Training:
    """One training under a plan, as the function that trains sees it."""

    plan: Plan
    folder: Path
    run: Run | None = None

    def watch(self, model: Models, optimizer: Optimizers) -> Run:
        """Watch a model and its optimizer, as `surefoot.watch` does.

        Call it once, before the first update: the plan's changes are made here.

        Raises:
            KnobError: a change does not fit; let it pass.
            RuntimeError: it is called a second time.
        """
        if self.run is not None:
            raise RuntimeError(
                "Training.watch came a second time; expected one call a training, "
                "with all models and optimizers as mappings"
            )
        models = model if hasattr(model, "items") else {"model": model}
        optimizers = optimizer if hasattr(optimizer, "items") else {"main": optimizer}
        named = dict(optimizers)  # type: ignore[call-overload]
        live = Live(dict(models), tuple(named.values()), self.plan.at)  # type: ignore[call-overload]
        self.run = watch(model, optimizer, folder=self.folder, name="attempt")
        tell = self.run.event

        def act() -> None:
            apply_changes(self.plan.changes, live, "a rescue", tell)

        after_updates(live.optimizers[0], self.plan.at, act)
        return self.run

    @property
    def over(self) -> bool:
        """Whether the plan's last update was made: leave the loop then."""
        if self.plan.until is None or self.run is None:
            return False
        return self.run.last_step >= self.plan.until


@dataclass(frozen=True, slots=True)
class FunctionTrainer:
    """Trains by calling a function, from the same random streams each time.

    Args:
        train: called with a `Training`; returns its held-out number, or None.
        measure: what that number is called, and whether more of it is better.
        folder: where the records are kept.
    """

    function: TrainFunction
    measure: Measure
    folder: Path
    start: RandomStreams = field(default_factory=RandomStreams)

    def attempt(self, plan: Plan) -> Attempt:
        """Call the function under a plan; an error of its own comes out.

        Raises:
            ValueError: it watched nothing.
        """
        self.start.restore()
        training = Training(plan, self.folder)
        try:
            metric = self.function(training)
        except KnobError as error:
            return Attempt(plan, 0, refused=str(error))
        finally:
            if training.run is not None:
                training.run.close()
        if training.run is None or training.run.path is None:
            raise ValueError(
                "the function trained without a record; expected one that calls "
                "training.watch(model, optimizer), with SUREFOOT not switched off"
            )
        with RecordReader(training.run.path) as reader:
            losses, steps = losses_of(reader), updates_of(reader)
            found = () if plan.until is not None else tuple(examine(reader))
        path = training.run.path
        return Attempt(plan, steps, losses, metric, found, path)
