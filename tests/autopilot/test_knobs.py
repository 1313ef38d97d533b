"""Each knob alone: what it does to the next updates, and that its undo is bit-equal."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surefoot.autopilot.apply import KNOBS, apply_changes
from surefoot.autopilot.live import Applied, KnobError, Live
from surefoot.schedules.stepping import steps_of
from surefoot.testing.knobs import check_knob
from surefoot.types import Change, Event


class Loop:
    """A small net that trains, and what the changes told."""

    def __init__(self, optimizer: Any = torch.optim.Adam, **options: Any) -> None:
        torch.manual_seed(0)
        self.model: Any = nn.Sequential(
            nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)
        )
        self.optimizer = optimizer(self.model.parameters(), lr=0.01, **options)
        self.random = torch.Generator().manual_seed(1)
        self.told: list[Event] = []
        self.steps = 0

    def apply(self, *changes: Change) -> Callable[[], None]:
        live = Live({"model": self.model}, [self.optimizer], step=self.steps)
        return apply_changes(changes, live, "a test", self.told.append)

    def step(self, scale: float = 1.0) -> list[Tensor]:
        """One update; the gradients it was made with, as the optimizer saw them."""
        seen: list[Tensor] = []
        hook = self.optimizer.register_step_pre_hook(
            lambda optimizer, *_: seen.extend(
                p.grad.clone() for p in self.model.parameters() if p.grad is not None
            )
        )
        self.optimizer.zero_grad()
        x = torch.randn(32, 4, generator=self.random)
        (scale * (self.model(x) - x[:, :2].sin()).square().mean()).backward()
        self.optimizer.step()
        hook.remove()
        self.steps += 1
        return seen

    def bits(self) -> list[Tensor]:
        """All numbers of model and optimizer."""
        state = self.optimizer.state_dict()["state"]
        rows = [state[number] for number in sorted(state)]
        moments = [v for row in rows for v in row.values() if isinstance(v, Tensor)]
        return [t.clone() for t in (*self.model.state_dict().values(), *moments)]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return len(first) == len(second) and all(map(torch.equal, first, second))


EXAMPLES = (
    Change("lr", "scale", 0.5),
    Change("warmup_steps", "set", 5),
    Change("clip_norm", "set", 0.01),
    Change("clip", "set", "adaptive"),
    Change("clip", "set", "per_tensor"),
    Change("clip", "set", "unitwise"),
    Change("grad_noise", "set", 0.01),
    Change("gradients", "zero", "after_step"),
    Change("batch", "skip", "nonfinite"),
    Change("batch", "skip", "outlier"),
    Change("batch", "skip", "suspect 3 4"),
    Change("betas.1", "set", 0.9),
    Change("eps", "set", 1e-3),
    Change("eps", "scale", 100.0),
    Change("weight_decay", "set", 0.1),
    Change("weight_decay", "scale", 2.0),
    Change("moments", "reset", "all"),
    Change("moments", "reset", "all", ("2",)),
    Change("moments", "shorten", 2.0),
    Change("precision", "set", "float32"),
    Change("layer", "freeze", "", ("2",)),
    Change("units", "reinitialize", "dead"),
    Change("activation", "replace", "gelu"),
    Change("init", "set", "kaiming_normal"),
    Change("norm", "insert", "layer_norm"),
    Change("norm", "insert", "layer_norm", ("2",)),
    Change("skip", "insert", 1.0),
    Change("skip", "insert", 0.0, ("2",)),
    Change("init", "reset", "own"),
    Change("mode", "set", "train"),
)
ELSEWHERE = {
    ("norm", "replace"),
    ("norm.momentum", "set"),
    ("parameters", "register"),
}
"""They need another net: tests/autopilot/test_repair_knobs.py."""


@pytest.mark.parametrize("change", EXAMPLES, ids=str)
def test_a_run_goes_on_with_each_change_and_after_its_undo(change: Change) -> None:
    loop = Loop()
    for _ in range(3):
        loop.step()
    undo = loop.apply(change)
    for _ in range(6):
        loop.step()
    undo()
    loop.step()
    assert all(bool(torch.isfinite(one).all()) for one in loop.bits())
    assert not loop.optimizer._optimizer_step_pre_hooks
    assert not loop.optimizer._optimizer_step_post_hooks
    assert not any(module._forward_hooks for module in loop.model.modules())


@pytest.mark.parametrize("change", EXAMPLES, ids=str)
def test_each_knob_conforms(change: Change) -> None:
    knobs = {(knob, op): action for knob, op, action in KNOBS}
    check_knob(knobs[change.knob, change.op], change)


def _forgetful(live: Live, change: Change) -> Applied:
    live.optimizers[0].param_groups[0]["lr"] *= 0.5
    return Applied("lr", "half", lambda: None)


def _careless(live: Live, change: Change) -> Applied:
    torch.rand(1)
    return Applied("nothing", "nothing", lambda: None)


def _clinging(live: Live, change: Change) -> Applied:
    live.optimizers[0].register_step_pre_hook(lambda *_: None)
    return Applied("no hook", "a hook", lambda: None)


def _silent(live: Live, change: Change) -> Applied:
    return Applied("", "something", lambda: None)


@pytest.mark.parametrize(
    ("knob", "message"),
    [
        (_forgetful, "the settings are"),
        (_careless, "random stream"),
        (_clinging, "leaves hooks"),
        (_silent, "'before' says nothing"),
    ],
)
def test_knobs_that_do_not_conform_are_refused(knob: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_knob(knob, Change("a", "knob", 1.0))


def test_every_knob_has_an_example() -> None:
    shown = {(change.knob, change.op) for change in EXAMPLES} | {("momentum", "set")}
    # These need an autopilot: test_pilot.py.
    shown |= {("step", "scale"), ("step", "cap"), ("step", "skip")}
    shown |= {("gradient", "scale"), ("state", "restore")}
    # These need a penalty, a dropout or a batch norm: test_regularisation.py.
    shown |= {("penalty", "set"), ("dropout", "scale")}
    shown |= {("norm_statistics", "recalibrate")}
    assert {(knob, op) for knob, op, _ in KNOBS} <= shown | ELSEWHERE


# --- gradients ------------------------------------------------------------------


def test_suspect_steps_are_skipped_by_their_number() -> None:
    loop = Loop()
    loop.step()
    loop.apply(Change("batch", "skip", "suspect 2 3"))
    moved: list[bool] = []
    for _ in range(4):
        before = loop.bits()
        loop.step()
        moved.append(not same(before, loop.bits()))
    assert moved == [True, False, False, True]


def test_a_skipped_batch_leaves_the_running_statistics_alone() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    live = Live({"model": net}, (optimizer,))
    apply_changes([Change("batch", "skip", "nonfinite")], live, "", lambda event: None)

    def train(batch: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        net(batch).square().mean().backward()
        optimizer.step()
        running: Any = net[1].running_mean
        return running.clone()

    first = train(torch.randn(8, 4))
    assert torch.equal(train(torch.full((8, 4), torch.nan)), first)
    later = train(torch.randn(8, 4))
    assert bool(later.isfinite().all())
    assert not torch.equal(later, first)


def test_a_skipped_gradient_is_put_back_without_what_is_not_finite() -> None:
    loop = Loop()
    loop.apply(Change("batch", "skip", "nonfinite"))
    loop.step(scale=float("inf"))
    grads = [p.grad for p in loop.model.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


def test_gradients_that_a_closure_computes_are_changed_too() -> None:
    loop = Loop(torch.optim.SGD)
    loop.apply(Change("clip_norm", "set", 1e-3))
    x = torch.randn(8, 4)

    def closure() -> float:
        loop.optimizer.zero_grad()
        loss = loop.model(x).square().mean()
        loss.backward()
        return loss.item()

    before = loop.bits()
    assert isinstance(loop.optimizer.step(closure), float)
    moved = torch.cat(
        [(a - b).flatten() for a, b in zip(before, loop.bits(), strict=True)]
    )
    assert moved.norm().item() == pytest.approx(1e-3 * 0.01, rel=1e-2)
    loop.optimizer.step(closure=closure)
    grads = [p.grad for p in loop.model.parameters()]
    assert nn.utils.get_total_norm(grads).item() == pytest.approx(1e-3, rel=1e-3)


def test_lbfgs_is_refused_where_gradients_are_changed() -> None:
    loop = Loop(torch.optim.LBFGS)
    for change in (Change("clip_norm", "set", 1.0), Change("grad_noise", "set", 1.0)):
        with pytest.raises(KnobError, match="LBFGS"):
            loop.apply(change)


def test_gradient_noise_is_the_changes_own_and_falls() -> None:
    noisy, plain = Loop(torch.optim.SGD), Loop(torch.optim.SGD)
    noisy.optimizer.param_groups[0]["lr"] = plain.optimizer.param_groups[0]["lr"] = 0.0
    noisy.apply(Change("grad_noise", "set", 4.0))
    sizes: list[float] = []
    for _ in range(64):
        pairs = zip(noisy.step(), plain.step(), strict=True)
        sizes.append(torch.cat([(a - b).flatten() for a, b in pairs]).std().item())
    assert sizes[0] == pytest.approx(2.0, rel=0.2)
    assert sizes[63] == pytest.approx(2.0 * 64**-0.275, rel=0.2)


def test_forgotten_zeroing_is_made_up_for() -> None:
    loop = Loop()
    loop.apply(Change("gradients", "zero", "after_step"))
    loop.step()
    assert all(p.grad is None for p in loop.model.parameters())


# --- moments --------------------------------------------------------------------


def test_reset_moments_make_the_next_update_a_first_one() -> None:
    used, fresh = Loop(), Loop()
    for _ in range(5):
        used.step()
    used.apply(Change("moments", "reset", "all"))
    fresh.model.load_state_dict(used.model.state_dict())
    fresh.random.set_state(used.random.get_state())
    used.step()
    fresh.step()
    assert same(used.bits(), fresh.bits())


@pytest.mark.parametrize("kind", [torch.optim.Adagrad, torch.optim.RMSprop])
def test_optimizers_with_other_memories_begin_anew(kind: Any) -> None:
    used, fresh = Loop(kind), Loop(kind)
    for _ in range(5):
        used.step()
    undo = used.apply(Change("moments", "reset", "all"))
    fresh.model.load_state_dict(used.model.state_dict())
    fresh.random.set_state(used.random.get_state())
    used.step()
    fresh.step()
    assert same(used.bits(), fresh.bits())
    undo()


def test_shortened_moments_keep_their_value_and_follow_sooner() -> None:
    loop = Loop()
    for _ in range(20):
        loop.step(scale=100.0)
    weight = loop.model[0].weight
    state = loop.optimizer.state[weight]
    corrected = state["exp_avg_sq"] / (1 - 0.999**20)
    before = loop.bits()
    undo = loop.apply(Change("moments", "shorten", 4.0))
    assert torch.allclose(state["exp_avg_sq"] / (1 - 0.999**4), corrected)
    assert state["step"] == 4
    undo()
    assert same(before, loop.bits())
    shrunk: dict[bool, float] = {}
    for shorten in (False, True):
        one = Loop()
        for _ in range(20):
            one.step(scale=100.0)
        if shorten:
            one.apply(Change("moments", "shorten", 2.0))
        for _ in range(10):
            one.step()
        held = one.optimizer.state[one.model[0].weight]
        shrunk[shorten] = held["exp_avg_sq"].sum().item() / (1 - 0.999 ** held["step"])
    assert shrunk[True] < 0.4 * shrunk[False]


# --- layers ---------------------------------------------------------------------


def test_frozen_layers_stay_and_train_again_after_the_undo() -> None:
    loop = Loop(weight_decay=0.1)
    loop.step()
    undo = loop.apply(Change("layer", "freeze", "", ("2",)))
    before = loop.model[2].weight.clone()
    for _ in range(2):
        loop.step()
    assert torch.equal(loop.model[2].weight, before)
    undo()
    loop.step()
    assert not torch.equal(loop.model[2].weight, before)


def test_what_the_user_froze_stays_frozen_after_the_undo() -> None:
    loop = Loop()
    loop.model[2].bias.requires_grad_(False)
    loop.apply(Change("layer", "freeze", "", ("2",)))()
    assert loop.model[2].weight.requires_grad
    assert not loop.model[2].bias.requires_grad


def test_dead_units_are_drawn_anew_and_living_ones_left() -> None:
    loop = Loop()
    loop.step()
    with torch.no_grad():
        loop.model[2].weight[[1, 5]] = 0.0
        loop.model[2].bias[[1, 5]] = -50.0
    loop.apply(Change("units", "reinitialize", "dead"))
    for _ in range(5):
        loop.step()
    weight = loop.model[2].weight
    assert weight[[1, 5]].abs().sum() > 0.1
    assert loop.model[2].bias[[1, 5]].abs().max() < 1.0
    _, told = loop.told
    assert told.body["before"].endswith("dead units")
    assert "2" in told.body["layers"]


def test_a_layer_that_died_whole_does_not_cost_those_before_it() -> None:
    loop = Loop()
    loop.step()
    with torch.no_grad():
        loop.model[2].bias.fill_(-50.0)
    loop.apply(Change("units", "reinitialize", "dead"))
    for _ in range(4):
        loop.step()
    first = loop.model[0].weight.clone()
    assert loop.model[2].bias.min() > -1.0
    loop.step()
    gradient = loop.model[0].weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    assert (first - loop.model[0].weight).abs().max() < 0.1


def test_a_skip_is_trained_by_the_optimizer_of_its_layer() -> None:
    loop = Loop()
    loop.step()
    undo = loop.apply(Change("skip", "insert", 1.0, ("2",)))
    gate = loop.model[2].gate.gate
    loop.step()
    assert gate.item() != 1.0
    undo()
    assert isinstance(loop.model[2], nn.Linear)
    assert len(loop.optimizer.state) == 6


def test_norms_at_a_layer_normalise_what_comes_into_it() -> None:
    loop = Loop()
    loop.apply(Change("norm", "insert", "layer_norm", ("2",)))
    x = torch.randn(3, 8)
    expected = nn.functional.layer_norm(x, (8,))
    inner = loop.model[2].inner
    assert torch.equal(loop.model[2](x), inner(expected))


# --- precision ------------------------------------------------------------------


def test_autocast_is_off_in_forward_passes() -> None:
    loop = Loop()
    x = torch.randn(3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loop.model(x).dtype == torch.bfloat16
        undo = loop.apply(Change("precision", "set", "float32"))
        assert loop.model(x.bfloat16()).dtype == torch.float32
        assert torch.is_autocast_enabled("cpu")
        with pytest.raises(RuntimeError):
            loop.model(torch.randn(3, 5))
        assert torch.is_autocast_enabled("cpu")
        undo()
        assert loop.model(x).dtype == torch.bfloat16
    copied = copy.deepcopy(loop.model)
    assert copied(x).dtype == torch.float32


def test_half_weights_and_their_moments_are_widened_and_narrowed() -> None:
    loop = Loop()
    loop.model.bfloat16()
    x = torch.randn(8, 4).bfloat16()

    def update() -> None:
        loop.optimizer.zero_grad()
        loop.model(x).float().square().mean().backward()
        loop.optimizer.step()

    update()
    before = loop.bits()
    parameters = list(loop.model.parameters())
    undo = loop.apply(Change("precision", "set", "float32"))
    assert [id(p) for p in loop.model.parameters()] == [id(p) for p in parameters]
    undo()
    assert same(before, loop.bits())
    loop.apply(Change("precision", "set", "float32"))
    update()
    assert {p.dtype for p in loop.model.parameters()} == {torch.float32}
    state = loop.optimizer.state[parameters[0]]
    assert state["exp_avg"].dtype == torch.float32
    copy.deepcopy(loop.model)(x.float())


# --- when the changes are made -----------------------------------------------------


@pytest.mark.parametrize("change", EXAMPLES, ids=str)
@pytest.mark.parametrize("when", ["before", "after"])
def test_changes_come_and_go_while_the_optimizer_steps(
    when: str, change: Change
) -> None:
    loop = Loop()
    loop.step()
    undos: list[Callable[[], None]] = []

    def act(*_: Any) -> None:
        if loop.steps == 2:
            undos.append(loop.apply(change))
        if loop.steps == 4:
            undos.pop()()

    stop = steps_of(loop.optimizer).add(**{when: act})
    for _ in range(6):
        loop.step()
    assert not undos
    stop()
    assert not loop.optimizer._optimizer_step_pre_hooks
    assert not loop.optimizer._optimizer_step_post_hooks
    assert loop.optimizer.param_groups[0]["lr"] == 0.01


# --- where the changes are made ---------------------------------------------------


def test_layers_of_several_models_have_the_models_name() -> None:
    first = nn.Linear(2, 2)
    second: Any = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (first, second)]
    live = Live({"a": first, "b": second}, optimizers)
    undo = apply_changes([Change("skip", "insert", 0.5, ("b.0",))], live, "", print)
    assert type(second[0]).__name__ == "Skip"
    assert [len(o.param_groups[0]["params"]) for o in optimizers] == [2, 3]
    undo()
    apply_changes([Change("layer", "freeze", "", ("a",))], live, "", print)
    assert not first.weight.requires_grad
    assert second[0].weight.requires_grad


def test_a_compiled_model_is_changed_by_the_names_of_the_record() -> None:
    loop = Loop()
    compiled: Any = torch.compile(loop.model, backend="eager")
    live = Live({"model": compiled}, [loop.optimizer])
    x = torch.randn(5, 4)
    compiled(x)
    undo = apply_changes(
        [Change("norm", "insert", "layer_norm", ("2",))], live, "", loop.told.append
    )
    assert torch.allclose(compiled(x), loop.model(x))
    changed = loop.model(x)
    undo()
    assert torch.allclose(compiled(x), loop.model(x))
    assert not torch.allclose(changed, loop.model(x))


def test_a_parameters_name_stands_for_its_module() -> None:
    loop = Loop()
    loop.apply(Change("layer", "freeze", "", ("2.weight",)))
    assert not loop.model[2].bias.requires_grad
