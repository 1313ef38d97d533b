"""Work in copies of the process: nothing is pickled on the way, errors come back."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from surefoot.landscape.forks import ForkError, Forks

NET = nn.Linear(2, 1)


def test_calls_are_made_elsewhere_with_what_is_in_memory() -> None:
    secret = {"no pickle": lambda x: x + 1}
    with Forks(2, NET) as forks:
        found = [
            forks.submit(lambda n: (os.getpid(), secret["no pickle"](n)), n)
            for n in range(5)
        ]
        told = [one.result() for one in found]
    assert [value for _, value in told] == [1, 2, 3, 4, 5]
    assert os.getpid() not in {process for process, _ in told}


def test_a_copy_changes_nothing_here() -> None:
    before = NET.weight.detach().clone()

    def write() -> float:
        with torch.no_grad():
            NET.weight.fill_(7.0)
        return float(NET.weight.detach().sum())

    with Forks(1, NET) as forks:
        assert forks.submit(write).result() == 14.0
    assert torch.equal(NET.weight, before)


def test_what_a_call_raises_comes_back() -> None:
    def fail() -> None:
        raise ValueError("no such layer")

    with Forks(1, NET) as forks, pytest.raises(ValueError, match="no such layer"):
        forks.submit(fail).result()


def test_a_copy_that_dies_is_told() -> None:
    with Forks(1, NET) as forks, pytest.raises(ForkError, match="without an answer"):
        forks.submit(lambda: os._exit(3)).result()


def test_after_an_error_nobody_waits_for_what_still_runs() -> None:
    def endless() -> None:
        torch.ones(1).sum()
        while True:
            pass

    made = []

    def interrupted() -> None:
        with Forks(1, NET) as forks:
            made.extend(forks.submit(endless) for _ in range(2))
            while not made[0].running():
                pass
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ForkError):
        made[0].result()
    assert made[1].cancelled()


def test_a_device_is_refused() -> None:
    with pytest.raises(ForkError, match="on meta"):
        Forks(2, nn.Linear(2, 1, device="meta"))
