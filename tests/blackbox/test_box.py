"""What a box holds is enough to do the same steps again, and costs training no bit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import loops
import surefoot
from boxed import made, train
from surefoot.attach import Attachment
from surefoot.blackbox.dispatch import Alarm
from surefoot.blackbox.incident import Incident, read_incident
from surefoot.blackbox.options import BlackBoxOptions
from surefoot.blackbox.state import Trained, restore
from surefoot.record.reader import RecordReader
from surefoot.run import Run
from surefoot.watching import open_run
from test_neutral import same, unwatched


def often(budget: str | int) -> BlackBoxOptions:
    """A state at every tenth update, however busy the machine is."""
    return BlackBoxOptions(budget, percent=None)


def again(incident: Incident, trained: Trained) -> list[float]:
    """The losses of the steps of an incident, made anew."""
    restore(incident.state, trained)
    net, optimizer = trained.models["model"], trained.optimizers["main"]
    losses: list[float] = []
    for step in incident.steps:
        optimizer.zero_grad()
        for micro in step.micro:
            assert micro.random is not None
            micro.random.restore()
            x, y = micro.batch
            loss = functional.cross_entropy(net(x), y)
            loss.backward()
            losses.append(loss.item())
        for group, rate in zip(optimizer.param_groups, step.rates["main"], strict=True):
            group["lr"] = rate
        optimizer.step()
    return losses


@pytest.mark.parametrize("micro", [1, 2])
def test_the_steps_of_an_incident_can_be_made_again(tmp_path: Path, micro: int) -> None:
    net, optimizer, schedule = made()
    run = surefoot.watch(net, optimizer, folder=tmp_path, blackbox=often("1MB"))
    losses = train(run, net, optimizer, schedule, steps=27, micro=micro)
    assert run.box is not None
    run.box.alarm(Alarm("asked for", 25, ("head",)))
    losses += train(run, net, optimizer, schedule, steps=2, micro=micro)
    run.close()
    (path,) = run.box.incidents
    assert path.name == f"{run.path.stem}.incident.safetensors"
    incident = read_incident(path)
    assert (incident.onset, incident.layers) == (25, ("head",))
    assert incident.state.step == 20
    assert incident.about["state_before_onset"]
    assert incident.about["all_batches"]
    # It was asked for between two updates: the next pass of a model answers it.
    assert incident.steps[-1].step == 26
    told = [one for step in incident.steps for one in step.losses]
    first = incident.state.step * micro
    assert told == pytest.approx(losses[first : first + len(told)], abs=0)
    assert all(len(step.micro) == micro for step in incident.steps)
    assert all(step.grad_norm > 0 for step in incident.steps)
    net, optimizer, _ = made()
    fresh = Trained({"model": net}, {"main": optimizer})
    restore(incident.state, fresh, also=False)
    also = {"ExponentialLR": made()[2]}
    assert again(incident, Trained(fresh.models, fresh.optimizers, also)) == told
    with RecordReader(run.path) as reader:
        (event,) = [one for one in reader.events() if one.kind == "incident"]
    assert event.body["path"] == str(path)
    assert event.body["reason"] == "asked for"


def test_a_batch_that_the_model_changes_is_kept_as_it_was(tmp_path: Path) -> None:
    class Spoiling(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                input.mul_(0)
            return super().forward(input)

    net = Spoiling(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with surefoot.watch(net, optimizer, folder=tmp_path, blackbox=often("1MB")) as run:
        x = torch.ones(2, 3)
        loss = net(x).mean()
        loss.backward()
        optimizer.step()
        run.step(loss, batch=x)
        found = run.box.incident(Alarm("now", 0))
    assert found.steps[0].micro[0].batch.tolist() == [[1] * 3] * 2
    assert x.tolist() == [[0] * 3] * 2


def test_an_exception_leaves_an_incident_and_ctrl_c_leaves_none(tmp_path: Path) -> None:
    for error, count in ((RuntimeError("out of luck"), 1), (KeyboardInterrupt(), 0)):
        net, optimizer, schedule = made()
        run = surefoot.watch(net, optimizer, folder=tmp_path, blackbox=often("1MB"))
        train(run, net, optimizer, schedule, steps=12)
        with pytest.raises(type(error)), run:
            raise error
        assert len(run.box.incidents) == count
        for path in run.box.incidents:
            assert read_incident(path).reason == "RuntimeError: out of luck"
            assert len(read_incident(path).steps) == 12 - read_incident(path).state.step


def test_a_loss_that_is_not_finite_is_an_incident_at_once(tmp_path: Path) -> None:
    net, optimizer, schedule = made()
    run = surefoot.watch(net, optimizer, folder=tmp_path, blackbox=often("1MB"))
    train(run, net, optimizer, schedule, steps=15)
    with torch.no_grad():
        net.head.weight[0] = math.inf
    train(run, net, optimizer, schedule, steps=3)
    run.close()
    incident = read_incident(run.box.incidents[0])
    assert "non-finite" in incident.reason
    assert incident.onset == 15
    assert incident.state.step <= 15
    assert len(incident.steps) <= 18 - incident.state.step


def test_what_the_last_look_finds_is_an_incident_too(tmp_path: Path) -> None:
    net, optimizer, schedule = made()
    run = surefoot.watch(net, optimizer, folder=tmp_path, blackbox=often("5MB"))
    train(run, net, optimizer, schedule, steps=60)
    for group in optimizer.param_groups:
        group["lr"] = 1e4
    train(run, net, optimizer, schedule, steps=40)
    causes = {one.cause for one in run.diagnose()}
    run.close()
    assert causes
    reasons = [read_incident(path).reason for path in run.box.incidents]
    assert any(cause in reason for cause in causes for reason in reasons)


def test_a_run_writes_a_few_incidents_at_most(tmp_path: Path) -> None:
    net, optimizer, schedule = made()
    options = BlackBoxOptions("1MB", incidents=2, percent=None)
    run = surefoot.watch(net, optimizer, folder=tmp_path, blackbox=options)
    for _ in range(5):
        train(run, net, optimizer, schedule, steps=2)
        run.box.alarm(Alarm("again", 1))
    run.close("failed", "at last")
    names = [path.name.removeprefix(run.path.stem) for path in run.box.incidents]
    assert names == [".incident.safetensors", "-2.incident.safetensors"]


def test_a_budget_below_one_state_says_so_once_and_trains_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net, optimizer, schedule = made()
    with surefoot.watch(net, optimizer, folder=tmp_path, blackbox=100) as run:
        losses = train(run, net, optimizer, schedule, steps=25)
        run.box.alarm(Alarm("whatever", 1))
        losses += train(run, net, optimizer, schedule, steps=1)
        assert run.box.ring.states == ()
    assert run.box.incidents == ()
    assert sum("nothing is kept" in one.message for one in caplog.records) == 1
    net, optimizer, schedule = made()
    bare = Run(None)
    assert losses == train(bare, net, optimizer, schedule, steps=26)


def test_memory_stays_within_the_budget(tmp_path: Path) -> None:
    net, optimizer, schedule = made()
    budget = 100_000
    with surefoot.watch(net, optimizer, folder=tmp_path, blackbox=often(budget)) as run:
        for _ in range(150):
            train(run, net, optimizer, schedule, steps=1)
            assert run.box.ring.nbytes + run.box.log.nbytes <= budget
        assert len(run.box.ring.states) > 1
        found = run.box.incident(Alarm("now", 150))
        kept = [step for step in found.steps if step.micro]
        assert kept
        # Where batches are missing, it is the oldest ones, and their numbers are there.
        assert [step.step for step in found.steps if not step.micro] == [
            step.step for step in found.steps[: -len(kept)]
        ]


def test_the_oldest_state_is_older_than_an_alarm_is_late(tmp_path: Path) -> None:
    net, optimizer, schedule = made()
    options = often("5MB")
    with surefoot.watch(net, optimizer, folder=tmp_path, blackbox=options) as run:
        train(run, net, optimizer, schedule, steps=300)
        steps = [one.step for one in run.box.ring.states]
        assert steps[0] <= 100
        assert steps[-1] == 290
        assert run.box.log.whole_since() <= steps[0]


KINDS = (
    loops.cnn,
    loops.gan,
    loops.accumulation,
    loops.lbfgs,
    loops.compiled,
    loops.gpt_checkpointing,
    loops.scaler_fused,
    loops.sparse_embedding,
    loops.per_sample,
)
"""Loops that call models and optimizers each in their own way."""


@pytest.mark.parametrize("loop", KINDS, ids=lambda loop: loop.__name__)
def test_training_with_a_black_box_is_bit_identical(loop: Any, tmp_path: Any) -> None:
    bare = loop(unwatched)
    runs: list[Run] = []

    def watched(model: Any, optimizer: Any) -> Any:
        options = BlackBoxOptions("50MB", persist=True, percent=None)
        run = surefoot.watch(model, optimizer, folder=tmp_path, blackbox=options)
        runs.append(run)
        return run.step

    result = loop(watched)
    box = runs[0].box
    box.alarm(Alarm("at the end", 0))
    kept = len(box.ring.states)
    runs[0].close()
    assert all(same(one, other) for one, other in zip(bare, result, strict=True))
    assert not box.shield.off
    assert kept > 0
    assert len(box.incidents) == 1


@pytest.mark.parametrize("loop", KINDS, ids=lambda loop: loop.__name__)
def test_attached_training_with_a_black_box_is_bit_identical(
    loop: Any, tmp_path: Any
) -> None:
    bare = loop(unwatched)

    def start() -> Run:
        run = open_run(tmp_path, loop.__name__, {})
        run.keep(often("50MB"), {})
        return run

    attachment = Attachment(start, lambda models, optimizers: None, targets=True)
    try:
        result = loop(unwatched)
    finally:
        attachment.detach()
    run = attachment.run
    assert run is not None
    run.box.alarm(Alarm("at the end", 0))
    run.close()
    assert all(same(one, other) for one, other in zip(bare, result, strict=True))
    assert not run.box.shield.off
    assert len(run.box.incidents) == 1


def test_an_unchanged_script_leaves_calls_and_targets(tmp_path: Path) -> None:
    def start() -> Run:
        run = open_run(tmp_path, "script", {})
        run.keep(often("5MB"), {"script": "train.py"})
        return run

    attachment = Attachment(start, lambda models, optimizers: None, targets=True)
    try:
        net, optimizer, _ = made()
        loss_of = nn.CrossEntropyLoss(label_smoothing=0.1)
        batches, losses = [], []
        for _ in range(13):
            x, y = torch.randn(16, 6), torch.randint(3, (16,))
            batches.append((x.clone(), y.clone()))
            loss = loss_of(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            losses.append(loss.item())
            optimizer.step()
    finally:
        attachment.detach()
    found = attachment.run.box.incident(Alarm("now", 13))
    attachment.run.close()
    assert found.about["script"] == "train.py"
    for step in found.steps:
        (micro,) = step.micro
        assert micro.kind == "call"
        ((x,), kwargs), (target,) = micro.batch
        assert kwargs == {}
        assert torch.equal(x, batches[step.step][0])
        assert torch.equal(target, batches[step.step][1])
        assert step.losses == (losses[step.step],)
        ((name, settings),) = micro.scored
        assert name == "cross_entropy"
        assert settings["label_smoothing"] == 0.1
    # The same from the state on, with the loss that is told of.
    net, optimizer, _ = made()
    trained = Trained({"Net": net}, {"main": optimizer})
    restore(found.state, trained, also=False)
    for step in found.steps:
        micro = step.micro[0]
        micro.random.restore()
        ((x,), _), (target,) = micro.batch
        name, settings = micro.scored[0]
        loss = getattr(functional, name)(net(x), target, **settings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.item() == step.losses[0]


def test_targets_are_caught_without_breaking_a_compiled_graph(tmp_path: Path) -> None:
    torch._dynamo.reset()
    attachment = Attachment(
        lambda: open_run(tmp_path, "x", {}),
        lambda models, optimizers: None,
        targets=True,
    )
    try:

        @torch.compile(backend="eager", fullgraph=True)
        def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(x, y)

        x, y = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
        compiled = loss_of(x, y)
    finally:
        attachment.detach()
    assert torch.equal(compiled, functional.cross_entropy(x, y))
    torch._dynamo.reset()


@pytest.mark.parametrize("budget", ["a lot", "-1", "1XB", -5, True, ""])
def test_a_budget_that_is_none_is_refused(budget: Any) -> None:
    with pytest.raises(ValueError, match="expected an amount of memory"):
        BlackBoxOptions(budget)


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="incidents of the black box came as 0"):
        BlackBoxOptions(incidents=0)
    with pytest.raises(ValueError, match="expected an object with state_dict"):
        BlackBoxOptions(also={"loader": 3})
