"""An unmodified script plays recorded steps: what it trains becomes what was."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from replay.moments import LAST, ONSET, Case, adam, net, sgd
from surefoot.blackbox.errors import StateError
from surefoot.blackbox.incident import Micro
from surefoot.directed import Direction, directed
from surefoot.record.replays import Replayed
from surefoot.replay.branches import UNCHANGED, chosen
from surefoot.replay.conclude import ask
from surefoot.replay.errors import ReplayError
from surefoot.replay.in_process import Recorded
from surefoot.replay.outcome import Outcome
from surefoot.replay.window import Window

SCRIPT = """
import torch
from torch import nn
torch.manual_seed(77)
drop = nn.Dropout({drop})
model = nn.Sequential(
    nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), drop, nn.Linear(32, 4)
)
optimizer = {optimizer}
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 7, 0.1)
for step in range({steps}):
    for part in range({micro}):
        x, y = torch.randn(32, 8), torch.randint(4, (32,))
        output = model(x)
        loss = {loss}
        {backward}
    optimizer.step()
    optimizer.zero_grad()
    scheduler.step()
    if step % 10 == 9:
        with torch.no_grad():
            model.eval()
            model(x)
            model.train()
"""
PARTS = {
    "drop": 0.5,
    "optimizer": "torch.optim.SGD(model.parameters(), lr=9.0, momentum=0.9)",
    "steps": 60,
    "micro": 1,
    "loss": "nn.functional.cross_entropy(output, y)",
    "backward": "loss.backward()",
}


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a program of its own need not put back."""
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setenv("SUREFOOT", "on")
    stream = torch.get_rng_state()
    yield
    torch.set_rng_state(stream)


def called(case: Case) -> Recorded:
    """The incident with batches as `surefoot run` sees them."""
    incident, *_ = case.recorded()
    steps = tuple(
        replace(
            one,
            micro=tuple(map(_call, one.micro)),
            # What backward() was called on.
            losses=tuple(loss / case.micro for loss in one.losses),
        )
        for one in incident.steps
    )
    return replace(incident, steps=steps)


def _call(micro: Micro) -> Micro:
    x, y = micro.batch
    return replace(micro, batch=(((x,), {}), (y,)), kind="call")


def played(incident: Recorded, path: Path, names: str = "", **parts: Any) -> Replayed:
    """The replay, all branches in this process."""
    path = path / "train.py"
    path.write_text(SCRIPT.format(**{**PARTS, **parts}))

    def play(window: Window, asked: Any) -> list[Outcome]:
        return [
            directed(path, [], Direction(incident, window, one)).outcome
            for one in asked
        ]

    return ask(incident, play, branches=chosen(names) if names else ())


def test_the_script_gives_the_recorded_losses_bit_for_bit(tmp_path: Path) -> None:
    case = Case(make=lambda: net(drop=0.5), optimizer=sgd)
    told = played(called(case), tmp_path)
    assert (told.noise, told.departs, told.first) == (0.0, None, 20)
    assert told.branches[0].losses == told.recorded


def test_its_own_accumulation_runs(tmp_path: Path) -> None:
    case = Case(make=lambda: net(drop=0.5), optimizer=adam, micro=2)
    told = played(
        called(case),
        tmp_path,
        micro=2,
        optimizer="torch.optim.Adam(model.parameters(), lr=1.0)",
        backward="(loss / 2).backward()",
    )
    assert (told.noise, told.departs) == (0.0, None)


def test_a_loss_scale_of_its_own_is_taken_off(tmp_path: Path) -> None:
    case = Case(make=lambda: net(drop=0.5), optimizer=sgd)
    scaled = "torch.amp.GradScaler('cpu', init_scale=2.0).scale(loss).backward(); "
    scaled += "[p.grad.div_(2.0) for p in model.parameters()]"
    told = played(called(case), tmp_path, backward=scaled)
    assert (told.noise, told.departs) == (0.0, None)


def test_a_cause_is_told_from_what_the_script_played(tmp_path: Path) -> None:
    case = Case(make=lambda: net(drop=0.5), optimizer=sgd, rates={ONSET: 300.0})
    told = played(called(case), tmp_path, "take back, half")
    assert (told.cause, told.result) == ("learning rate too high", "prevented")
    assert told.remedy is not None
    assert told.remedy.remedy == "take back the jump of the rate"


def test_a_loss_from_what_was_not_recorded_is_said(tmp_path: Path) -> None:
    case = Case(make=lambda: net(drop=0.5), optimizer=sgd)
    by_hand = "-output.log_softmax(1)[torch.arange(32), y].mean()"
    told = played(called(case), tmp_path, loss=by_hand)
    assert (told.result, told.departs) == ("not reproduced", 20)
    assert "targets that were not recorded" in told.notes[0]


def test_a_script_that_ends_after_the_onset_is_judged_on_what_it_plays(
    tmp_path: Path,
) -> None:
    case = Case(make=lambda: net(drop=0.5), optimizer=sgd)
    early = replace(called(case), onset=ONSET)
    told = played(early, tmp_path, steps=45)
    assert (told.first, told.last) == (20, 57)
    assert len(told.branches[0].losses) == 38
    assert told.branches[0].detail == ""
    assert any("makes 44 updates after its first" in note for note in told.notes)


def test_a_script_that_ends_before_the_onset_is_refused(tmp_path: Path) -> None:
    case = Case(make=lambda: net(drop=0.5), optimizer=sgd)
    with pytest.raises(ReplayError, match=r"makes 11 updates .* trains longer"):
        played(called(case), tmp_path, steps=12)


def test_a_script_without_a_second_update_is_refused(tmp_path: Path) -> None:
    incident = called(Case(optimizer=sgd))
    with pytest.raises(ReplayError, match="before its second update"):
        played(incident, tmp_path, steps=1)


def test_another_optimizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="is Adam with groups of"):
        played(called(Case(optimizer=adam)), tmp_path)


def test_another_model_is_refused_by_its_shapes(tmp_path: Path) -> None:
    small = Case(make=lambda: torch.nn.Sequential(torch.nn.Linear(8, 4)), optimizer=sgd)
    with pytest.raises(
        (ReplayError, StateError), match=r"0\.bias was \[4\] and is \[32\]"
    ):
        played(called(small), tmp_path)


def test_batches_as_they_were_told_need_a_loss_function(tmp_path: Path) -> None:
    incident, *_ = Case(optimizer=sgd).recorded()
    with pytest.raises(ReplayError, match=r"loss_fn="):
        played(incident, tmp_path)


def test_torch_is_as_it_was_afterwards(tmp_path: Path) -> None:
    before = (torch.nn.functional.cross_entropy, torch.autograd.backward)
    incident = called(Case(make=lambda: net(drop=0.5), optimizer=sgd))
    window = Window(20, 30, ONSET, LAST, ())
    path = tmp_path / "fails.py"
    path.write_text("raise OSError('no data here')\n")
    with pytest.raises(ReplayError, match="no data here"):
        directed(path, [], Direction(incident, window, UNCHANGED))
    assert (torch.nn.functional.cross_entropy, torch.autograd.backward) == before
