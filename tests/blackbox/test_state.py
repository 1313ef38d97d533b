"""A state that was put back goes on as the original did, bit for bit."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from surefoot.blackbox.errors import StateError
from surefoot.blackbox.state import Trained, capture, companions, restore


class Net(nn.Module):
    """Batch norm, dropout, a tied weight, buffers of all kinds, a counter, extras."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(6)
        self.drop = nn.Dropout(0.3)
        self.frozen = nn.Parameter(torch.ones(6), requires_grad=False)
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.calls = 0
        self.told = {"calls": 0}

    def get_extra_state(self) -> Any:
        return dict(self.told)

    def set_extra_state(self, state: Any) -> None:
        self.told = dict(state)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.told["calls"] += 1
        self.seen += random.random() + float(np.random.rand())
        hidden = self.drop(self.norm(self.first(x))) * self.frozen
        return self.second(hidden.relu()) * (1 + self.calls / 100)


Make = Callable[[Any], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "sgd_plain": lambda p: torch.optim.SGD(p, lr=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, foreach=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "adam_lr_tensor": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01)),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
    "radam": lambda p: torch.optim.RAdam(p, lr=0.01),
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "adadelta": lambda p: torch.optim.Adadelta(p),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
}


class Training:
    """A net, its optimizer, a schedule, and steps on data that follow the streams."""

    def __init__(self, make: Make) -> None:
        torch.manual_seed(0)
        self.net = Net()
        self.optimizer = make([p for p in self.net.parameters() if p.requires_grad])
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
            self.optimizer, 5
        )
        self.trained = Trained(
            {"net": self.net}, {"main": self.optimizer}, {"schedule": self.schedule}
        )

    def steps(self, count: int) -> list[float]:
        losses: list[float] = []
        for _ in range(count):
            x = torch.randn(8, 6)

            def closure(x: torch.Tensor = x) -> torch.Tensor:
                self.optimizer.zero_grad()
                loss = (self.net(x) - x).square().mean()
                loss.backward()
                return loss

            losses.append(self.optimizer.step(closure).item())
            self.schedule.step()
        return losses

    def everything(self) -> list[Any]:
        found: list[Any] = [
            t.tolist()
            for t in self.net.state_dict().values()
            if isinstance(t, torch.Tensor)
        ]
        found += [self.net.seen.item(), self.net.calls, dict(self.net.told)]
        found += [m.training for m in self.net.modules()]
        found += [
            _plain(self.optimizer.state_dict()),
            _plain(self.schedule.state_dict()),
        ]
        found += [torch.get_rng_state().tolist(), random.getstate()]
        return [*found, np.random.get_state()[1].tolist()]


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), value.tolist())
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_from_a_state_as_it_did(name: str) -> None:
    one = Training(OPTIMIZERS[name])
    one.steps(4)
    weight = one.net.first.weight
    state = capture(one.trained, 4)
    then, losses = one.everything(), one.steps(5)
    after = one.everything()
    assert after != then
    restore(state, one.trained)
    assert one.everything() == then
    assert one.net.first.weight is weight is one.net.second.weight
    assert one.steps(5) == losses
    assert one.everything() == after
    # The state is no view of anything live: it can be put back once more.
    restore(state, one.trained)
    assert one.everything() == then


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fresh_objects_go_on_from_a_state_as_well(name: str) -> None:
    one, other = Training(OPTIMIZERS[name]), Training(OPTIMIZERS[name])
    one.steps(4)
    state = capture(one.trained, 4)
    losses = one.steps(5)
    after = one.everything()
    restore(state, other.trained)
    assert other.steps(5) == losses
    assert other.everything() == after


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lbfgs"])
def test_a_state_from_before_the_first_step_makes_an_optimizer_fresh(name: str) -> None:
    one = Training(OPTIMIZERS[name])
    state = capture(one.trained, 0)
    losses = one.steps(3)
    restore(state, one.trained)
    assert not one.optimizer.state or name == "lbfgs"
    assert one.steps(3) == losses


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.complex64, torch.float64])
def test_other_number_formats_are_kept_as_they_are(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = nn.Linear(3, 3, dtype=dtype)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = net(torch.ones(2, 3, dtype=dtype)).abs().float().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step()
    trained = Trained({"net": net}, {"main": optimizer})
    state = capture(trained, 1)
    first = torch.stack([step() for _ in range(3)])
    fresh = nn.Linear(3, 3, dtype=dtype)
    again = Trained(
        {"net": fresh}, {"main": torch.optim.Adam(fresh.parameters(), lr=0.5)}
    )
    restore(state, again)
    net, optimizer = fresh, again.optimizers["main"]
    assert torch.equal(torch.stack([step() for _ in range(3)]), first)


def test_half_state_of_float_moments_is_not_cast() -> None:
    """torch's own load_state_dict would make them bfloat16."""
    net = nn.Linear(3, 3, dtype=torch.bfloat16)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    optimizer.state[net.weight]["momentum_buffer"] = torch.full((3, 3), 1 / 3)
    state = capture(Trained({"n": net}, {"o": optimizer}), 0)
    optimizer.state.clear()
    restore(state, Trained({"n": net}, {"o": optimizer}))
    kept = optimizer.state[net.weight]["momentum_buffer"]
    assert kept.dtype == torch.float32
    assert torch.equal(kept, torch.full((3, 3), 1 / 3))


def test_what_does_not_fit_is_named_and_nothing_is_half_done() -> None:
    one = Training(OPTIMIZERS["adam"])
    one.steps(2)
    state = capture(one.trained, 2)
    other = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
    sgd = torch.optim.SGD(other.parameters(), lr=1)
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(StateError, match=r"only the model has 0\.weight; .* 10 more"):
        restore(state, Trained({"net": other}, {"main": sgd}))
    assert all(torch.equal(before[k], v) for k, v in other.state_dict().items())


def test_a_companion_that_refuses_leaves_all_as_it_was() -> None:
    class Picky:
        value = 1

        def state_dict(self) -> dict[str, int]:
            return {"value": self.value}

        def load_state_dict(self, state: dict[str, int]) -> None:
            raise RuntimeError("not today")

    one = Training(OPTIMIZERS["adam"])
    trained = Trained(
        one.trained.models,
        one.trained.optimizers,
        {"schedule": one.schedule, "picky": Picky()},
    )
    state = capture(trained, 0)
    one.steps(3)
    then = one.everything()
    with pytest.raises(StateError, match="picky refused"):
        restore(state, trained)
    assert one.everything() == then


def test_an_optimizer_of_another_kind_is_refused() -> None:
    one, other = Training(OPTIMIZERS["adam"]), Training(OPTIMIZERS["sgd"])
    with pytest.raises(StateError, match="was Adam and is SGD"):
        restore(capture(one.trained, 0), other.trained)


def test_weights_without_values_are_refused() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(3))
    optimizer = torch.optim.SGD(net[0].parameters(), lr=0.1)
    with pytest.raises(StateError, match=r"1\.weight.* has no values yet"):
        capture(Trained({"net": net}, {"main": optimizer}), 0)


