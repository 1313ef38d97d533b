"""A loop comes in, the record of it goes out."""

from __future__ import annotations

from typing import Any

import pytest

import surefoot
from surefoot.attach import Attachment
from surefoot.record.reader import RecordReader
from surefoot.watching import open_run

EVERY = surefoot.Options(every=1, budget=None)


class Recorded:
    """Runs a loop under watch, and reads series from its record.

    `step(number)` trains once and returns the loss, or the loss and the batch.
    """

    def __init__(self, folder: Any) -> None:
        self.folder = folder
        self.readers: list[RecordReader] = []

    def __call__(self, model: Any, optimizer: Any, step: Any, steps: int = 6) -> Any:
        with surefoot.watch(model, optimizer, folder=self.folder, options=EVERY) as run:
            for number in range(steps):
                told = step(number)
                run.step(*(told if isinstance(told, tuple) else (told,)))
            failed = [recorder.shield.off for recorder in run.streams.values()]
        assert not any(failed), failed
        return self.reader(run.path)

    def attached(self, train: Any) -> Any:
        """The record of a loop that nobody changed, as `surefoot run` makes it."""
        attachment = Attachment(
            lambda: open_run(self.folder, "attached", {}), lambda models, optims: None
        )
        try:
            train()
        finally:
            attachment.detach()
        run = attachment.run
        failed = [recorder.shield.off for recorder in run.streams.values()]
        run.close()
        assert not any(failed), failed
        return self.reader(run.path)

    def reader(self, path: Any) -> RecordReader:
        self.readers.append(RecordReader(path))
        return self.readers[-1]


@pytest.fixture
def recorded(tmp_path: Any) -> Any:
    found = Recorded(tmp_path)
    yield found
    for reader in found.readers:
        reader.close()
