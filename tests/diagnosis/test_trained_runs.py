"""The whole way on networks that are really trained: record, findings, cause."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import trained
from surefoot.diagnosis.examine import examine
from surefoot.record.reader import RecordReader
from surefoot.types import Diagnosis


@pytest.fixture(autouse=True)
def _alone_and_quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.CRITICAL, logger="surefoot")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def diagnosed(path: Path) -> list[Diagnosis]:
    with RecordReader(path) as reader:
        return examine(reader)


@pytest.mark.parametrize("make", trained.HEALTHY, ids=lambda one: one.__name__)
def test_a_healthy_run_has_no_diagnosis(
    make: Callable[[], trained.Plan], tmp_path: Path
) -> None:
    assert diagnosed(trained.train(make(), tmp_path)) == []


def test_adversaries_have_no_diagnosis(tmp_path: Path) -> None:
    assert diagnosed(trained.adversaries(tmp_path)) == []


@pytest.mark.parametrize("make", trained.FAULTY, ids=lambda one: one.__name__)
def test_a_planted_fault_is_named_with_its_layer_and_step(
    make: Callable[[], trained.Fault], tmp_path: Path
) -> None:
    plan, cause, layers, onset = make()
    first, *_ = diagnosed(trained.train(plan, tmp_path))
    assert first.cause == cause
    assert not layers or first.layer in layers
    assert abs(first.onset - onset) <= 10
    assert first.prescriptions
