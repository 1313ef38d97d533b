"""The live autopilot: hooks on real optimizers, and what is left of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from surefoot.autopilot.apply import apply_changes
from surefoot.autopilot.live import KnobError, Live
from surefoot.autopilot.pilot import Pilot
from surefoot.autopilot.policy import Policy
from surefoot.types import Change, Event

Made = Callable[[Any], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Made] = {
    "sgd": lambda w: torch.optim.SGD(w, lr=0.05),
    "momentum": lambda w: torch.optim.SGD(w, lr=0.05, momentum=0.9, nesterov=True),
    "adamw": lambda w: torch.optim.AdamW(w, lr=0.01),
    "amsgrad": lambda w: torch.optim.Adam(w, lr=0.01, amsgrad=True),
    "fused": lambda w: torch.optim.AdamW(w, lr=0.01, fused=True),
    "rmsprop": lambda w: torch.optim.RMSprop(w, lr=0.003),
    "groups": lambda w: torch.optim.AdamW(
        [{"params": w[:2], "lr": 0.02}, {"params": w[2:], "betas": (0.8, 0.99)}]
    ),
    "tensor_lr": lambda w: torch.optim.Adam(w, lr=torch.tensor(0.01), foreach=False),
}


class Training:
    """A small classifier on noise, told to an autopilot before each update."""

    def __init__(self, make: Made = OPTIMIZERS["adamw"], mode: Any = "steer") -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 3)
        )
        self.optimizer = make(list(self.model.parameters()))
        self.told: list[Event] = []
        self.live = Live({"m": self.model}, [self.optimizer])
        policy = mode if isinstance(mode, Policy) else Policy(mode=mode)
        self.pilot = Pilot(self.live, policy, tell=self.told.append)
        self.data = torch.Generator().manual_seed(1)
        self.step = 0

    @property
    def helm(self) -> Any:
        return self.pilot.helms[0]

    def loss(self) -> Tensor:
        x = torch.randn(32, 6, generator=self.data)
        y = (x[:, 0] + 0.5 * x[:, 1] > 0).long() + (x[:, 2] > 0.5).long()
        return functional.cross_entropy(self.model(x), y)

    def train(self, steps: int, times: Callable[[int], float] = lambda s: 1.0) -> Any:
        for _ in range(steps):
            loss = self.loss() * times(self.step)
            self.pilot.see_loss(loss)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.step += 1
        return self

    def weights(self) -> list[Tensor]:
        return [w.detach().clone() for w in self.model.state_dict().values()]

    def done(self, knob: str) -> list[Event]:
        return [one for one in self.told if one.body.get("knob") == knob]


@pytest.fixture(params=OPTIMIZERS)
def make(request: pytest.FixtureRequest) -> Made:
    return OPTIMIZERS[request.param]


@pytest.fixture
def training() -> Iterator[Training]:
    one = Training()
    yield one
    one.pilot.close()


def same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


# --- guard on a healthy run ---


def test_guard_leaves_a_healthy_run_bit_identical(make: Made) -> None:
    guarded = Training(make, "guard").train(60)
    assert same(guarded.weights(), Training(make, "advise").train(60).weights())
    assert guarded.told == []


@pytest.mark.parametrize("lag", [0, 4])
def test_guard_skips_what_is_not_finite(lag: int, make: Made) -> None:
    training = Training(make, "guard")
    training.helm.lag = lag
    training.train(20, nan_at_9_and_10)
    assert all(torch.isfinite(w).all() for w in training.weights())
    assert len([e for e in training.told if "skipped" in e.body["after"]]) == 2
    assert training.done("state") == []


def test_an_update_that_is_skipped_leaves_no_trace(make: Made) -> None:
    training = Training(make, "guard").train(9)
    before = copy.deepcopy(training.optimizer.state_dict())
    weights = training.weights()
    training.train(1, infinite)
    assert same(weights, training.weights())  # running statistics, too
    assert torch.equal(
        torch.tensor(_flat(before)),
        torch.tensor(_flat(training.optimizer.state_dict())),
    )
    assert all(w.grad is not None for w in training.model.parameters())


def infinite(step: int) -> float:
    return math.inf


def nan_at_9_and_10(step: int) -> float:
    return math.nan if step in (9, 10) else 1.0


def _flat(state: Any) -> list[float]:
    """All numbers of a state dict in their order."""
    if isinstance(state, Tensor):
        return state.double().flatten().tolist()
    if isinstance(state, dict):
        return [x for key in state for x in _flat(state[key])]
    if isinstance(state, (list, tuple)):
        return [x for one in state for x in _flat(one)]
    return [float(state)] if isinstance(state, (int, float)) else []


@pytest.mark.parametrize("fused", [False, True])
def test_with_a_lag_running_statistics_forget_the_batch(fused: bool) -> None:
    training = Training(lambda w: torch.optim.AdamW(w, lr=0.01, fused=fused), "guard")
    training.helm.lag = 4
    training.train(9)
    running = [b.clone() for b in training.model.buffers()]
    training.train(1, infinite)
    assert same(running, list(training.model.buffers()))
    training.train(1)
    assert not same(running, list(training.model.buffers()))


# --- what steer does ---


def test_divergence_is_taken_back() -> None:
    training = Training(lambda w: torch.optim.SGD(w, lr=0.3), "steer").train(45)
    kept = training.helm.brake.states[40]
    training.helm.brake.factor = 1.0
    good = [one.clone() for name, one in kept.tensors.items() if "weight" in name]
    with torch.no_grad():
        for weight in training.model.parameters():
            weight.mul_(60.0)
    training.train(8)
    [restored] = training.done("state")[:1]
    assert restored.body["after"] == "weights and moments of step 40"
    assert "diverges" in restored.body["why"]
    assert good
    assert training.helm.state.rate <= 0.5
    largest = max(w.abs().max().item() for w in training.model.parameters())
    assert largest < 10


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("lag", [0, 4])
def test_a_rate_far_too_high_trains_all_the_same(lag: int, late: bool) -> None:
    def final(mode: str) -> float:
        training = Training(lambda w: torch.optim.SGD(w, lr=300.0, momentum=0.9), mode)
        for helm in training.pilot.helms:
            helm.lag = lag
        losses = list[float]()
        for _ in range(150):
            loss = training.loss()
            if not late:
                training.pilot.see_loss(loss)
            training.optimizer.zero_grad()
            loss.backward()
            training.optimizer.step()
            if late:
                training.pilot.see_loss(loss)
            losses.append(loss.item())
        return sum(losses[-20:]) / 20

    assert final("steer") < 2 < 20 < final("advise")


def test_a_rate_far_too_low_is_raised() -> None:
    low: Made = lambda w: torch.optim.AdamW(w, lr=1e-5)  # noqa: E731
    steered = Training(low, "steer").train(150)
    plain = Training(low, "advise").train(150)
    assert steered.loss().item() < 0.7 * plain.loss().item()
    assert steered.optimizer.param_groups[0]["lr"] == 1e-5
    factors = [e.body["after"] for e in steered.done("step")]
    assert 2 < len(factors) < 20


def test_a_schedule_never_sees_the_factor() -> None:
    training = Training(lambda w: torch.optim.AdamW(w, lr=1e-5), "steer")
    schedule = torch.optim.lr_scheduler.ExponentialLR(training.optimizer, 0.99)
    for step in range(60):
        training.train(1)
        schedule.step()
        assert schedule.get_last_lr()[0] == pytest.approx(1e-5 * 0.99 ** (step + 1))
        saved = training.optimizer.state_dict()["param_groups"][0]["lr"]
        assert saved == training.optimizer.param_groups[0]["lr"]
    assert training.helm.state.factor > 2


def test_going_back_keeps_what_a_schedule_set() -> None:
    training = Training().train(30)
    training.optimizer.param_groups[0]["lr"] = 0.123
    training.optimizer.param_groups[0]["betas"] = (0.85, 0.99)
    training.helm.brake.put_back(training.helm.brake.states[20])
    group = training.optimizer.param_groups[0]
    assert (group["lr"], group["betas"]) == (0.123, (0.85, 0.99))


def test_updates_are_shortened_tensor_by_tensor() -> None:
    training = Training().train(10)
    training.helm.state = replace(
        training.helm.state, moments=replace(training.helm.state.moments, cap=1e-3)
    )
    training.helm.brake.cap = 1e-3
    before = [w.detach().clone() for w in training.model.parameters()]
    training.train(1)
    for was, now in zip(before, training.model.parameters(), strict=True):
        most = 1e-3 * max(was.norm().item(), 0.02 * was.numel() ** 0.5)
        assert (now - was).norm().item() <= most * 1.001


# --- the changes, one by one ---


def test_each_change_of_a_step_is_undone() -> None:
    training = Training(mode="guard").train(3)
    live = Live({"m": training.model}, [training.optimizer], brake=training.helm.brake)
    before = training.weights()
    changes = [
        Change("step", "scale", 0.5),
        Change("step", "cap", 0.1),
        Change("step", "skip", 1),
        Change("gradient", "scale", 0.5),
        Change("state", "restore", 0),
    ]
    undo = apply_changes(changes, live, "a test", training.told.append)
    assert not same(before, training.weights())
    assert len(training.told) == len(changes)
    undo()
    assert same(before, training.weights())
    assert training.helm.brake.idle


def test_a_state_that_is_not_kept(training: Training) -> None:
    training.train(3)
    live = Live({"m": training.model}, [training.optimizer], brake=training.helm.brake)
    with pytest.raises(KnobError, match="states are kept of the steps 0"):
        apply_changes([Change("state", "restore", 2)], live, "", training.told.append)
    with pytest.raises(KnobError, match="run without an autopilot"):
        apply_changes(
            [Change("step", "skip", 1)], training.live, "", training.told.append
        )


# --- what it refuses and survives ---


def test_two_autopilots_on_one_optimizer(training: Training) -> None:
    with pytest.raises(KnobError, match="a second autopilot came for one AdamW"):
        Pilot(training.live, Policy(mode="guard"), tell=training.told.append)
    training.pilot.close()
    Pilot(training.live, Policy(mode="guard"), tell=training.told.append).close()


def test_optimizers_with_a_closure() -> None:
    model = nn.Linear(2, 1)
    lbfgs = torch.optim.LBFGS(model.parameters())
    told: list[Event] = []
    with pytest.raises(KnobError, match="without a closure"):
        Pilot(Live({"m": model}, [lbfgs]), Policy(mode="guard"), tell=told.append)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    Pilot(Live({"m": model}, [sgd]), Policy(mode="guard"), tell=told.append)

    def closure() -> Tensor:
        sgd.zero_grad()
        loss = model(torch.ones(1, 2)).sum()
        loss.backward()
        return loss

    before = model.weight.detach().clone()
    sgd.step(closure)
    sgd.step(closure)
    assert not torch.equal(before, model.weight)
    assert [one.body["what"] for one in told] == ["off"]


def test_closed_means_gone(training: Training) -> None:
    training.train(5)
    training.pilot.close()
    hooks = vars(training.optimizer)
    assert not hooks["_optimizer_step_pre_hooks"]
    assert not hooks["_optimizer_step_post_hooks"]
    training.train(2, lambda step: math.nan)
    assert training.told == []


def test_no_room_for_a_state() -> None:
    training = Training(mode=Policy(mode="steer", memory="100B")).train(50)
    [event] = [e for e in training.told if e.body.get("what") == "no states are kept"]
    assert "memory= allows 100" in event.body["why"]
    assert training.helm.brake.states == {}
    with torch.no_grad():
        training.model[0].weight.mul_(1e4)
    training.train(10)
    assert training.done("state") == []


def test_room_for_two_states() -> None:
    size = Training(mode="guard").train(25).helm.brake.states[20].nbytes
    training = Training(mode=Policy(mode="guard", memory=2 * size)).train(100)
    assert list(training.helm.brake.states) == [60, 80]


def nothing(step: int) -> float:
    return step / 0


def test_an_error_of_its_own_costs_the_autopilot_not_the_run() -> None:
    training = Training().train(3)
    training.helm._gauges.arm = nothing
    training.train(3)
    assert [one.body["what"] for one in training.told] == ["off"]
    assert "ZeroDivisionError" in training.told[0].body["why"]


def test_a_loss_of_nan_at_every_update_is_said_once() -> None:
    training = Training(mode="guard").train(40, lambda step: math.nan)
    quiet = [one for one in training.told if one.body.get("what") == "quiet"]
    assert len(quiet) == 1
    assert "not in the weights" in quiet[0].body["why"]
    assert training.done("state") == []


def test_each_optimizer_is_judged_by_itself() -> None:
    torch.manual_seed(0)
    one, two = nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    sgds = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (one, two)]
    told: list[Event] = []
    live = Live({"one": one, "two": two}, sgds)
    pilot = Pilot(live, Policy(mode="guard"), tell=told.append)
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    for step in range(12):
        for model, sgd in zip((one, two), sgds, strict=True):
            bad = math.nan if model is two and step == 8 else 1.0
            loss = model(x).square().mean() * bad
            pilot.see_loss(loss, optimizer=sgd)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
    assert len(told) == 1
    assert all(torch.isfinite(w).all() for w in two.parameters())
    assert pilot.helms[0].state.moved == 12
    assert pilot.helms[1].state.moved == 11
    names = pilot.helms[1].brake.states[0].tensors
    assert sum("buffer" in name for name in names) == 3


def test_gradient_accumulation_counts_updates() -> None:
    training = Training(mode="guard")
    for step in range(24):
        loss = training.loss() / 3
        training.pilot.see_loss(loss * 3)
        loss.backward()
        if step % 3 == 2:
            training.optimizer.step()
            training.optimizer.zero_grad()
    assert training.helm.state.moved == 8
    assert training.told == []


@pytest.mark.parametrize("mode", ["guard", "steer"])
@pytest.mark.parametrize("lag", [0, 4])
def test_where_gradients_are_never_cleared_it_says_so_and_does_nothing(
    mode: str, lag: int
) -> None:
    def trained(mode: str) -> Training:
        training = Training(lambda w: torch.optim.SGD(w, lr=0.05), mode)
        for helm in training.pilot.helms:
            helm.lag = lag
        training.optimizer.zero_grad = lambda set_to_none=True: None
        return training.train(60)

    steered = trained(mode)
    [event] = steered.told
    assert "zero_grad() missing" in event.body["why"]
    assert event.step <= 4 + lag
    assert same(steered.weights(), trained("advise").weights())


def test_norms_that_were_measured_already_are_used() -> None:
    training = Training(mode="guard").train(3)
    weights = list(training.model.parameters())
    taken: list[float] = []

    def measured() -> list[float]:
        taken.append(1.0)
        norms = [float("nan") if w.grad is None else w.grad.norm() for w in weights]
        return [float(norm) for norm in norms]

    training.helm._measured = measured
    training.train(5)
    ours = training.helm.state.norms
    training.helm._measured = lambda: None
    assert len(taken) == 5
    other = Training(mode="guard").train(8)
    assert ours == pytest.approx(other.helm.state.norms, rel=1e-5)


def test_an_update_that_another_change_shortens_is_measured_afterwards() -> None:
    training = Training(mode="advise")
    apply_changes([Change("clip_norm", "set", 1e-3)], training.live, "", lambda e: None)
    policy = Policy(mode="steer")
    pilot = Pilot(
        training.live, policy, tell=training.told.append, measured=lambda o: [99.0] * 6
    )
    training.pilot = pilot
    training.train(3)
    assert max(training.helm.state.norms) < 2e-3
    pilot.close()


def test_a_run_of_known_length_is_not_raised_in_its_second_half() -> None:
    low: Made = lambda w: torch.optim.AdamW(w, lr=1e-5)  # noqa: E731
    short = Training(low, Policy(mode="steer", steps=40)).train(100)
    free = Training(low, Policy(mode="steer")).train(100)
    assert 1 < short.helm.state.factor < free.helm.state.factor / 3
