"""Changes to a live run: each does what it says, is told, and is undone byte-equal."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from surefoot.autopilot.apply import KNOBS, apply_changes, changes_from
from surefoot.autopilot.live import KnobError, Live
from surefoot.types import Change, Event


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 2)
    )


class Bench:
    """A model, an optimizer with a schedule, and what was told."""

    def __init__(self) -> None:
        self.model = net()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.5)
        self.told: list[Event] = []

    def apply(self, *changes: Change) -> Any:
        live = Live({"model": self.model}, [self.optimizer])
        return apply_changes(changes, live, "a test", self.told.append)

    def step(self, scale: float = 1.0) -> list[float]:
        """One update; the rates the optimizer stepped with."""
        seen: list[float] = []
        hook = self.optimizer.register_step_pre_hook(
            lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"])
        )
        self.optimizer.zero_grad()
        (scale * self.model(torch.ones(3, 4)).square().mean()).backward()
        self.optimizer.step()
        hook.remove()
        self.schedule.step()
        return seen


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_rate_is_scaled_without_the_schedule_knowing(bench: Bench) -> None:
    undo = bench.apply(Change("lr", "scale", 0.1))
    rates = [bench.step()[0] for _ in range(3)]
    assert rates == pytest.approx([0.01, 0.005, 0.0025])
    assert bench.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 / 8)
    undo()
    assert bench.step()[0] == pytest.approx(0.1 / 8)
    [event] = bench.told
    assert (event.kind, event.body["before"], event.body["after"]) == (
        "change",
        "lr × 1",
        "lr × 0.1",
    )
    assert event.body["why"] == "a test"


def test_warm_up(bench: Bench) -> None:
    bench.schedule = torch.optim.lr_scheduler.ConstantLR(bench.optimizer, 1.0)
    bench.apply(Change("warmup_steps", "set", 4))
    rates = [bench.step()[0] for _ in range(6)]
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_clipping(bench: Bench) -> None:
    undo = bench.apply(Change("clip_norm", "set", 1e-3))
    bench.step(scale=100.0)
    grads = [p.grad for p in bench.model.parameters()]
    assert torch.nn.utils.get_total_norm(grads) == pytest.approx(1e-3, rel=1e-3)
    undo()
    bench.step(scale=100.0)
    grads = [p.grad for p in bench.model.parameters()]
    assert torch.nn.utils.get_total_norm(grads) > 1e-2


@pytest.mark.parametrize(
    ("knob", "op", "read", "amount", "expected"),
    [
        ("betas.1", "set", lambda group: group["betas"][1], 0.95, 0.95),
        ("eps", "set", lambda group: group["eps"], 1e-6, 1e-6),
        ("eps", "scale", lambda group: group["eps"], 100.0, 1e-6),
        ("weight_decay", "set", lambda group: group["weight_decay"], 0.5, 0.5),
    ],
)
def test_options_hold_while_the_optimizer_steps(
    knob: str, op: str, read: Any, amount: float, expected: float, bench: Bench
) -> None:
    before = copy.deepcopy(bench.optimizer.state_dict()["param_groups"])
    undo = bench.apply(Change(knob, op, amount))
    seen: list[float] = []
    bench.optimizer.register_step_pre_hook(
        lambda optimizer, *_: seen.append(read(optimizer.param_groups[0]))
    )
    bench.schedule = torch.optim.lr_scheduler.ConstantLR(bench.optimizer, 1.0)
    bench.step()
    assert seen == [pytest.approx(expected)]
    after = bench.optimizer.state_dict()["param_groups"]
    assert after[0] | before[0] == after[0]
    undo()
    bench.step()
    assert seen[1] == read(before[0])


def test_changes_of_one_setting_are_lent_and_taken_back_in_any_order(
    bench: Bench,
) -> None:
    first = bench.apply(Change("lr", "scale", 0.5))
    second = bench.apply(Change("lr", "scale", 0.1), Change("warmup_steps", "set", 2))
    assert bench.step() == [pytest.approx(0.1 * 0.5 * 0.1 * 0.5)]
    assert bench.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    first()
    assert bench.step() == [pytest.approx(0.05 * 0.1)]
    second()
    assert bench.step() == [pytest.approx(0.025)]
    assert bench.optimizer.param_groups[0]["lr"] == pytest.approx(0.0125)
    assert not bench.optimizer._optimizer_step_pre_hooks
    assert not bench.optimizer._optimizer_step_post_hooks


def test_a_step_that_raises_leaves_nothing_lent(bench: Bench) -> None:
    bench.apply(Change("lr", "scale", 0.5))

    def broken(*_: Any) -> None:
        raise RuntimeError("the user's own hook")

    hook = bench.optimizer.register_step_pre_hook(broken)
    with pytest.raises(RuntimeError):
        bench.optimizer.step()
    hook.remove()
    assert bench.step() == [pytest.approx(0.05)]
    assert bench.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def test_updates_with_a_non_finite_gradient_are_skipped(bench: Bench) -> None:
    bench.apply(Change("batch", "skip", "nonfinite"))
    bench.step()
    before = copy.deepcopy(bench.model.state_dict())
    bench.step(scale=float("nan"))
    after = bench.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    bench.step()
    assert not torch.equal(before["0.weight"], bench.model.state_dict()["0.weight"])


def test_outliers_are_skipped_once_there_is_a_history(bench: Bench) -> None:
    bench.optimizer = torch.optim.SGD(bench.model.parameters(), lr=1e-6)
    bench.schedule = torch.optim.lr_scheduler.ConstantLR(bench.optimizer, 1.0)
    bench.apply(Change("batch", "skip", "outlier"))
    for _ in range(31):
        bench.step()
    before = copy.deepcopy(bench.model.state_dict())
    bench.step(scale=100.0)
    after = bench.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    bench.step(scale=2.0)
    assert not torch.equal(before["0.weight"], bench.model.state_dict()["0.weight"])


def test_activations_are_replaced_and_put_back(bench: Bench) -> None:
    before = dict(bench.model.named_modules())
    bench.model.eval()
    undo = bench.apply(Change("activation", "replace", "relu", ("1", "3")))
    assert [type(bench.model[i]) for i in (1, 3)] == [nn.ReLU, nn.ReLU]
    assert not bench.model[1].training
    undo()
    assert dict(bench.model.named_modules()) == before


def test_initialisation_is_drawn_apart_from_the_run(bench: Bench) -> None:
    before = copy.deepcopy(bench.model.state_dict())
    stream = torch.get_rng_state()
    undo = bench.apply(Change("init", "set", "kaiming_normal", ("0", "2")))
    assert torch.equal(torch.get_rng_state(), stream)
    assert bench.model[0].bias.abs().max() == 0
    assert not torch.equal(bench.model[0].weight, before["0.weight"])
    assert torch.equal(bench.model[4].weight, before["4.weight"])
    undo()
    after = bench.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_norms_are_inserted_before_activations(bench: Bench) -> None:
    x = torch.randn(5, 4)
    hidden = bench.model[0](x)
    expected = torch.sigmoid(functional.layer_norm(hidden, (6,)))
    names = [name for name, _ in bench.model.named_parameters()]
    undo = bench.apply(Change("norm", "insert", "layer_norm"))
    assert torch.equal(bench.model[1](hidden), expected)
    assert [name for name, _ in bench.model.named_parameters()] == names
    image = torch.randn(2, 6, 3, 3)
    channels_last = functional.layer_norm(image.movedim(1, -1), (6,)).movedim(-1, 1)
    assert torch.equal(bench.model[1](image), torch.sigmoid(channels_last))
    undo()
    assert torch.equal(bench.model[1](hidden), torch.sigmoid(hidden))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Change("moon", "set", 1.0), "expected one of: lr scale"),
        (Change("lr", "scale", "half"), "expected a finite number"),
        (Change("lr", "scale", float("nan")), "expected a finite number"),
        (Change("activation", "replace", "quadratic"), "expected one of relu"),
        (Change("activation", "replace", "relu", ("7",)), "expected modules"),
        (Change("init", "set", "magic"), "expected kaiming_normal"),
        (Change("norm", "insert", "batch_norm"), "expected 'layer_norm'"),
        (Change("momentum", "set", 0.9), "with the option 'momentum'"),
        (Change("batch", "skip", "all"), "expected 'nonfinite' or"),
        (Change("batch", "skip", "suspect"), "numbers of the steps"),
        (Change("clip_norm", "set", 0.0), "expected a finite number above zero"),
        (Change("clip", "set", "hard"), "expected 'adaptive' or"),
        (Change("moments", "reset", "all"), "that has made a step"),
        (Change("moments", "shorten", 10.0), "that has made a step"),
        (Change("layer", "freeze", ""), "expected the names"),
        (Change("layer", "freeze", "", ("0", "2", "4")), "all that is trained"),
        (Change("skip", "insert", 1.0, ("0",)), "the shape they take in"),
        (Change("precision", "set", "float64"), "expected 'float32'"),
    ],
)
def test_what_cannot_be_done_is_refused_and_undone(
    change: Change, message: str, bench: Bench
) -> None:
    with pytest.raises(KnobError, match=message):
        bench.apply(Change("activation", "replace", "relu"), change)
    assert isinstance(bench.model[1], nn.Sigmoid)


def test_functional_activations_are_refused_by_name() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(self.layer(x))

    live = Live({"model": Net()}, [])
    with pytest.raises(KnobError, match="without activation modules"):
        apply_changes([Change("activation", "replace", "relu")], live, "", print)


def test_changes_travel_as_json() -> None:
    text = '[{"knob": "norm", "op": "insert", "amount": "layer_norm", "layers": ["1"]}]'
    assert changes_from(text) == (Change("norm", "insert", "layer_norm", ("1",)),)
    for bad in (
        "nonsense",
        "[1]",
        '[{"knob": "lr"}]',
        '[{"knob":"lr","op":"x","amount":[]}]',
    ):
        with pytest.raises(KnobError, match="expected a JSON list"):
            changes_from(bad)


def test_every_knob_is_named_once() -> None:
    pairs = [(knob, op) for knob, op, _ in KNOBS]
    assert len(pairs) == len(set(pairs))
