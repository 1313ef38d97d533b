"""Stale statistics are recalibrated before an evaluation; all else is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from surefoot.autopilot.norm_statistics import NormStatistics, statistics_gap
from surefoot.nn.norm import NormError
from surefoot.nn.norm.recalibrate import tracked_norms
from surefoot.types import Event
from surefoot.zoo.datasets import digits, held_out_digits


class Bench:
    """Digits, a net with batch norms of some momentum, and what was told."""

    def __init__(self, seed: int, momentum: float) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(
            nn.Linear(64, 32),
            nn.BatchNorm1d(32, momentum=momentum),
            nn.ReLU(),
            nn.Linear(32, 32),
            nn.BatchNorm1d(32, momentum=momentum),
            nn.ReLU(),
            nn.Linear(32, 10),
        )
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.generator = torch.Generator().manual_seed(seed)
        self.told: list[Event] = []

    def train(self, steps: int = 120) -> Bench:
        x, y = digits()
        for _ in range(steps):
            at = torch.randint(len(x), (32,), generator=self.generator)
            self.optimizer.zero_grad()
            functional.cross_entropy(self.model(x[at]), y[at]).backward()
            self.optimizer.step()
        return self

    def held_out_loss(self) -> float:
        x, y = held_out_digits()
        modes = [module.training for module in self.model.modules()]
        self.model.eval()
        with torch.no_grad():
            loss = functional.cross_entropy(self.model(x), y).item()
        for module, mode in zip(self.model.modules(), modes, strict=True):
            module.training = mode
        return loss


@pytest.mark.parametrize("seed", [1, 3, 5])
@pytest.mark.parametrize("momentum", [0.0, 3e-3])
def test_stale_statistics_are_put_right_before_an_evaluation(
    seed: int, momentum: float
) -> None:
    left_alone = Bench(seed, momentum).train().held_out_loss()
    healthy = Bench(seed, 0.1).train().held_out_loss()
    bench = Bench(seed, momentum)
    with NormStatistics(bench.model, tell=bench.told.append):
        treated = bench.train().held_out_loss()
    [event] = bench.told
    # Nearly all that the fault cost comes back.
    assert left_alone - treated > 0.8 * (left_alone - healthy) > 0
    body = event.body
    assert (body["knob"], body["before"]) == ("norm_statistics", "running averages")
    assert "deviations off" in body["why"]


def frozen(bench: Bench) -> None:
    for norm in tracked_norms(bench.model).values():
        norm.eval()


def evaluating(bench: Bench) -> None:
    bench.model.eval()


def nothing(bench: Bench) -> None:
    """A healthy run."""


@pytest.mark.parametrize("change", [nothing, frozen, evaluating])
@pytest.mark.parametrize("seed", [1, 3])
def test_healthy_runs_and_models_fitted_to_their_averages_are_left_alone(
    seed: int, change: Callable[[Bench], None]
) -> None:
    """A norm that is frozen, or a whole model that trains in evaluation mode."""
    momentum = 0.1 if change is nothing else 1e-3
    losses = []
    for watched in (False, True):
        bench = Bench(seed, momentum)
        change(bench)
        told = bench.told
        hook = NormStatistics(bench.model, tell=told.append) if watched else None
        losses += [bench.train().held_out_loss(), bench.train().held_out_loss()]
        assert (hook is None) != watched
        assert told == []
    assert losses[:2] == losses[2:]


def stale_net() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, momentum=0.0), nn.ReLU())
    return net, torch.randn(64, 4) + 3


def test_an_evaluation_is_recalibrated_once_and_undone() -> None:
    net, x = stale_net()
    told: list[Event] = []
    norms = NormStatistics(net, tell=told.append, step=lambda: 7)
    net(x)
    net.eval()
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    with torch.no_grad():
        seen = net(x), net(x)
    assert torch.equal(*seen)
    assert [event.step for event in told] == [7]
    norms.undo()
    assert (told[1].kind, told[1].body["of"]) == ("undo", 7)
    for name, buffer in net.named_buffers():
        assert torch.equal(buffer, before[name]), name
    norms.close()
    net.train()(x)
    with torch.no_grad():
        net.eval()(x)
    assert len(told) == 2


def test_comparing_leaves_no_trace() -> None:
    net, x = stale_net()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    stream = torch.get_rng_state()
    gap = statistics_gap(net, [((x,), {})])
    assert gap.alarm
    assert gap.apart > 100 * gap.nearer
    assert all(torch.equal(state[name], one) for name, one in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), stream)
    assert net.training


def test_evaluation_without_training_before_it_changes_nothing() -> None:
    net, x = stale_net()
    told: list[Event] = []
    with NormStatistics(net, tell=told.append), torch.no_grad():
        net.eval()(x)
    assert told == []


def test_models_with_keyword_arguments_and_several_outputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3, momentum=1e-3)

        def forward(self, *, x: torch.Tensor) -> dict[str, Any]:
            return {"y": self.norm(x), "count": len(x), "classes": x.argmax(1)}

    net = Two()
    gap = statistics_gap(net, [((), {"x": torch.randn(50, 3) + 5})] * 3)
    assert gap.alarm
    assert gap.layer == "norm"


def test_a_model_without_batch_norms_is_refused() -> None:
    with pytest.raises(NormError, match="without batch norms"):
        NormStatistics(nn.Linear(2, 2))
