"""An incident in this process: what is told of it, and that nothing of it remains."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import surefoot
from replay.moments import LAST, ONSET, Case, adam, batch_of, loss_fn, net, sgd
from surefoot.blackbox.errors import StateError
from surefoot.blackbox.incident import write_incident
from surefoot.record.replays import Replayed
from surefoot.replay.branches import chosen
from surefoot.replay.causes import OUTSIDE
from surefoot.replay.errors import ReplayError
from surefoot.replay.said import replay_text


def replayed(case: Case, **more: Any) -> Replayed:
    incident, model, optimizer = case.recorded()
    return incident.replay(model, optimizer, loss_fn=case.loss, **more)


def garbage(batch: Any) -> Any:
    return batch[0] * 300.0, batch[1].roll(1)


def rolled(batch: Any) -> Any:
    return batch[0], batch[1].roll(1)


def moved(batch: Any) -> Any:
    return 1.5 * batch[0] + 8.0, batch[1]


def verdict_of(told: Replayed, name: str) -> str:
    return next(b.verdict for b in told.branches if b.prescription.remedy == name)


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 4))


def test_a_bad_batch_is_told_and_skipping_it_is_the_cheapest_remedy() -> None:
    told = replayed(Case(batches={ONSET: garbage}, optimizer=sgd, make=linear))
    assert told.noise == 0.0
    assert told.departs is None
    assert (told.cause, told.result, told.onset) == ("bad batch", "prevented", ONSET)
    assert told.remedy is not None
    assert told.remedy.changes[0].amount == f"suspect {ONSET}"
    assert verdict_of(told, "gradient noise") != "prevented"


@pytest.mark.parametrize("optimizer", [sgd, adam])
def test_a_jump_of_the_rate_is_told_and_taken_back(optimizer: Any) -> None:
    told = replayed(Case(rates={ONSET: 300.0}, optimizer=optimizer))
    assert (told.cause, told.result) == ("learning rate too high", "prevented")
    assert "multiplied by 300 at step 40" in told.evidence[0]
    assert told.remedy is not None
    assert told.remedy.remedy == "take back the jump of the rate"
    assert told.remedy.changes[0].amount == pytest.approx(1 / 300)


def test_labels_that_changed_are_told_from_the_batches_alone() -> None:
    told = replayed(Case(batches=dict.fromkeys(range(ONSET, LAST + 1), rolled)))
    assert told.cause == "labels changed"
    assert verdict_of(told, "skip the strange batches") == "does not apply"


def test_inputs_that_moved_are_told_from_labels_that_changed() -> None:
    changed = dict.fromkeys(range(ONSET, LAST + 1), moved)
    told = replayed(Case(batches=changed, make=linear))
    assert (told.cause, told.onset) == ("inputs shifted", ONSET)


def test_numbers_that_are_none_in_a_batch_are_told() -> None:
    broken = {ONSET: lambda b: (b[0].masked_fill(b[0] > 2, math.nan), b[1])}
    told = replayed(Case(batches=broken))
    assert (told.cause, told.result) == ("non-finite data", "prevented")


def rooted(model: nn.Module, batch: Any) -> torch.Tensor:
    """A loss whose root is of zero where the batch begins with a nine."""
    output = model(batch[0])
    size = output.square().sum() * (0.0 if batch[0][0, 0] == 9.0 else 1.0)
    return nn.functional.cross_entropy(output, batch[1]) + 1e-6 * size.sqrt()


def nine(batch: Any) -> Any:
    batch[0][0, 0] = 9.0
    return batch


def test_an_operation_that_breaks_is_told_from_a_divergence() -> None:
    told = replayed(Case(batches={ONSET: nine}, loss=rooted))
    assert told.cause == "numeric fault"
    assert "gradient of step 40" in told.evidence[0]


def test_a_healthy_stretch_has_nothing_to_prevent() -> None:
    told = replayed(Case(make=lambda: net(drop=0.2)))
    assert (told.result, told.cause, told.remedy) == ("nothing to prevent", "", None)
    assert "nothing to prevent" in replay_text(told)


def kill(model: Any, step: int) -> None:
    if step == ONSET:
        model[0].bias.data.fill_(-90.0)
        model[4].weight.data.mul_(-9.0)


def test_weights_that_somebody_wrote_to_are_named() -> None:
    incident, model, optimizer = Case(before=kill).recorded()
    told = incident.replay(model, optimizer, loss_fn=loss_fn)
    assert (told.cause, told.departs) == (OUTSIDE, ONSET)
    again = incident.replay(
        model, optimizer, loss_fn=loss_fn, before_step=lambda step: kill(model, step)
    )
    assert (again.cause, again.departs) == (OUTSIDE, None)
    assert set(again.layers) == {"0.bias", "4.weight"}
    assert again.noise == 0.0


def test_micro_batches_and_random_numbers_are_those_of_the_run() -> None:
    told = replayed(Case(make=lambda: net(drop=0.5), micro=3, optimizer=sgd))
    assert (told.noise, told.departs) == (0.0, None)
    assert len(told.recorded) == LAST - 20 + 1


def test_what_was_given_comes_back_bit_for_bit() -> None:
    incident, model, optimizer = Case(rates={ONSET: 300.0}).recorded()
    loss_fn(model, batch_of(torch.Generator().manual_seed(1))).backward()
    grads = [one.grad for one in model.parameters()]
    weights = copy.deepcopy(model.state_dict())
    moments = copy.deepcopy(optimizer.state_dict())
    values = [one.clone() for one in grads if one is not None]
    stream = torch.get_rng_state()
    incident.replay(model, optimizer, loss_fn=loss_fn)
    assert torch.equal(stream, torch.get_rng_state())
    now = model.state_dict()
    assert now.keys() == weights.keys()
    assert all(torch.equal(now[k], weights[k]) for k in weights)
    after = [one.grad for one in model.parameters()]
    assert all(a is b for a, b in zip(grads, after, strict=True))
    assert all(
        torch.equal(a, b) for a, b in zip(values, grads, strict=True) if b is not None
    )
    told = optimizer.state_dict()
    assert told["param_groups"] == moments["param_groups"]
    for key, state in moments["state"].items():
        assert all(torch.equal(state[k], told["state"][key][k]) for k in state)
    assert not optimizer._optimizer_step_pre_hooks
    assert all(not m._forward_pre_hooks for m in model.modules())


def test_a_model_made_anew_gives_the_recorded_losses(tmp_path: Path) -> None:
    incident, *_ = Case(batches={ONSET: garbage}, optimizer=sgd).recorded()
    path = write_incident(incident, tmp_path / "net.1.incident.safetensors")
    torch.manual_seed(99)
    model = net()
    told = surefoot.read_incident(path).replay(
        model, sgd(model.parameters()), loss_fn=loss_fn, branches=chosen("skip")
    )
    assert (told.noise, told.departs, told.incident) == (0.0, None, path.name)
    assert len(told.branches) == 3


def test_held_out_data_of_the_user_judges() -> None:
    x, y = batch_of(torch.Generator().manual_seed(7), 256)

    def held_out(model: nn.Module) -> float:
        with torch.no_grad():
            return float(loss_fn(model, (x, y)))

    told = replayed(Case(rates={ONSET: 300.0}), held_out=held_out)
    assert told.set_aside == "held-out data"
    unchanged, still = told.branches[:2]
    assert unchanged.held_out > 1.5 * still.held_out
    assert told.cause == "learning rate too high"


def test_progress_is_told() -> None:
    heard: list[tuple[int, int, str]] = []
    replayed(
        Case(optimizer=sgd),
        branches=chosen("half"),
        tell=lambda *one: heard.append(one),
    )
    assert [one[:2] for one in heard] == [(1, 3), (2, 3), (3, 3)]
    assert [one[2] for one in heard] == ["unchanged", "no updates", "half the rate"]


# --- bad input --------------------------------------------------------------------


def test_another_model_is_refused_and_the_difference_named() -> None:
    incident, *_ = Case().recorded()
    other = nn.Sequential(nn.Linear(8, 5), nn.Linear(5, 4))
    with pytest.raises(
        StateError, match=r"does not fit: .*only the state has 1\.running_mean"
    ):
        incident.replay(other, adam(other.parameters()), loss_fn=loss_fn)


def test_another_loss_is_not_taken_for_the_recorded_one() -> None:
    incident, model, optimizer = Case().recorded()
    told = incident.replay(
        model, optimizer, loss_fn=lambda m, b: 2.0 * loss_fn(m, b), branches=()
    )
    assert (told.result, told.departs, told.cause) == ("not reproduced", 20, "")
    assert "recorded was" in told.notes[0]


def test_a_loss_that_does_not_take_the_batches_is_told_what_they_are() -> None:
    incident, model, optimizer = Case().recorded()
    with pytest.raises(ReplayError, match=r"loss_fn\(model, batch\)"):
        incident.replay(model, optimizer, loss_fn=lambda m, b: m(b["x"]).sum())


def test_an_incident_without_steps_is_refused() -> None:
    incident, model, optimizer = Case().recorded()
    empty = type(incident)({}, "", LAST, ONSET, (), incident.state, ())
    with pytest.raises(ReplayError, match="larger budget"):
        empty.replay(model, optimizer, loss_fn=loss_fn)


def test_a_window_of_one_step_is_replayed() -> None:
    told = replayed(Case(first=LAST))
    assert (told.first, told.last, told.noise) == (LAST, LAST, 0.0)


def test_what_is_not_as_it_was_is_noted() -> None:
    incident, model, optimizer = Case().recorded()
    about = {"torch": "1.13.1", "device": "cpu", "left_out": ["steps/3: a lambda"]}
    told = replace(incident, about=about).replay(
        model, optimizer, loss_fn=loss_fn, branches=()
    )
    assert told.notes[0] == "not kept: steps/3: a lambda"
    assert told.notes[1].startswith("recorded with torch 1.13.1, replayed with 2")


def test_options_of_the_optimizer_are_changed_where_there_are_any() -> None:
    told = replayed(Case(optimizer=adam), branches=chosen("raise eps"))
    changes = told.branches[2].prescription.changes
    assert (changes[0].knob, changes[0].amount) == ("eps", 1e-6)
    assert told.branches[2].losses != told.branches[0].losses


def test_changes_that_do_not_apply_say_why() -> None:
    told = replayed(Case(optimizer=sgd))
    rows = {b.prescription.remedy: b for b in told.branches}
    for name in ("lower beta2", "float32", "freeze the accused layers"):
        assert rows[name].verdict == "does not apply"
        assert rows[name].detail
    assert "does not apply" in replay_text(told)
