"""A run's readings come in, metrics of an MLflow run go out; needs mlflow.

By the client, never by MLflow's current run: a run that the script itself has open is
left alone.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.utils import name_utils

from surefoot.report.live import alarm_text
from surefoot.sinks.scalars import Scalars
from surefoot.types import Event, Series

EXPERIMENT = "surefoot"
MOST_METRICS = 1000
"""MLflow's own limit for one request (its REST API, "log-batch")."""
LONGEST_NAME = 250
"""MLflow's own limit (mlflow.utils.validation)."""
_FORBIDDEN = re.compile(r"[^\w\-. /]", re.ASCII)


class MlflowSink:
    """Logs to one run of an experiment; alarms are tags. Opened with the first block.

    `uri` is the tracking URI; "" takes the one that is set for the process.
    """

    def __init__(
        self,
        run: str,
        uri: str = "",
        *,
        experiment: str = EXPERIMENT,
        scalars: Scalars | None = None,
    ) -> None:
        self._name, self._uri, self._experiment = run, uri, experiment
        self._scalars = scalars or Scalars()
        self._client: MlflowClient | None = None
        self._run = ""
        self._alarms = 0

    def write(self, series: Series) -> None:
        """Log a block of readings."""
        now = int(time.time() * 1000)
        metrics = [
            Metric(metric_name(tag), value, now, step)
            for step, values in self._scalars.rows(series)
            for tag, value in values.items()
        ]
        for at in range(0, len(metrics), MOST_METRICS):
            batch = metrics[at : at + MOST_METRICS]
            self._opened().log_batch(self._run, metrics=batch)

    def event(self, event: Event) -> None:
        """Set an alarm as a tag; other events stay in the record."""
        if event.kind == "finding":
            self._alarms += 1
            client = self._opened()
            client.set_tag(
                self._run, f"surefoot.alarm.{self._alarms}", alarm_text(event)
            )

    def close(self) -> None:
        """End the run."""
        if self._client is not None:
            self._client.set_terminated(self._run)

    def _opened(self) -> MlflowClient:
        if self._client is None:
            client = MlflowClient(self._uri or None)
            known = client.get_experiment_by_name(self._experiment)
            with _numbers_of_its_own():
                experiment = (
                    client.create_experiment(self._experiment)
                    if known is None
                    else known.experiment_id
                )
                run = client.create_run(experiment, run_name=self._name)
            self._run = run.info.run_id
            self._client = client
        return self._client


@contextmanager
def _numbers_of_its_own() -> Generator[None]:
    """Let MLflow draw its numbers elsewhere than from the script's random stream.

    Its file store draws a digit for each zero that a fresh identifier begins with: one
    experiment in ten would move the numbers that the script draws next.
    """
    names: Any = name_utils
    theirs = names.random
    names.random = random.Random()
    try:
        yield
    finally:
        names.random = theirs


def metric_name(tag: str) -> str:
    """A tag as MLflow takes it: letters, digits and _ - . / and space only.

    >>> metric_name("surefoot/grad_norm/blocks[0]:ü")
    'surefoot/grad_norm/blocks_0___'
    """
    return _FORBIDDEN.sub("_", tag)[:LONGEST_NAME]


def opened(run: str, place: str) -> MlflowSink:
    """The sink of a run; `place` is a tracking URI."""
    return MlflowSink(run, place)
