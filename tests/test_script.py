"""`surefoot run`: the script sees Python as it is, and Surefoot sees the training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from surefoot.attach import Attachment
from surefoot.blackbox.incident import read_incident
from surefoot.blackbox.options import BlackBoxOptions
from surefoot.diagnosis.examine import examine
from surefoot.record.folder import find_run, list_runs
from surefoot.record.reader import RecordReader
from surefoot.script import Session

EXAMPLES = Path(__file__).parent.parent / "examples"

TRAIN = """
import torch
torch.manual_seed(0)
torch.set_num_threads(1)
from torch import nn
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
def step():
    loss = torch.nn.functional.mse_loss(model(torch.randn(8, 4)), torch.zeros(8, 2))
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    return loss
for _ in range(30): step()
"""


def run(
    folder: Path, code: str, *arguments: str, options: tuple[str, ...] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    """Write a script and run it under watch."""
    script = folder / "train.py"
    script.write_text(code)
    command = [sys.executable, "-m", "surefoot.script", *options, str(script)]
    return subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **env},
    )


def test_the_script_finds_python_as_it_is(tmp_path: Any) -> None:
    (tmp_path / "beside.py").write_text("here = True")
    code = TRAIN + (
        "import sys, pickle, beside\n"
        "class Own: pass\n"
        "pickle.loads(pickle.dumps(Own()))\n"
        "print(__name__, sys.argv[1:], __file__.endswith('train.py'))\n"
        "print(sys.modules['__main__'].Own is Own, 'typer' in sys.modules)\n"
        "sys.exit(3)\n"
    )
    done = run(tmp_path, code, "--lr", "0.1", "-v")
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines() == [
        "__main__ ['--lr', '0.1', '-v'] True",
        "True False",
    ]
    with RecordReader(find_run("last", tmp_path / "surefoot-runs")) as reader:
        assert reader.series("loss").steps.tolist() == list(range(30))
        assert reader.meta["argv"] == ["--lr", "0.1", "-v"]
        assert reader.status() == "failed"


def test_an_exception_looks_as_in_python(tmp_path: Any) -> None:
    code = TRAIN + "def inner():\n    raise RuntimeError('planted')\ninner()\n"
    done = run(tmp_path, code)
    assert done.returncode == 1
    trace = done.stderr[done.stderr.index("Traceback") :]
    assert trace.splitlines()[1].strip().startswith(f'File "{tmp_path / "train.py"}"')
    assert "RuntimeError: planted" in trace
    assert "surefoot/script.py" not in trace
    [record] = list_runs(tmp_path / "surefoot-runs")
    assert (record.status, record.steps) == ("failed", 30)


def test_a_script_that_does_not_compile(tmp_path: Any) -> None:
    done = run(tmp_path, "def broken(:\n")
    assert done.returncode == 1
    assert "SyntaxError" in done.stderr
    assert "no optimizer step was taken" in done.stderr


def test_ctrl_c_ends_the_process_by_the_signal(tmp_path: Any) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAIN + "print('ready', flush=True)\nwhile True: step()\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "surefoot.script", str(script)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background may have been told to ignore the signal.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in stderr
    [record] = list_runs(tmp_path / "surefoot-runs")
    assert record.status == "interrupted"
    assert record.steps > 30


def test_a_script_that_is_not_there(tmp_path: Any) -> None:
    command = [sys.executable, "-m", "surefoot.script", "nowhere.py"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert "nowhere.py is no file; expected a Python script" in done.stderr


def test_nothing_to_watch_is_said(tmp_path: Any) -> None:
    done = run(tmp_path, "print('hello')")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert "no optimizer step was taken" in done.stderr
    assert not (tmp_path / "surefoot-runs").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("")
    done = run(tmp_path, TRAIN + "print('trained')", options=("--folder", "file/runs"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "the folder for records came as file/runs" in done.stderr
    assert "Traceback" not in done.stderr


def test_switched_off(tmp_path: Any) -> None:
    done = run(tmp_path, TRAIN + "print('trained')", SUREFOOT="off")
    assert (done.returncode, done.stdout, done.stderr) == (0, "trained\n", "")
    assert not (tmp_path / "surefoot-runs").exists()


def test_a_gan_becomes_two_streams(tmp_path: Any) -> None:
    code = """
