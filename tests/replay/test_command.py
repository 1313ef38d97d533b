"""`surefoot replay`: a recorded script, its incident, and what is said of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from surefoot.blackbox.incident import read_incident, write_incident
from surefoot.record.replays import replays_of
from surefoot.replay_script import CLEAN, FINDING, INTERRUPTED, USAGE, main

SCRIPT = """
import argparse
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--bad", type=int, default=-1)
parser.add_argument("--width", type=int, default=32)
options = parser.parse_args()
torch.manual_seed(0)
y = torch.randint(4, (2048,))
x = torch.randn(2048, 16)
x[torch.arange(2048), y] += 2.0
model = nn.Sequential(nn.Linear(16, options.width), nn.ReLU(), nn.Dropout(0.1),
                      nn.Linear(options.width, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
data = torch.utils.data.TensorDataset(x, y)
loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
step = 0
for images, labels in [batch for epoch in range(2) for batch in loader]:
    if step == options.bad:
        images = images * 300
    loss = nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    step += 1
    if step == 60:
        raise RuntimeError("the loss looks wrong")
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a script, the record of its run, and the incident of it."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "surefoot.script", "--quiet"]
    command += ["--folder", str(folder), "--black-box", "50MB"]
    command += [str(folder / "train.py"), "--bad", "45"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # branches get as many threads
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert "the loss looks wrong" in done.stderr
    return folder


def incident_in(folder: Path) -> Path:
    """That of the diagnosis; the exception left one of its own."""
    return max(folder.glob("*.incident.safetensors"))  # "." comes after "-2."


def arguments(folder: Path, *options: str, given: tuple[str, ...]) -> list[str]:
    script = str(folder / "train.py")
    return [str(incident_in(folder)), "--script", script, *options, "--", *given]


def test_the_cause_of_a_recorded_script_is_told_and_kept(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--branches", "skip, half", "--jobs", "2", "--json")
    # Without -- the script gets the arguments that were recorded.
    status = main(arguments(recorded, *options, given=())[:-1])
    spoken = capsys.readouterr()
    told: Any = json.loads(spoken.out)
    assert status == FINDING
    assert (told["noise"], told["departs"]) == (0.0, None)
    assert (told["cause"], told["result"]) == ("bad batch", "prevented")
    assert told["remedy"]["changes"][0]["amount"] == "suspect 45"
    assert "4 of 4 branches" in spoken.err
    [kept] = replays_of(next(recorded.glob("*.surefoot")))
    assert kept.cause == "bad batch"


def test_another_network_is_refused_with_its_shapes(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(arguments(recorded, "--jobs", "1", given=("--width", "48")))
    assert status == USAGE
    said = capsys.readouterr().err
    assert "0.bias was [32] and is [48]" in said
    assert "the arguments that were recorded" in said


def test_ctrl_c_ends_all_branches_and_says_what_was_done(recorded: Path) -> None:
    command = [sys.executable, "-m", "surefoot.replay_script"]
    command += arguments(recorded, "--jobs", "1", given=("--bad", "45"))
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # The tests may run in the background, where shells ignore it for all.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if ": 3 of " in line:
            break
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == INTERRUPTED
    assert re.search(r"skip the strange batches +prevented", out)
    assert "not finished" in out
    assert not _playing(incident_in(recorded))


def _playing(incident: Path) -> list[str]:
    """Processes that still play a branch of an incident."""
    found: list[str] = []
    for _ in range(50):
        found = [
            path.parent.name
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if str(incident) in _words(path) and "--play" in _words(path)
        ]
        if not found:
            break
        time.sleep(0.1)
    return found


def _words(path: Path) -> str:
    try:
        return path.read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


# --- bad input --------------------------------------------------------------------


def test_files_that_are_none_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, odd = tmp_path / "train.py", tmp_path / "odd.incident.safetensors"
    script.write_text("")
    odd.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    assert main([str(tmp_path / "no"), "--script", str(script)]) == USAGE
    assert main([str(tmp_path), "--script", str(script)]) == USAGE
    assert main([str(odd), "--script", str(tmp_path / "no.py")]) == USAGE
    assert main([str(odd), "--script", str(script)]) == USAGE
    said = capsys.readouterr().err.splitlines()
    assert "no file; expected an incident file" in said[0]
    assert "a folder; expected an incident file" in said[1]
    assert "expected a Python script" in said[2]
    assert "incident" in said[3]


def test_a_branch_that_is_none_is_refused_with_those_there_are(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments(recorded, "--branches", "medicine", given=())
    assert main(given) == USAGE
    assert "expected a part of one of: skip the strange" in capsys.readouterr().err


def test_a_file_that_says_anything_of_its_run_is_no_harm(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = read_incident(incident_in(recorded))
    about = {"argv": 5, "threads": 10**9, "not_kept": 7, "torch": "1.0.0"}
    odd = tmp_path / "odd.incident.safetensors"
    write_incident(replace(whole, about=about, steps=()), odd)
    assert main([str(odd), "--script", str(recorded / "train.py")]) == USAGE
    assert "holds no step with its batches" in capsys.readouterr().err


def test_statuses_are_those_of_the_other_verbs() -> None:
    assert (CLEAN, FINDING, USAGE, INTERRUPTED) == (0, 1, 2, 130)
