"""`surefoot run --autopilot`: a script nobody changed, a terminal, and a person."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sessions import Session
from surefoot.record.folder import find_run, list_runs
from surefoot.record.reader import RecordReader
from surefoot.types import Event

READING = """
from surefoot.record.reader import RecordReader
def events(path):
    run.flush()
    with RecordReader(path) as reader:
        return list(reader.events())
"""

ASKING = """
import time, torch, surefoot
from surefoot.types import Change, Diagnosis, Prescription
torch.set_num_threads(1)
model = torch.nn.Linear(4, 1)
sgd = torch.optim.SGD(model.parameters(), lr=0.1)
half = Prescription("Halve the rate", (Change("lr", "scale", 0.5),), "a fall", "test")
found = Diagnosis("rate too high", "about", "0", 7, 0.9, (), (half,))
with surefoot.watch(model, sgd, name="train", autopilot="ask") as run:
    run._autopilot.hear(found)
    while not any(e.kind == "change" for e in events(run.path)):
        sgd.step()
        time.sleep(0.05)
print("ended")
"""

NAN_ONCE = """
import torch
from torch import nn
torch.manual_seed(0); torch.set_num_threads(1)
model = nn.Linear(4, 1)
adam = torch.optim.Adam(model.parameters(), lr=0.01)
for step in range(30):
    x = torch.randn(8, 4) * (float("nan") if step == 20 else 1.0)
    loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
    adam.zero_grad(); loss.backward(); adam.step()
print("finite" if torch.isfinite(model.weight).all() else "lost")
"""


def events(folder: Path) -> list[Event]:
    with RecordReader(find_run("last", folder / "surefoot-runs")) as reader:
        return list(reader.events())


def command(mode: str) -> list[str]:
    return [sys.executable, "-m", "surefoot.script", "--autopilot", mode, "train.py"]


def test_a_person_is_asked_on_the_terminal_and_yes_acts(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(f"{READING}{ASKING}")
    with Session([sys.executable, "train.py"], tmp_path, columns=200) as session:
        session.until(lambda screen: "surefoot asks: rate too high" in screen.text)
        session.type("what?\n")
        session.type("y\n")
        assert "ended" in session.done().text
    told = {event.kind: event.body for event in events(tmp_path)}
    assert told["answer"]["answer"] == "yes"
    assert told["answer"]["by"] == "terminal"
    assert told["change"]["why"].endswith("agreed to (terminal)")


@pytest.mark.parametrize(
    ("mode", "expected"), [("guard", "finite"), ("advise", "lost")]
)
def test_a_guarded_script_survives_what_a_watched_one_does_not(
    mode: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(NAN_ONCE)
    done = subprocess.run(
        command(mode), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{expected}\n"
    changed = any(event.kind == "change" for event in events(tmp_path))
    assert changed == (mode == "guard")


def test_a_mode_that_there_is_not_is_refused_before_the_script_runs(
    tmp_path: Path,
) -> None:
    (tmp_path / "train.py").write_text(NAN_ONCE)
    done = subprocess.run(
        command("pilot"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "invalid choice: 'pilot'" in done.stderr
    assert not list_runs(tmp_path / "surefoot-runs")


def test_an_optimizer_that_no_autopilot_can_fly_is_trained_without_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "train.py").write_text(
        """
import torch

torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
lbfgs = torch.optim.LBFGS(model.parameters(), lr=0.1)
x, y = torch.randn(8, 4), torch.randn(8, 1)


def closure():
    lbfgs.zero_grad()
    loss = (model(x) - y).square().mean()
    loss.backward()
    return loss


first = lbfgs.step(closure).item()
lbfgs.step(closure)
print(closure().item() < first)
"""
    )
    done = subprocess.run(
        command("steer"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert "no autopilot flies this run, training goes on" in done.stderr
    (off,) = [event for event in events(tmp_path) if event.kind == "autopilot"]
    assert "closure" in str(off.body["why"])