import torch
from torch import nn
torch.set_num_threads(1)
class Generator(nn.Sequential): pass
class Critic(nn.Sequential): pass
g = Generator(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6))
c = Critic(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
og = torch.optim.Adam(g.parameters()); oc = torch.optim.Adam(c.parameters())
for _ in range(20):
    oc.zero_grad()
    (c(g(torch.randn(8, 4)).detach()).mean() - c(torch.randn(8, 6)).mean()).backward()
    oc.step()
    og.zero_grad(); (100 - c(g(torch.randn(8, 4))).mean()).backward(); og.step()
"""
    done = run(tmp_path, code)
    assert done.returncode == 0, done.stderr
    with RecordReader(find_run("last", tmp_path / "surefoot-runs")) as reader:
        assert set(reader.streams()) == {"generator", "critic"}
        generator = reader.series("loss", "generator")
        assert generator.steps.tolist() == list(range(20))
        assert (generator.values > 50).all()
        assert (reader.series("loss", "critic").values < 50).all()
        layers = reader.series("grad_norm", "critic").layers
        assert all(layer.startswith("Critic.") for layer in layers)


@pytest.mark.parametrize(
    ("name", "cause", "layer", "onset"),
    [
        ("deep_plain_net", "saturating activations", "0.weight", 0),
        ("loss_spike", "bad batch", None, 300),
        ("nan_in_module", "numeric fault", "log_shares", 200),
    ],
)
def test_the_examples_are_diagnosed(
    name: str, cause: str, layer: str | None, onset: int, tmp_path: Any
) -> None:
    command = [sys.executable, "-m", "surefoot.script", str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, check=True
    )
    with RecordReader(find_run("last", tmp_path / "surefoot-runs")) as reader:
        found = examine(reader)
    assert cause in found[0].cause
    assert layer in (None, found[0].layer)
    assert found[0].onset == onset
    assert found[0].prescriptions
    assert f"since step {onset}" in done.stderr


def test_a_report_that_cannot_be_written_leaves_the_status_of_the_script(
    tmp_path: Any,
) -> None:
    done = run(tmp_path, TRAIN, options=("--report", "absent/page.html"))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "absent/page.html" in done.stderr.splitlines()[-1]


def test_checkpoints_are_told_where_they_went(tmp_path: Any) -> None:
    first = "import torch; torch.save({'step': 0}, 'first.pt')\n"
    code = (
        first
        + TRAIN
        + (
            "import io\n"
            "torch.save(model.state_dict(), 'weights.pt')\n"
            "torch.save(obj=1, f=io.BytesIO())\n"
            "step(); torch.save(f='last.pt', obj=model.state_dict())\n"
        )
    )
    assert run(tmp_path, code).returncode == 0
    with RecordReader(find_run("last", tmp_path / "surefoot-runs")) as reader:
        told = reader.events("checkpoint")
    assert [(one.step, one.body["path"]) for one in told] == [
        (0, "first.pt"),
        (30, "weights.pt"),
        (31, "last.pt"),
    ]
    assert told[1].body["bytes"] == (tmp_path / "weights.pt").stat().st_size


def test_a_sink_is_opened_for_the_run(tmp_path: Any) -> None:
    done = run(tmp_path, TRAIN, options=("--sink", "tensorboard:board"))
    assert done.returncode == 0, done.stderr
    [record] = list_runs(tmp_path / "surefoot-runs")
    [file] = (tmp_path / "board" / record.name).iterdir()
    assert b"surefoot/grad_norm/0.weight" in file.read_bytes()


def test_a_sink_that_is_none_is_refused_before_the_script_runs(tmp_path: Any) -> None:
    done = run(tmp_path, TRAIN + "print('trained')", options=("--sink", "aim"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown sink 'aim'; expected one of tensorboard" in done.stderr


def test_who_is_quiet_gets_incidents_all_the_same(tmp_path: Path) -> None:
    blackbox = BlackBoxOptions("10MB")
    script = tmp_path / "train.py"
    session = Session(script, [], tmp_path, quiet=True, blackbox=blackbox)
    attachment = Attachment(session.start, session.prepare, session.begun, targets=True)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    for step in range(300):
        x = torch.randn(8, 4)
        size = 1.0 if step < 200 else 1e4
        loss = size * nn.functional.mse_loss(model(x), x[:, :2])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    attachment.detach()
    session.end(None)
    reasons = [read_incident(one).reason for one in tmp_path.glob("*.incident.*")]
    assert any(one.startswith("learning rate too high") for one in reasons), reasons
