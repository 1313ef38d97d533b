"""A penalty is held at its share of the gradient; strengths follow held-out losses."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from surefoot.autopilot.apply import apply_changes
from surefoot.autopilot.balance import (
    Course,
    after_curvature,
    after_held_out,
    after_training,
)
from surefoot.autopilot.heard import Heard
from surefoot.autopilot.lever import Lever, Position, moved
from surefoot.autopilot.live import KnobError, Live
from surefoot.autopilot.regularisation import (
    AdaptivePenalty,
    AdaptiveStrength,
    Holding,
)
from surefoot.nn.regularize import RegularizeError, gradient_norm
from surefoot.schedules import ramp_up
from surefoot.types import Change, Event, Series
from surefoot.watching import watch
from surefoot.zoo.datasets import digits, held_out_digits

# --- the lever -----------------------------------------------------------------

SCORES = st.one_of(st.floats(-10, 10), st.just(math.nan), st.just(math.inf))
READINGS = st.lists(st.tuples(st.sampled_from([-1, 0, 1]), SCORES), max_size=80)


@given(READINGS)
@settings(max_examples=150, deadline=None)
def test_a_lever_stays_within_its_bounds_and_its_budget(readings: Any) -> None:
    lever, at, made = Lever(moves=5), Position(), 0
    for side, score in readings:
        at, done = moved(lever, at, side, score=score)
        assert lever.least <= at.times <= lever.most
        made += done in ("raised", "lowered")
        again = Position(**json.loads(json.dumps(asdict(at))))
        assert again == at
    assert made <= 5


def test_one_reading_alone_moves_nothing() -> None:
    at = Position()
    for side in (1, 0, 1, 1, -1, 1, 1):
        at, done = moved(Lever(), at, side, score=1.0)
        assert done == ""
    assert at.times == 1.0


def test_a_move_that_helps_stays_and_one_that_does_not_is_taken_back() -> None:
    lever, at, told = Lever(), Position(), []
    for score in (2.0, 2.0, 2.0, 1.5, 1.5, 1.5, 1.5):
        at, done = moved(lever, at, 1, score=score)
        told.append(done)
    assert [one for one in told if one] == ["raised"]
    assert at.times == 2.0
    for _ in range(lever.patience + lever.window):
        at, done = moved(lever, at, 1, score=1.5)
    assert (at.times, done) == (2.0, "undone")
    first = at.rest
    for _ in range(first + lever.patience + lever.window):
        at, done = moved(lever, at, 1, score=1.5)
    assert (at.times, done, at.rest) == (2.0, "undone", 2 * first)


@pytest.mark.parametrize(
    "wrong", [{"factor": 1.0}, {"least": 2.0}, {"most": math.inf}, {"window": 0}]
)
def test_a_lever_that_could_not_move_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected factor > 1"):
        Lever(**wrong)


# --- the evidence --------------------------------------------------------------


def sides(training: float, losses: list[float]) -> list[int]:
    course, found = after_training(Course(), training), []
    for loss in losses:
        course, side = after_held_out(course, loss)
        found.append(side)
    return found


def test_what_a_gap_asks_for() -> None:
    assert sides(0.1, [2.0, 1.5, 1.2, 1.0]) == [0, 0, 0, 0]  # still getting better
    assert sides(0.1, [1.0, 1.0, 1.02]) == [0, 1, 1]  # no better, training far below
    assert sides(0.98, [1.0, 1.0, 1.02]) == [0, -1, -1]  # no better, both alike
    assert sides(0.8, [1.0, 1.0, 1.02]) == [0, 0, 0]  # between the two
    assert sides(1.3, [1.0, 1.2]) == [0, 1]  # risen: wrong labels hide the gap
    assert sides(0.1, [1.0, math.nan, 1.0]) == [0, 0, 1]


def test_what_curvature_asks_for() -> None:
    course, found = Course(), []
    for ratio in (0.3, 3.0, 0.3, 1.4, 1.5, math.nan, 0.7, 0.2, 0.3):
        course, side, _ = after_curvature(course, ratio)
        found.append(side)
    # The median of three: a single reading of 3.0 asks for nothing.
    assert found == [0, 0, -1, 1, 1, 0, 1, 0, -1]


# --- a penalty that is held ----------------------------------------------------


def mean_square(logits: torch.Tensor) -> torch.Tensor:
    return logits.square().mean()


class Bench:
    """Digits, a small net, and a penalty on its outputs."""

    def __init__(
        self,
        seed: int = 1,
        *,
        target: float = 0.1,
        heard: Heard | None = None,
        **held: Any,
    ) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=2e-3)
        self.told: list[Event] = []
        self.penalty = AdaptivePenalty(
            mean_square,
            self.optimizer,
            target=target,
            holding=Holding(**held),
            heard=heard,
            tell=self.told.append,
        )
        self.x, self.y = (part[:600] for part in digits())
        self.generator = torch.Generator().manual_seed(seed)

    def parts(self) -> tuple[torch.Tensor, torch.Tensor]:
        at = torch.randint(600, (64,), generator=self.generator)
        logits = self.model(self.x[at])
        return functional.cross_entropy(logits, self.y[at]), logits

    def step(self) -> None:
        loss, logits = self.parts()
        self.optimizer.zero_grad()
        self.penalty(loss, logits).backward()
        self.optimizer.step()

    def true_ratio(self) -> float:
        """‖λ∇P‖/‖∇L‖ of a typical batch: the geometric mean of 20 of them."""
        held, logs = list(self.model.parameters()), []
        for _ in range(20):
            loss, logits = self.parts()
            penalty = self.penalty.weight * logits.square().mean()
            logs.append(
                gradient_norm(penalty, held).log() - gradient_norm(loss, held).log()
            )
        return float(torch.stack(logs).mean().exp())


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_the_ratio_is_held_while_both_gradients_change_tenfold(seed: int) -> None:
    bench = Bench(seed, target=0.1, every=10)
    found = []
    for step in range(240):
        bench.step()
        if step % 40 == 39:
            found.append(bench.true_ratio())
    # In the first forty steps both change quickly, and λ comes late.
    assert all(0.05 < ratio < 0.2 for ratio in found[1:])
    assert np.mean(found[1:]) == pytest.approx(0.1, rel=0.5)
    weights = [event.body["amount"] for event in bench.told]
    assert max(weights) > 3 * min(weights)  # λ had to move for that


def test_each_change_is_told_with_before_after_and_why_and_undone() -> None:
    bench = Bench(target=0.1, every=5)
    bench.step()
    first = bench.penalty.weight
    for _ in range(120):
        bench.step()
    assert {event.kind for event in bench.told} == {"change"}
    body = bench.told[0].body
    assert (body["knob"], body["op"], body["layers"]) == ("penalty", "set", ["penalty"])
    assert body["before"].startswith("weight ")
    assert "of the loss's" in body["why"]
    assert bench.penalty.weight != first
    bench.penalty.undo()
    assert bench.penalty.weight == first
    first_step = bench.told[0].step
    assert (bench.told[-1].kind, bench.told[-1].body["of"]) == ("undo", first_step)


def test_the_weight_stays_within_its_bounds() -> None:
    bench = Bench(target=0.5, every=1, bounds=(1e-4, 2e-3))
    for _ in range(30):
        bench.step()
        assert 1e-4 <= bench.penalty.weight <= 2e-3
    assert bench.penalty.weight == 2e-3


def test_warm_up_scales_what_is_used_and_not_the_ratio() -> None:
    bench = Bench(target=0.1, every=1, warm_up=ramp_up(1.0, 10))
    loss, logits = bench.parts()
    assert bench.penalty(loss, logits).item() == loss.item()
    assert bench.penalty.weight > 0
    for _ in range(9):
        bench.step()
    loss, logits = bench.parts()
    total = bench.penalty(loss, logits)
    added = bench.penalty.weight * logits.square().mean()
    assert total.item() == pytest.approx((loss + added).item())


def test_a_batch_without_a_gradient_changes_nothing() -> None:
    bench = Bench(every=1)
    bench.step()
    weight = bench.penalty.weight
    loss, logits = bench.parts()
    bench.penalty(loss * math.nan, logits)
    bench.penalty(loss * 0, logits)
    assert bench.penalty.weight == weight
    with pytest.raises(RegularizeError, match="without a graph"):
        bench.penalty(loss.detach(), logits)


def test_it_goes_on_from_a_stored_state() -> None:
    heard = Heard()
    one, other = Bench(heard=heard), Bench(heard=Heard())
    for _ in range(30):
        one.step()
    heard.held_out(1.0)
    state = json.loads(json.dumps(one.penalty.state_dict()))
    other.penalty.load_state_dict(state)
    assert other.penalty.state_dict() == one.penalty.state_dict()


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(RegularizeError, match="expected 1 or more"):
        Bench(every=0)
    with pytest.raises(RegularizeError, match="expected"):
        Bench(target=math.nan)
    with pytest.raises(RegularizeError, match="expected"):
        Bench(bounds=(1.0, 0.5))


# --- strengths that follow held-out losses ---------------------------------------


def overfits(strength: Any, losses: tuple[float, ...] = (1.0, 1.1, 1.2, 1.3)) -> None:
    steps = np.arange(1)
    loss = np.full((1, 1), 0.1, np.float32)
    strength.write(Series("loss", ("run",), steps, loss))
    for at, value in enumerate(losses):
        row = np.full((1, 1), value, np.float32)
        strength.write(Series("metric", ("val_loss",), steps + at, row))


def test_weight_decay_follows_what_a_run_logs_and_is_put_back(tmp_path: Any) -> None:
    model = nn.Linear(4, 2)
    decayed = {"params": [model.weight], "weight_decay": 0.1}
    plain = {"params": [model.bias], "weight_decay": 0.0}
    optimizer = torch.optim.SGD([decayed, plain], lr=0.1)
    with watch(model, optimizer, folder=tmp_path, name="decay") as run:
        decay = AdaptiveStrength("weight_decay", [optimizer], tell=run.event)
        run.send_to(decay)
        for step in range(60):
            loss = model(torch.ones(1, 4)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.step(loss.detach() * 0 + 0.1)
            if step % 10 == 9:
                run.flush()
                run.log(val_loss=1.0 + step / 100)
        assert decay.heard.times == 2.0
        before = model.weight.detach().clone()
        optimizer.zero_grad()
        (model.weight.sum() * 0).backward()
        model.bias.grad = torch.zeros(2)
        optimizer.step()
        # lr · 2 · decay: the doubled one acts, and none on the bias.
        assert torch.allclose(model.weight, before * (1 - 0.1 * 0.2))
        decay.undo()
        before = model.weight.detach().clone()
        optimizer.step()
        assert torch.allclose(model.weight, before * (1 - 0.1 * 0.1))


def test_dropout_is_scaled_by_its_odds_and_put_back() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2), nn.Dropout(0.0))
    told: list[Event] = []
    drop = AdaptiveStrength("dropout", models={"model": model}, tell=told.append)
    overfits(drop)
    assert model[0].p == pytest.approx(2 / 3)
    assert model[2].p == 0.0
    assert "held-out loss 1.3" in told[0].body["why"]
    overfits(drop, (1.4,) * 4)  # no better: taken back
    assert model[0].p == pytest.approx(0.5)
    assert "taken back" in told[1].body["why"]
    drop.undo()
    assert model[0].p == 0.5


def test_curvature_beyond_the_line_asks_for_more() -> None:
    heard = Heard()
    for ratio in (1.5,) * 6:
        row = np.full((1, 1), ratio, np.float32)
        heard.write(Series("stability_ratio", ("run",), np.arange(1), row))
    assert heard.times == 2.0
    assert "curvature 1.5 times what the rate bears" in heard.why


def test_what_does_not_apply_is_refused() -> None:
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with pytest.raises(KnobError, match="without weight decay"):
        AdaptiveStrength("weight_decay", [optimizer])
    with pytest.raises(KnobError, match="expected 'weight_decay' or 'dropout'"):
        AdaptiveStrength("lr", [optimizer])
    live = Live({"model": layer}, [optimizer])
    for change, said in (
        (Change("dropout", "scale", 2.0), "without a dropout"),
        (Change("penalty", "set", 1.0), "there is none"),
        (Change("norm_statistics", "recalibrate", "recent"), "expected one"),
        (Change("norm_statistics", "recalibrate", "all"), "'recent'"),
    ):
        with pytest.raises(KnobError, match=said):
            apply_changes([change], live, "a test", lambda event: None)


# --- what it buys ----------------------------------------------------------------


def held_out_loss(seed: int, *, penalised: bool) -> float:
    """Of a net on 100 digits, after 400 steps."""
    bench = Bench(seed, target=0.1)
    for _ in range(400):
        at = torch.randint(100, (64,), generator=bench.generator)
        logits = bench.model(bench.x[at])
        loss = functional.cross_entropy(logits, bench.y[at])
        total = bench.penalty(loss, logits) if penalised else loss
        bench.optimizer.zero_grad()
        total.backward()
        bench.optimizer.step()
    with torch.no_grad():
        x, y = held_out_digits()
        return functional.cross_entropy(bench.model(x), y).item()


def test_a_held_ratio_lowers_the_held_out_loss_with_few_examples() -> None:
    for seed in (1, 3, 5):
        left_alone = held_out_loss(seed, penalised=False)
        assert held_out_loss(seed, penalised=True) < left_alone
