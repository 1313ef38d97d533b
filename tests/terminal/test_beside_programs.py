"""Programs share their terminal with a view: they look as they do without one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from screen import Screen
from sessions import Session

VIEWED = """
import os, runpy, sys, threading
from surefoot.terminal.streams import listen
from surefoot.terminal.view import View, manner_of

view = View(sys.stderr, manner_of(sys.stderr, os.environ, beside=sys.stdout))
listen(view)
shown, done, turn = [0], threading.Event(), threading.Condition()

def draw():
    while not done.wait(0.0005):
        view.show([f"VIEW {shown[0]}", "second", "third"], f"PLAIN {shown[0]}")
        with turn:
            shown[0] += 1
            turn.notify_all()

def pause():
    "Wait until the view had two chances to be drawn."
    with turn:
        until = shown[0] + 2
        turn.wait_for(lambda: shown[0] >= until)

thread = threading.Thread(target=draw)
thread.start()
names = {"pause": pause, "alarm": view.keep}
try:
    runpy.run_path("script.py", names, "__main__")
finally:
    done.set()
    thread.join()
    view.clear()
"""

BARE = """
import runpy
runpy.run_path("script.py", {"pause": lambda: None, "alarm": print}, "__main__")
"""

PRINTS = """
for i in range(6):
    print("line", i); pause()
print("no end", end=""); pause(); print(" of line"); pause()
print("äöü → ✓", "\\tafter a tab"); pause()
"""

BAR = """
import sys
for i in range(11):
    sys.stderr.write(f"\\r{i * 10:3}%|{'#' * i:10}| {i}/10"); pause()
sys.stderr.write("\\n"); sys.stderr.flush(); pause()
print("after the bar"); pause()
"""

BAR_THAT_GOES = """
import sys
print("before")
for i in range(5):
    sys.stderr.write(f"\\r{i}/5 ####"); sys.stderr.flush(); pause()
sys.stderr.write("\\r" + " " * 9 + "\\r"); sys.stderr.flush(); pause()
print("after"); pause()
"""

NESTED_BARS = """
import sys
def write(text):
    sys.stderr.write(text); sys.stderr.flush(); pause()
for epoch in range(3):
    write(f"\\repochs {epoch}/3")
    for batch in range(4):
        write("\\n"); write(f"\\rbatches {batch}/4"); write("\\x1b[A")
    write("\\n"); write("\\r" + " " * 12 + "\\r"); write("\\x1b[A")
write("\\repochs 3/3"); write("\\n")
print("done"); pause()
"""

REDRAWN_TABLE = """
import sys
print("table")
for i in range(5):
    sys.stdout.write(f"a {i}\\nb {i}\\n"); sys.stdout.flush(); pause()
    if i < 4:
        sys.stdout.write("\\x1b[2A\\x1b[2K\\x1b[1B\\x1b[2K\\x1b[1A"); sys.stdout.flush()
print("end")
"""

MANY_LINES = """
for i in range(60):
    print("row", i)
    if i % 7 == 0: pause()
"""

REPLACED = """
import logging, sys
logging.basicConfig(format="%(message)s", level="INFO")
class Tee:
    def __init__(self, stream): self.stream = stream
    def write(self, text): return self.stream.write(text)
    def flush(self): self.stream.flush()
sys.stdout = Tee(sys.stdout)
print("through a tee", flush=True); pause()
logging.info("logged"); pause()
sys.__stdout__.write("through the first\\n"); sys.__stdout__.flush(); pause()
sys.__stdout__.buffer.write(b"as bytes\\n"); sys.__stdout__.buffer.flush(); pause()
import io
sys.stdout = io.StringIO(); print("nowhere"); pause()
sys.stdout = sys.__stdout__; print("back"); pause()
"""

SETTINGS = """
import sys
for stream in (sys.stdin, sys.stdout, sys.stderr):
    print(type(stream).__name__, stream.encoding, stream.errors, stream.mode,
          stream.name, stream.fileno(), stream.isatty(), stream.line_buffering,
          stream.write_through, stream.newlines, stream.closed)
    pause()
