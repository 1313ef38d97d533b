"""Law 1: with Surefoot watching, training is the same to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import loops
import surefoot
from surefoot.attach import Attachment
from surefoot.record.reader import RecordReader
from surefoot.run import Run
from surefoot.watching import open_run


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and one.is_sparse:
        return same(one.to_dense(), other.to_dense())
    if isinstance(one, torch.Tensor):
        raw = [value.detach().reshape(-1).view(torch.uint8) for value in (one, other)]
        return one.dtype == other.dtype and torch.equal(*raw)
    return one == other


def unwatched(model: Any, optimizer: Any) -> Any:
    return lambda loss: None


@pytest.fixture(autouse=True)
def _nothing_was_compiled() -> None:
    """Attention is looked at only where nothing was compiled in the process."""
    torch._dynamo.utils.counters.clear()


@pytest.mark.parametrize("loop", loops.ALL, ids=lambda loop: loop.__name__)
def test_watched_training_is_bit_identical(loop: Any, tmp_path: Any) -> None:
    bare = loop(unwatched)
    runs: list[Run] = []

    def watched(model: Any, optimizer: Any) -> Any:
        options = surefoot.Options(every=1, budget=None)
        run = surefoot.watch(model, optimizer, folder=tmp_path, options=options)
        runs.append(run)
        return run.step

    result = loop(watched)
    steps = {name: recorder.step for name, recorder in runs[0].streams.items()}
    failed = [recorder.shield.off for recorder in runs[0].streams.values()]
    runs[0].close()
    assert len(bare) == len(result)
    assert all(same(one, other) for one, other in zip(bare, result, strict=True))
    assert not any(failed)
    assert all(count > 0 for count in steps.values())
    with RecordReader(runs[0].path) as reader:
        for stream, count in steps.items():
            series = reader.series("grad_norm", stream)
            assert len(series.steps) == count
            assert not np.isnan(reader.series("loss", stream).values).any()


@pytest.mark.parametrize("loop", loops.ALL, ids=lambda loop: loop.__name__)
def test_attached_training_is_bit_identical(loop: Any, tmp_path: Any) -> None:
    bare = loop(unwatched)
    attachment = Attachment(
        lambda: open_run(tmp_path, loop.__name__, {}), lambda models, optimizers: None
    )
    try:
        result = loop(unwatched)
    finally:
        attachment.detach()
    assert attachment.run is not None
    failed = [recorder.shield.off for recorder in attachment.run.streams.values()]
    streams = dict(attachment.run.streams)
    attachment.run.close()
    assert all(same(one, other) for one, other in zip(bare, result, strict=True))
    assert not any(failed)
    assert len(streams) == (2 if loop is loops.gan else 1)
    with RecordReader(attachment.run.path) as reader:
        for stream, recorder in streams.items():
            if loop is loops.per_sample:  # it never calls backward
                assert not reader.has("loss", stream)
                continue
            losses = reader.series("loss", stream)
            assert len(losses.steps) == recorder.step
            assert losses.steps[0] == 0


@pytest.mark.parametrize("loop", loops.ALL, ids=lambda loop: loop.__name__)
def test_an_autopilot_that_only_speaks_changes_no_bit(loop: Any, tmp_path: Any) -> None:
    bare = loop(unwatched)
    runs: list[Run] = []

    def watched(model: Any, optimizer: Any) -> Any:
        # "ask" does all that "advise" does, and looks at each update too.
        run = surefoot.watch(model, optimizer, folder=tmp_path, autopilot="ask")
        runs.append(run)
        return run.step

    result = loop(watched)
    runs[0].close()
    assert all(same(one, other) for one, other in zip(bare, result, strict=True))
    assert runs[0].path is not None
    with RecordReader(runs[0].path) as reader:
        told = [event.body for event in reader.events() if event.kind == "autopilot"]
    assert not told