def test_companions_are_found_without_those_of_others_or_their_parts() -> None:
    weights = [nn.Parameter(torch.ones(2))]
    mine, others = torch.optim.SGD(weights, lr=1), torch.optim.SGD(weights, lr=1)
    made = torch.optim.lr_scheduler
    chain = made.SequentialLR(
        mine, [made.ConstantLR(mine), made.ExponentialLR(mine, 0.9)], [3]
    )
    foreign = made.StepLR(others, 3)
    scaler = torch.amp.GradScaler("cpu")
    found = list(companions([mine]).values())
    assert any(one is chain for one in found)
    assert any(one is scaler for one in found)
    assert not any(one is foreign or isinstance(one, made.ConstantLR) for one in found)


def test_memory_of_an_old_state_is_written_over() -> None:
    one = Training(OPTIMIZERS["adam"])
    one.steps(2)
    old = capture(one.trained, 2)
    memory = {name: t.data_ptr() for name, t in old.tensors.items()}
    one.steps(1)
    new = capture(one.trained, 3, reuse=old)
    kept = [name for name, t in new.tensors.items() if memory.get(name) == t.data_ptr()]
    assert len(kept) == len(memory)
    losses = one.steps(2)
    restore(new, one.trained)
    assert one.steps(2) == losses


def test_names_are_those_inside_of_wrappers() -> None:
    net = nn.Linear(2, 2)
    wrapped = torch.compile(net, backend="eager")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    state = capture(Trained({"net": wrapped}, {"main": optimizer}), 0)
    restore(state, Trained({"net": net}, {"main": optimizer}))
    assert "models/net/weight" in state.tensors