print(sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__)
sys.stdout.reconfigure(line_buffering=False)
print("kept back", end=""); pause(); sys.stdout.flush(); print()
"""

CHILDREN = """
import os
for i in range(20):
    pause()
    child = os.fork()
    if child == 0:
        print(f"child {i}", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
print("all ended")
"""

PROGRAMS = {
    "prints": PRINTS,
    "bar": BAR,
    "bar that goes": BAR_THAT_GOES,
    "nested bars": NESTED_BARS,
    "redrawn table": REDRAWN_TABLE,
    "many lines": MANY_LINES,
    "replaced streams": REPLACED,
    "settings": SETTINGS,
}


def session(folder: Path, code: str, program: str, *flags: str, **how: Any) -> Session:
    (folder / "script.py").write_text(program, encoding="utf-8")
    return Session([sys.executable, *flags, "-c", code], folder, **how)


def screens(
    folder: Path, program: str, *flags: str, **how: Any
) -> tuple[Screen, Screen, bytes]:
    """The screens without and with a view, and all that was written with it."""
    with session(folder, BARE, program, *flags, **how) as bare:
        bare.done()
        assert bare.process.returncode == 0, bare.screen.text
    with session(folder, VIEWED, program, *flags, **how) as viewed:
        viewed.done()
        assert viewed.process.returncode == 0, viewed.screen.text
    return bare.screen, viewed.screen, viewed.raw


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_looks_as_without_a_view(name: str, tmp_path: Path) -> None:
    bare, viewed, raw = screens(tmp_path, PROGRAMS[name])
    assert b"VIEW" in raw
    assert viewed.text == bare.text
    assert (viewed.y, viewed.x) == (bare.y, bare.x)
    assert not viewed.unknown


@pytest.mark.parametrize("flag", ["-u", "-X utf8=0"])
def test_whatever_the_streams_are(flag: str, tmp_path: Path) -> None:
    bare, viewed, raw = screens(tmp_path, PRINTS + SETTINGS, *flag.split())
    assert b"VIEW" in raw
    assert viewed.text == bare.text


@pytest.mark.parametrize(("columns", "rows"), [(20, 24), (300, 24), (80, 3), (80, 2)])
def test_whatever_the_size_is(columns: int, rows: int, tmp_path: Path) -> None:
    bare, viewed, _ = screens(tmp_path, PRINTS + MANY_LINES, columns=columns, rows=rows)
    assert viewed.text == bare.text


@pytest.mark.parametrize(
    ("name", "value"), [("TERM", "dumb"), ("TERM", ""), ("NO_COLOR", "1")]
)
def test_no_sequence_reaches_a_terminal_that_has_none(
    name: str, value: str, tmp_path: Path
) -> None:
    with session(tmp_path, VIEWED, PRINTS, environment={name: value}) as one:
        one.done()
    if name == "TERM":
        assert b"\x1b" not in one.raw
    else:
        assert one.screen.colours == 0
    assert "line 5" in one.screen.lines


def test_nothing_is_redrawn_beside_a_pipe(tmp_path: Path) -> None:
    """As in `… | tee log`: somebody writes to the terminal, and is not seen."""
    with session(tmp_path, VIEWED, PRINTS, stdout=-1) as one:
        one.done()
        assert one.process.stdout is not None
        assert b"line 5" in one.process.stdout.read()
        one.process.stdout.close()
    assert b"\x1b" not in one.raw


def test_the_view_is_below_the_program_and_follows_the_size(tmp_path: Path) -> None:
    program = "print('one'); pause(); print('two'); pause(); input()"
    with session(tmp_path, VIEWED, program + "\npause()\ninput()\n") as one:
        one.until(lambda screen: "two" in screen.text)
        one.type("\n")
        one.until(lambda screen: screen.text.endswith("two"))
        one.resize(40, 10)
        one.type("\n")
        screen = one.done()
    assert screen.lines[:2] == ["one", "two"]
    assert one.raw.count(b"VIEW") >= 2


TYPED = """
import sys
name = input("name? "); pause()
print("hello", name); pause()
line = sys.stdin.readline(); pause()
print("read", line.strip())
import threading
print(threading.active_count() > 0)
"""


def test_what_a_person_types_is_left_alone(tmp_path: Path) -> None:
    with session(tmp_path, VIEWED, TYPED) as one:
        one.until(lambda screen: screen.text.endswith("name?"))
        before = len(one.raw)
        one.type("a")
        one.until(lambda screen: "name? a" in screen.text)
        assert b"VIEW" not in one.raw[before:]
        one.type("nn\n")
        one.until(lambda screen: "hello ann" in screen.text and screen.x == 0)
        one.type("more\n")
        screen = one.done()
    assert [line for line in screen.lines if line] == [
        "name? ann",
        "hello ann",
        "more",
        "read more",
        "True",
    ]


def test_alarms_stand_above_a_bar_that_goes_on(tmp_path: Path) -> None:
    program = """
import sys
print("start")
for i in range(1, 6):
    sys.stderr.write(f"\\r{i}/5 {'#' * i}"); sys.stderr.flush(); pause()
    if i in (2, 4): alarm(f"alarm at {i}"); pause()
sys.stderr.write("\\n"); pause()
print("end")
"""
    with session(tmp_path, VIEWED, program) as one:
        one.until(lambda screen: "alarm at 2" in screen.text)
        screen = one.done()
    assert screen.lines[:5] == ["start", "alarm at 2", "alarm at 4", "5/5 #####", "end"]


def test_alarms_stand_above_nested_bars(tmp_path: Path) -> None:
    program = NESTED_BARS.replace(
        'write("\\x1b[A")\n    write',
        'write("\\x1b[A"); alarm(f"alarm {epoch}{batch}")\n    write',
    )
    assert "alarm(" in program
    with session(tmp_path, VIEWED, program) as one:
        screen = one.done()
    alarms = [f"alarm {epoch}{batch}" for epoch in range(3) for batch in range(4)]
    assert [line for line in screen.lines if line] == [*alarms, "epochs 3/3", "done"]


def test_alarms_stand_above_the_view(tmp_path: Path) -> None:
    program = "print('one'); pause(); alarm('alarm'); pause(); print('two'); pause()"
    _, viewed, raw = screens(tmp_path, program)
    assert viewed.lines[:3] == ["one", "alarm", "two"]
    assert b"VIEW" in raw


def test_ctrl_c_leaves_a_clean_terminal(tmp_path: Path) -> None:
    program = """
try:
    print("working"); pause()
    while True: pause()
except KeyboardInterrupt:
    print("stopped"); pause()
"""
    with session(tmp_path, VIEWED, program) as one:
        one.until(lambda screen: "working\n\nVIEW" in screen.text)
        one.interrupt()
        screen = one.done()
    assert one.process.returncode == 0
    assert screen.text == "working\nstopped"


def test_a_forked_child_has_no_view_and_its_lines_stay_whole(tmp_path: Path) -> None:
    """Nobody tells the parent of them: they land in the empty row above the view."""
    with session(tmp_path, VIEWED, CHILDREN) as one:
        screen = one.done()
    assert one.process.returncode == 0
    expected = [*(f"child {i}" for i in range(20)), "all ended"]
    assert [line for line in screen.lines if line] == expected


def test_a_terminal_that_goes_away_does_not_end_the_program(tmp_path: Path) -> None:
    program = """
import signal, pathlib
signal.signal(signal.SIGHUP, signal.SIG_IGN)
print("working"); pause()
while not pathlib.Path("gone").exists(): pause()
pathlib.Path("finished").touch()
"""
    one = session(tmp_path, VIEWED, program)
    one.until(lambda screen: "working" in screen.text and screen.x == 0)
    os.close(one.master)
    (tmp_path / "gone").touch()
    one.process.wait(60)
    assert (tmp_path / "finished").exists()
