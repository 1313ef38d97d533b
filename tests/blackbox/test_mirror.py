"""What was mirrored survives the process; a run that ended well leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import surefoot
from boxed import made, train
from surefoot.blackbox.checks import IncidentError
from surefoot.blackbox.mirror import recover
from surefoot.blackbox.options import BlackBoxOptions
from surefoot.blackbox.state import Trained, restore

SCRIPT = """
import sys, time, torch
from torch import nn
from torch.nn import functional
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
for step in range(10**6):
    x, y = torch.randn(16, 6), torch.randint(3, (16,))
    loss = functional.cross_entropy(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item(), flush=True)
    time.sleep(0.01)
"""


def killed(tmp_path: Path, steps: int) -> tuple[Path, list[float]]:
    """A script under watch that is killed; its folder, and the losses that it told."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "surefoot.script", "--folder", str(tmp_path)]
    command += ["--quiet", "--black-box", "20MB", "--persist", str(script)]
    losses: list[float] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            losses.append(float(line.split()[1]))
            if len(losses) >= steps:
                # What came more than a few seconds ago is on the disk for certain.
                time.sleep(2)
                break
        os.kill(process.pid, signal.SIGKILL)
        losses += [float(line.split()[1]) for line in process.stdout if "\n" in line]
    assert process.returncode == -signal.SIGKILL
    (folder,) = tmp_path.glob("*.blackbox")
    return folder, losses


def test_a_killed_run_leaves_an_incident(tmp_path: Path) -> None:
    folder, losses = killed(tmp_path, 40)
    incident = recover(folder)
    assert incident.about["script"] == "train.py"
    first, count = incident.state.step, len(incident.steps)
    assert first + count >= 38
    told = [step.losses[0] for step in incident.steps]
    assert told == losses[first : first + count]
    # And its steps can be made again.
    net = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    restore(incident.state, Trained({"Sequential": net}, {"main": optimizer}))
    for step in incident.steps[:10]:
        (micro,) = step.micro
        ((x,), _), (y,) = micro.batch
        micro.random.restore()
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.item() == step.losses[0]
    # A torn or foreign file costs what is in it, not the rest.
    states = sorted(folder.glob("state-*"))
    states[0].write_bytes(states[0].read_bytes()[:100])
    if len(states) > 1:
        assert recover(folder).state.step > first
    else:
        with pytest.raises(IncidentError, match="no state that can be read"):
            recover(folder)


def test_a_run_that_ends_leaves_no_folder(tmp_path: Path) -> None:
    net, optimizer, schedule = made()
    options = BlackBoxOptions("1MB", persist=tmp_path / "mirror")
    run = surefoot.watch(net, optimizer, folder=tmp_path, blackbox=options)
    train(run, net, optimizer, schedule, steps=30)
    folder = tmp_path / "mirror" / f"{run.path.stem}.blackbox"
    until = time.monotonic() + 60
    while not list(folder.glob("s*")) and time.monotonic() < until:
        time.sleep(0.05)
    assert list(folder.glob("state-*"))
    run.close()
    assert not folder.exists()


def test_files_of_states_that_went_go_too(tmp_path: Path) -> None:
    net, optimizer, schedule = made()
    options = BlackBoxOptions("60KB", persist=tmp_path)
    run = surefoot.watch(net, optimizer, folder=tmp_path, blackbox=options)
    run.box.ring.latency = 20
    for _ in range(12):
        train(run, net, optimizer, schedule, steps=10)
        time.sleep(0.1)
    folder = tmp_path / f"{run.path.stem}.blackbox"
    time.sleep(0.6)
    states = [int(path.name[6:18]) for path in folder.glob("state-*")]
    assert len(states) <= 8
    found = recover(folder)
    assert found.steps
    run.close()


def test_a_folder_without_a_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncidentError, match="holds no state of a black box"):
        recover(tmp_path)
    with pytest.raises(IncidentError, match="holds no state of a black box"):
        recover(tmp_path / "nowhere")
