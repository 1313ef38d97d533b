"""A schedule as one of torch's own schedulers, beside torch's own."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LRScheduler,
    SequentialLR,
)

from surefoot.schedules import (
    Constant,
    Cosine,
    Linear,
    ScheduledLR,
    ScheduleError,
    warm_up,
)


def made(lr: float | torch.Tensor = 0.1) -> torch.optim.SGD:
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    groups = [{"params": weights[:1]}, {"params": weights[1:], "lr": 0.02}]
    return torch.optim.SGD(groups, lr=lr, momentum=0.9)


def rates(
    optimizer: torch.optim.Optimizer, scheduler: LRScheduler, steps: int
) -> list[list[float]]:
    seen = []
    for _ in range(steps):
        seen.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return seen


def test_it_gives_the_rates_of_torchs_lambda() -> None:
    shape = warm_up(Cosine(1.0, 0.0, steps=20), 5)
    ours, theirs = made(), made()
    assert rates(ours, ScheduledLR(ours, shape), 30) == rates(
        theirs, LambdaLR(theirs, shape), 30
    )


def test_it_gives_the_rates_of_torchs_cosine() -> None:
    ours, theirs = made(), made()
    found = rates(ours, ScheduledLR(ours, Cosine(1.0, 0.0, steps=20)), 20)
    expected = rates(theirs, CosineAnnealingLR(theirs, 20), 20)
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected))


def test_a_rate_that_is_not_relative_is_the_same_for_all_groups() -> None:
    optimizer = made()
    scheduler = ScheduledLR(optimizer, Linear(0.0, 0.4, steps=4), relative=False)
    assert rates(optimizer, scheduler, 3) == [[0.0, 0.0], [0.1, 0.1], [0.2, 0.2]]


def test_a_rate_that_is_a_tensor_is_filled_in_place() -> None:
    optimizer = made(torch.tensor(0.1))
    held = optimizer.param_groups[0]["lr"]
    scheduler = ScheduledLR(optimizer, Linear(1.0, 0.0, steps=4))
    found = rates(optimizer, scheduler, 3)
    assert optimizer.param_groups[0]["lr"] is held
    expected = torch.tensor([[0.1, 0.02], [0.075, 0.015], [0.05, 0.01]])
    torch.testing.assert_close(torch.tensor(found), expected)


@pytest.mark.parametrize("stop", [1, 5, 12])
def test_a_resumed_run_goes_on_with_the_identical_rates(stop: int) -> None:
    """Beside torch's own, through files, as a script saves and loads both."""
    shape = warm_up(Cosine(1.0, 0.0, steps=20), 5)
    for make in (lambda o: ScheduledLR(o, shape), lambda o: ExponentialLR(o, 0.9)):
        optimizer = made()
        scheduler = make(optimizer)
        whole = rates(optimizer, scheduler, 30)
        optimizer = made()
        scheduler = make(optimizer)
        rates(optimizer, scheduler, stop)
        file = io.BytesIO()
        torch.save((optimizer.state_dict(), scheduler.state_dict()), file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)
        optimizer = made()
        scheduler = make(optimizer)
        optimizer.load_state_dict(saved[0])
        scheduler.load_state_dict(saved[1])
        assert rates(optimizer, scheduler, 30 - stop) == whole[stop:]


def test_last_epoch_resumes_as_with_torchs_own() -> None:
    found = []
    for make in (ScheduledLR, LambdaLR):
        optimizer = made()
        make(optimizer, Linear(1.0, 0.0, steps=10))
        scheduler = make(optimizer, Linear(1.0, 0.0, steps=10), last_epoch=3)
        found.append(rates(optimizer, scheduler, 4))
    assert found[0] == found[1]
    assert found[0][0][0] == pytest.approx(0.06)


@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_it_is_a_part_of_torchs_sequences() -> None:
    optimizer = made()
    parts: list[LRScheduler] = [
        ScheduledLR(optimizer, Linear(0.0, 1.0, steps=4)),
        ScheduledLR(optimizer, Constant(0.5)),
    ]
    found = rates(optimizer, SequentialLR(optimizer, parts, [4]), 6)
    assert [row[0] for row in found] == pytest.approx(
        [0, 0.025, 0.05, 0.075, 0.05, 0.05]
    )


def test_a_schedule_that_fails_leaves_the_rates_as_they_were() -> None:
    optimizer = made()

    class Broken(type(Constant(1.0))):
        def value(self, step: float) -> float:
            if step > 1:
                raise ScheduleError("the table ended")
            return self.level

    scheduler = ScheduledLR(optimizer, Broken(0.5))
    rates(optimizer, scheduler, 1)
    before = copy.deepcopy(optimizer.state_dict())
    optimizer.step()
    with pytest.raises(ScheduleError, match="table ended"):
        scheduler.step()
    after = [group["lr"] for group in optimizer.state_dict()["param_groups"]]
    assert after == [group["lr"] for group in before["param_groups"]]
