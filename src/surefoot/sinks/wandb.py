"""A run's readings come in, the history of a W&B run goes out; needs wandb.

Always a run of its own: steps of ours between those of a run that the script itself
logs to would make W&B drop some of them.
"""

from __future__ import annotations

from typing import Any, cast

import wandb

from surefoot.report.live import alarm_text
from surefoot.sinks.scalars import Scalars
from surefoot.types import Event, Series

PROJECT = "surefoot"
STEP = "surefoot/step"
"""The axis of our numbers: blocks of several quantities come one after the other, and
W&B's own step may only grow."""


class WandbSink:
    """Logs to one run of a project; alarms are in its summary and its tags.

    Opened with the first block. WANDB_MODE=offline and its other settings hold.
    """

    def __init__(
        self, run: str, project: str = "", *, scalars: Scalars | None = None
    ) -> None:
        self._name, self._project = run, project
        self._scalars = scalars or Scalars()
        self._run: Any = None
        self._alarms = 0

    def write(self, series: Series) -> None:
        """Log a block of readings."""
        for step, values in self._scalars.rows(series):
            self._opened().log({**values, STEP: step})

    def event(self, event: Event) -> None:
        """Keep an alarm in the summary; other events stay in the record."""
        if event.kind == "finding":
            run = self._opened()
            self._alarms += 1
            run.summary[f"surefoot/alarm/{self._alarms}"] = alarm_text(event)
            run.tags = (*(run.tags or ()), str(event.body.get("cause", ""))[:64])

    def close(self) -> None:
        """End the run; W&B sends what is left."""
        if self._run is not None:
            self._run.finish()

    def _opened(self) -> Any:
        if self._run is None:
            self._run = cast(Any, wandb).init(
                project=self._project or PROJECT,
                name=self._name,
                reinit="create_new",
                settings=wandb.Settings(console="off", silent=True),
            )
            self._run.define_metric(STEP)
            self._run.define_metric("surefoot/*", step_metric=STEP)
        return self._run


def opened(run: str, place: str) -> WandbSink:
    """The sink of a run; `place` is a project."""
    return WandbSink(run, place)
