"""Actions after the update: counted, logged, saved, resumed, skipped with it."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from surefoot.schedules import (
    Linear,
    PiecewiseConstant,
    PostSteps,
    ScheduledLR,
    ScheduleError,
    Vary,
    VaryOption,
    after_step,
)
from surefoot.types import Event


class Halve:
    """Halves a weight, and remembers how often: an action with a memory."""

    def __init__(self, weight: torch.Tensor) -> None:
        self.weight, self.times = weight, 0
        self.begun: list[int] = []

    def begin(self, step: int) -> None:
        self.begun.append(step)

    def __call__(self, step: int) -> Mapping[str, Any]:
        self.weight.mul_(0.5)
        self.times += 1
        return {"times": self.times, "norm": float(self.weight.norm())}

    def state_dict(self) -> dict[str, Any]:
        return {"times": self.times}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.times = state["times"]


def made(**options: Any) -> tuple[nn.Parameter, torch.optim.SGD]:
    weight = nn.Parameter(torch.tensor([8.0, 4.0]))
    return weight, torch.optim.SGD([weight], lr=0.1, momentum=0.9, **options)


def step(weight: nn.Parameter, optimizer: torch.optim.Optimizer, times: int) -> None:
    for _ in range(times):
        weight.grad = weight.detach().clone()
        optimizer.step()


# --- when it acts ----------------------------------------------------------------


def test_it_acts_after_the_update_and_without_a_graph() -> None:
    weight, optimizer = made()
    expected = (weight.detach() - 0.1 * weight.detach()) * 0.5
    after_step(optimizer, Halve(weight))
    step(weight, optimizer, 1)
    assert torch.equal(weight, expected)
    assert weight.is_leaf
    assert weight.requires_grad


def test_it_acts_after_every_so_many_updates() -> None:
    weight, optimizer = made()
    handle = after_step(optimizer, Halve(weight), every=3)
    step(weight, optimizer, 10)
    assert [event.step for event in handle.log] == [3, 6, 9]
    assert handle.step == 10


def test_two_actions_act_in_the_order_of_their_registration() -> None:
    weight, optimizer = made()
    order: list[str] = []
    for name in ("first", "second"):
        after_step(optimizer, lambda _, name=name: order.append(name) or {}, name=name)
    step(weight, optimizer, 2)
    assert order == ["first", "second"] * 2


def test_each_line_of_the_log_is_told_and_kept() -> None:
    weight, optimizer = made()
    heard: list[Event] = []
    handle = after_step(optimizer, Halve(weight), tell=heard.append, name="cap")
    quiet = after_step(optimizer, lambda _: {}, tell=heard.append, name="quiet")
    step(weight, optimizer, 2)
    assert heard == list(handle.log)
    assert [event.body["times"] for event in heard] == [1, 2]
    assert {event.kind for event in heard} == {"post_step"}
    assert heard[0].body["action"] == "cap"
    assert not quiet.log


def test_a_removed_action_acts_no_more_and_frees_its_name() -> None:
    weight, optimizer = made()
    with after_step(optimizer, Halve(weight), name="cap") as handle:
        step(weight, optimizer, 1)
    step(weight, optimizer, 1)
    assert handle.action.times == 1
    assert "post_steps" not in optimizer.state_dict()
    again = after_step(optimizer, Halve(weight), name="cap")
    step(weight, optimizer, 1)
    assert again.step == 1


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_a_scaler_skips_does_not_count(fused: bool) -> None:
    weight = nn.Parameter(torch.tensor([8.0, 4.0]))
    optimizer = torch.optim.SGD([weight], lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    handle = after_step(optimizer, Halve(weight))
    values = []
    for factor in (1.0, float("inf"), 1.0):
        optimizer.zero_grad()
        scaler.scale((weight * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        values.append(weight.detach().clone())
    assert handle.step == handle.action.times == 2
    assert torch.equal(values[0], values[1])


def test_gradient_accumulation_counts_updates() -> None:
    weight, optimizer = made()
    handle = after_step(optimizer, Halve(weight))
    for micro in range(8):
        weight.sum().backward()
        if micro % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
    assert handle.step == 2


# --- saved and resumed -----------------------------------------------------------


def _written(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("stop", [1, 2, 5])
def test_a_resumed_run_does_what_an_unbroken_one_does(stop: int) -> None:
    weight, optimizer = made()
    whole = after_step(optimizer, Halve(weight), every=2)
    step(weight, optimizer, 8)
    first, optimizer = made()
    after_step(optimizer, Halve(first), every=2)
    step(first, optimizer, stop)
    saved = _written((first.detach(), optimizer.state_dict()))
    second, optimizer = made()
    handle = after_step(optimizer, Halve(second), every=2)
    with torch.no_grad():
        second.copy_(saved[0])
    optimizer.load_state_dict(saved[1])
    assert handle.action.begun == [0, stop]
    step(second, optimizer, 8 - stop)
    assert torch.equal(second, weight)
    tail = [event for event in whole.log if event.step > stop]
    assert list(handle.log) == tail


def test_two_actions_of_one_optimizer_are_resumed_each_by_its_name() -> None:
    weight, optimizer = made()
    after_step(optimizer, Halve(weight), name="often")
    after_step(optimizer, Halve(weight), every=2, name="seldom")
    step(weight, optimizer, 5)
    saved = _written(optimizer.state_dict())
    told = {name: one["action"]["times"] for name, one in saved["post_steps"].items()}
    assert told == {"often": 5, "seldom": 2}
    _, other = made()
    seldom = after_step(other, Halve(weight), every=2, name="seldom")
    often = after_step(other, Halve(weight), name="often")
    other.load_state_dict(saved)
    assert (seldom.step, seldom.action.times) == (5, 2)
    assert (often.step, often.action.times) == (5, 5)


def test_a_state_from_before_there_were_actions_is_taken() -> None:
    weight, optimizer = made()
    step(weight, optimizer, 3)
    saved = optimizer.state_dict()
    handle = after_step(optimizer, Halve(weight))
    optimizer.load_state_dict(saved)
    assert handle.step == 0


def test_a_state_that_the_optimizer_refuses_leaves_the_action_as_it_was() -> None:
    weight, optimizer = made()
    handle = after_step(optimizer, Halve(weight))
    step(weight, optimizer, 3)
    saved = copy.deepcopy(optimizer.state_dict())
    saved["param_groups"][0]["params"] = [0, 1]
    step(weight, optimizer, 1)
    with pytest.raises(ValueError, match="doesn't match the size"):
        optimizer.load_state_dict(saved)
    assert (handle.step, handle.action.times) == (4, 4)


def test_a_checkpoint_without_an_optimizer_keeps_the_handle() -> None:
    weight, optimizer = made()
    handle = after_step(optimizer, Halve(weight))
    step(weight, optimizer, 3)
    _, other = made()
    again = after_step(other, Halve(weight))
    again.load_state_dict(_written(handle.state_dict()))
    assert (again.step, again.action.times, again.action.begun) == (3, 3, [0, 3])


def test_the_state_of_the_optimizer_itself_is_as_without_actions() -> None:
    weight, optimizer = made()
    plain, other = made()
    after_step(optimizer, lambda _: {}, name="idle")
    step(weight, optimizer, 3)
    step(plain, other, 3)
    found = optimizer.state_dict()
    found.pop("post_steps")
    assert repr(found) == repr(other.state_dict())


# --- what is refused -------------------------------------------------------------


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "2"])
def test_an_impossible_rhythm_is_refused(every: Any) -> None:
    weight, optimizer = made()
    with pytest.raises(ScheduleError, match="1 or more"):
        after_step(optimizer, Halve(weight), every=every)
    assert "post_steps" not in optimizer.state_dict()


def test_a_second_action_of_one_name_is_refused() -> None:
    weight, optimizer = made()
    after_step(optimizer, Halve(weight))
    with pytest.raises(ScheduleError, match="give it another name="):
        after_step(optimizer, Halve(weight))
    step(weight, optimizer, 1)
    assert optimizer.state_dict()["post_steps"]["Halve"]["step"] == 1


def test_an_action_that_cannot_begin_is_not_registered() -> None:
    class Cannot(Halve):
        def begin(self, step: int) -> None:
            raise ScheduleError("not now")

    weight, optimizer = made()
    with pytest.raises(ScheduleError, match="not now"):
        after_step(optimizer, Cannot(weight))
    step(weight, optimizer, 1)
    assert "post_steps" not in optimizer.state_dict()


# --- attributes and options that follow a schedule -------------------------------


def test_a_drop_rate_has_the_value_of_the_coming_step() -> None:
    drop = nn.Dropout(0.3)
    weight, optimizer = made()
    schedule = PiecewiseConstant((0.1, 0.2), at=(2,))
    handle = after_step(optimizer, Vary(drop, "p", schedule=schedule))
    seen = []
    for _ in range(4):
        seen.append(drop.p)
        step(weight, optimizer, 1)
    assert seen == [0.1, 0.1, 0.2, 0.2]
    assert [event.body["p"] for event in handle.log] == [0.1, 0.2, 0.2, 0.2]


def test_a_buffer_is_filled_in_place_and_compiled_code_sees_it() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("sigma", torch.tensor(1.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.sigma

    traced: list[int] = []

    def counting(graph: torch.fx.GraphModule, _: Any) -> Any:
        traced.append(1)
        return graph.forward

    torch._dynamo.reset()
    module = Scale()
    fast = torch.compile(module, fullgraph=True, backend=counting)
    weight, optimizer = made()
    after_step(optimizer, Vary(module, "sigma", schedule=Linear(0.0, 1.0, steps=4)))
    seen = []
    for _ in range(4):
        seen.append(float(fast(torch.ones(()))))
        step(weight, optimizer, 1)
    assert seen == [0.0, 0.25, 0.5, 0.75]
    assert len(traced) == 1


def test_what_follows_a_schedule_goes_on_after_a_resume() -> None:
    schedule = Linear(0.0, 1.0, steps=10)
    weight, optimizer = made()
    drop = nn.Dropout(0.0)
    after_step(optimizer, Vary(drop, "p", schedule=schedule))
    step(weight, optimizer, 4)
    other, second = nn.Dropout(0.0), made()[1]
    after_step(second, Vary(other, "p", schedule=schedule))
    assert other.p == 0.0
    second.load_state_dict(_written(optimizer.state_dict()))
    assert other.p == drop.p == 0.4


def test_the_strength_of_a_penalty_follows_a_schedule() -> None:
    class Penalty:
        strength = 1.0

    penalty = Penalty()
    weight, optimizer = made()
    after_step(optimizer, Vary(penalty, "strength", schedule=Linear(0.0, 0.1, steps=2)))
    step(weight, optimizer, 1)
    assert penalty.strength == 0.05


@pytest.mark.parametrize("attribute", ["absent", "training", "extra_repr"])
def test_what_cannot_vary_is_refused(attribute: str) -> None:
    with pytest.raises(ScheduleError, match="can follow a schedule"):
        Vary(nn.Dropout(0.5), attribute, schedule=Linear(0.0, 1.0, steps=2))


def test_weight_decay_follows_a_schedule_and_groups_keep_their_ratio() -> None:
    weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [
        {"params": [w], "weight_decay": d}
        for w, d in zip(weights, (0.1, 0.4), strict=True)
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    vary = VaryOption(optimizer, "weight_decay", schedule=Linear(0.0, 1.0, steps=4))
    after_step(optimizer, vary)
    found = []
    for _ in range(3):
        found.append([group["weight_decay"] for group in optimizer.param_groups])
        optimizer.step()
    assert found == [[0.0, 0.0], [0.025, 0.1], [0.05, 0.2]]


def test_one_of_two_betas_follows_a_schedule() -> None:
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(1))], betas=(0.9, 0.99))
    schedule = Linear(0.8, 0.9, steps=2)
    after_step(
        optimizer, VaryOption(optimizer, "betas.0", schedule=schedule, relative=False)
    )
    optimizer.step()
    assert optimizer.param_groups[0]["betas"] == (pytest.approx(0.85), 0.99)


def test_an_option_is_resumed_from_its_first_value() -> None:
    schedule = Linear(1.0, 0.0, steps=4)

    def run() -> tuple[torch.optim.Optimizer, PostSteps]:
        optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(1))], weight_decay=0.4)
        vary = VaryOption(optimizer, "weight_decay", schedule=schedule)
        return optimizer, after_step(optimizer, vary)

    optimizer, _ = run()
    optimizer.step()
    optimizer.step()
    again, _ = run()
    again.load_state_dict(_written(optimizer.state_dict()))
    assert again.param_groups[0]["weight_decay"] == pytest.approx(0.2)
    again.step()
    assert again.param_groups[0]["weight_decay"] == pytest.approx(0.1)


@pytest.mark.parametrize("option", ["absent", "nesterov", "betas.7", "params"])
def test_an_option_that_cannot_vary_is_refused(option: str) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    before = repr(optimizer.state_dict())
    with pytest.raises(ScheduleError, match="expected a number that can vary"):
        VaryOption(optimizer, option, schedule=Linear(0.0, 1.0, steps=2))
    assert repr(optimizer.state_dict()) == before


def test_a_torch_scheduler_and_an_action_live_on_one_optimizer() -> None:
    weight, optimizer = made()
    scheduler = ScheduledLR(optimizer, Linear(1.0, 0.0, steps=10))
    handle = after_step(optimizer, Halve(weight))
    for _ in range(3):
        step(weight, optimizer, 1)
        scheduler.step()
    assert handle.step == 3
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.07)
