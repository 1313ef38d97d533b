"""`surefoot run` on a terminal: the view, the alarms, and a terminal left clean."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from sessions import Session

TRAIN = """
import os, sys, time, torch
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
def step(factor=1.0):
    loss = factor * nn.functional.mse_loss(model(torch.randn(8, 4)), torch.zeros(8, 2))
    optimizer.zero_grad(); loss.backward(); optimizer.step()
"""


VIEW = (
    r"batch 4\n\nstep [\d,]+  loss \S+  lr 0.01  \S+ steps/s  train-\S+\n"
    r"loss  [▁▂▃▄▅▆▇█]+"
)


def session(folder: Path, code: str, *options: str, **environment: str) -> Session:
    (folder / "train.py").write_text(TRAIN + code)
    command = [sys.executable, "-m", "surefoot.script", *options, "train.py"]
    return Session(command, folder, columns=100, environment=environment)


def test_the_view_comes_and_goes_and_the_script_keeps_its_lines(tmp_path: Path) -> None:
    code = """
print("begin")
for i in range(5): step(); print("batch", i)
while not os.path.exists("seen"): step(); time.sleep(0.001)
print("end")
"""
    with session(tmp_path, code) as one:
        screen = one.until(lambda screen: re.search(VIEW, screen.text) is not None)
        (tmp_path / "seen").touch()
        screen = one.done()
    assert one.process.returncode == 0
    assert screen.lines[:8] == ["begin", *(f"batch {i}" for i in range(5)), "end", ""]
    assert screen.lines[8].startswith("✓ Nothing wrong found in")
    assert "steps/s" not in screen.text
    assert not screen.unknown


def test_an_alarm_stands_above_the_scripts_bar(tmp_path: Path) -> None:
    code = """
print("begin", flush=True)
done = 0
while not os.path.exists("seen"):
    step(float("nan") if done > 100 else 1.0)
    done += 1
    sys.stderr.write(f"\\r{done} |####"); sys.stderr.flush()
    time.sleep(0.001)
sys.stderr.write("\\n"); print("end")
"""
    with session(tmp_path, code) as one:
        screen = one.until(lambda screen: "surefoot: " in screen.text)
        (tmp_path / "seen").touch()
        screen = one.done()
    text = screen.text[: screen.text.index("end")]
    lines = text.splitlines()
    assert lines[0] == "begin"
    assert all(line.startswith("surefoot: ") for line in lines[1:-1])
    assert "since step 101" in lines[1]
    assert re.fullmatch(r"\d+ \|####", lines[-1])
    assert "steps/s" not in one.raw.decode("utf-8", "replace")


def test_ctrl_c_in_the_middle_leaves_the_terminal_clean(tmp_path: Path) -> None:
    with session(tmp_path, "print('begin')\nwhile True: step()\n") as one:
        one.until(lambda screen: "steps/s" in screen.text)
        one.interrupt()
        screen = one.done()
    assert one.process.returncode == -2
    assert screen.lines[:2] == ["begin", "Traceback (most recent call last):"]
    assert "KeyboardInterrupt" in screen.text
    assert "steps/s" not in screen.text
    assert "record: " in screen.text


@pytest.mark.parametrize(
    ("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("PYTHONUTF8", "0")]
)
def test_terminals_that_can_do_less(name: str, value: str, tmp_path: Path) -> None:
    code = """
while not os.path.exists("seen"): step(); time.sleep(0.001)
"""
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"} if value == "0" else {}
    with session(tmp_path, code, **{name: value}, **locale) as one:
        one.until(lambda screen: "steps/s" in screen.text)
        view = one.screen.text
        (tmp_path / "seen").touch()
        one.done()
    assert one.process.returncode == 0
    if name == "NO_COLOR":
        assert one.screen.colours == 0
        assert b"\x1b[J" in one.raw
    elif name == "TERM":
        assert b"\x1b" not in one.raw
    else:
        assert view.isascii()
        assert re.search(r"loss  [_.~=*%#-]+", view)


def test_quiet_leaves_the_streams_of_the_script_alone(tmp_path: Path) -> None:
    code = """
step()
import io
print(type(sys.stdout.buffer.raw) is io.FileIO, {"rich", "typer"} & set(sys.modules))
"""
    with session(tmp_path, code, "--quiet") as one:
        assert one.done().text == "True set()"
    with session(tmp_path, code, SUREFOOT="off") as one:
        assert one.done().text == "True set()"
