"""The command line: text for people, JSON for programs, a status for shells."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from surefoot.cli import app
from surefoot.record.folder import list_runs
from surefoot.record.schema import run_path
from surefoot.record.writer import RecordWriter
from surefoot.types import RUN, Event, Series

runner = CliRunner()


def record(folder: Path, *, broken: bool, name: str = "net") -> Path:
    """A record of 200 steps that learns, or that turns NaN at step 120."""
    from datetime import UTC, datetime

    path = run_path(folder, name, datetime.now(UTC))
    parameter = {"name": "fc.weight", "module": "fc", "size": 10}
    facts = {"stream": "main", "model": "Net", "parameters": [parameter]}
    writer = RecordWriter(path, {"script": f"{name}.py", "streams": {"main": facts}})
    steps = np.arange(200)
    loss = 2.3 * np.exp(-steps / 50) + 0.1
    grads = np.full(200, 0.5) * np.exp(-steps / 100)
    if broken:
        loss[120:], grads[120:] = np.nan, np.inf
        body = {
            "module": "fc",
            "operation": "log",
            "line": "net.py:7",
            "direction": "forward",
            "certain": True,
        }
        writer.event(Event(120, "nonfinite", body))
    for quantity, layers, values in (
        ("loss", RUN, loss),
        ("grad_norm", ("fc.weight",), grads),
    ):
        block = values.astype(np.float32)[:, None]
        writer.append(Series(quantity, layers, steps, block))
    writer.event(Event(200, "end", {"status": "finished"}))
    writer.close()
    return path


@pytest.fixture
def folder(tmp_path: Any) -> Path:
    record(tmp_path, broken=False, name="healthy")
    record(tmp_path, broken=True, name="broken")
    return tmp_path


def call(*arguments: Any) -> Any:
    return runner.invoke(app, [str(argument) for argument in arguments])


def test_diagnose_ends_with_0_where_nothing_is_wrong(folder: Path) -> None:
    done = call("diagnose", "healthy", "--folder", folder)
    assert done.exit_code == 0, done.output
    assert "Nothing wrong found in 200 steps" in done.output
    done = call("diagnose", "healthy", "--folder", folder, "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])


def test_diagnose_ends_with_1_on_a_finding(folder: Path) -> None:
    done = call("diagnose", "broken", "--folder", folder)
    assert done.exit_code == 1
    for words in ("fc", "since step 120", "net.py:7", "What to do"):
        assert words in done.output
    done = call("diagnose", "broken", "--folder", folder, "--json")
    [first, *_] = json.loads(done.stdout, parse_constant=pytest.fail)
    assert (done.exit_code, first["layer"], first["onset"]) == (1, "fc", 120)
    assert first["findings"][0]["evidence"][0]["source"]


def test_runs_are_listed(folder: Path, tmp_path: Any) -> None:
    (folder / "garbage.surefoot").write_bytes(b"not a record at all" * 100)
    done = call("runs", "--folder", folder)
    assert done.exit_code == 0
    assert all(name in done.output for name in ("healthy", "broken", "garbage"))
    rows = json.loads(call("runs", "--folder", folder, "--json").stdout)
    assert len(rows) == 3
    empty = call("runs", "--folder", tmp_path / "none")
    assert empty.exit_code == 0
    assert "surefoot run SCRIPT.py" in empty.output


@pytest.mark.parametrize("to", ["csv", "parquet", "tensorboard"])
def test_export(to: str, folder: Path, tmp_path: Any) -> None:
    out = tmp_path / f"out-{to}"
    done = call("export", "healthy", "--folder", folder, "--to", to, "-o", out)
    assert done.exit_code == 0, done.output
    assert out.exists()
    if to == "csv":
        assert len(out.read_text().splitlines()) == 401
    shown = call(
        "export",
        "healthy",
        "--folder",
        folder,
        "--to",
        "csv",
        "--json",
        "-o",
        out.with_suffix(".2"),
    )
    assert json.loads(shown.stdout)["format"] == "csv"


def test_report(folder: Path, tmp_path: Any) -> None:
    out = tmp_path / "page.html"
    done = call("report", "broken", "--folder", folder, "-o", out)
    assert done.exit_code == 0, done.output
    page = out.read_text()
    assert "net.py:7" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("diagnose", "nothing"), "nothing"),
        (("diagnose", "garbage"), "garbage.surefoot"),
        (("export", "healthy", "--to", "excel"), "csv"),
        (("report", "nothing"), "nothing"),
        (("report", "healthy", "--out", "."), "directory"),
        (("report", "healthy", "--out", "absent/page.html"), "absent"),
        (("try", "train.py", "--after", "healthy"), "without a remedy"),
        (("diagnose", "newer"), "newer"),
    ],
)
def test_nonsense_ends_with_2_and_a_sentence(
    arguments: tuple[str, ...], message: str, folder: Path
) -> None:
    import sqlite3

    (folder / "garbage.surefoot").write_bytes(b"not a record at all" * 100)
    newer = record(folder, broken=False, name="newer")
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 99")
    verb, *rest = arguments
    done = call(verb, "--folder", folder, *rest)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output
    assert "sqlite3." not in done.output


def test_a_truncated_record_gives_what_is_left_and_says_so(folder: Path) -> None:
    path = next(one.path for one in list_runs(folder) if "broken" in one.name)
    path.write_bytes(path.read_bytes()[: 3 * path.stat().st_size // 4])
    done = call("diagnose", "broken", "--folder", folder)
    assert done.exit_code in (0, 1, 2)
    assert str(path.name) in done.output
    assert "Traceback" not in done.output


def test_the_reading_verbs_work_without_torch(folder: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from surefoot.cli import app\n"
        f"app(['diagnose', 'broken', '--folder', {str(folder)!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "since step 120" in done.stdout


def test_run_passes_everything_on(tmp_path: Any) -> None:
    script = tmp_path / "train.py"
    script.write_text("import sys; print(sys.argv[1:]); sys.exit(5)")
    command = [
        sys.executable,
        "-m",
        "surefoot",
        "run",
        str(script),
        "--help",
        "-x",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert done.stdout.strip() == "['--help', '-x', '1']"


def test_a_report_shows_what_was_tried(folder: Path, tmp_path: Any) -> None:
    from surefoot.record.trials import add_trial
    from surefoot.types import Prescription, Verdict

    path = next(one.path for one in list_runs(folder) if "broken" in one.name)
    remedy = Prescription("a remedy that was tried", (), "", "")
    pair = (0.1, 0.2)
    add_trial(path, Verdict(remedy, "accuracy", (0, 1), pair, pair, 0.0, pair, False))
    out = tmp_path / "page.html"
    done = call("report", "broken", "--folder", folder, "-o", out)
    assert done.exit_code == 0, done.output
    assert "a remedy that was tried" in out.read_text()


DIVERGES = """
import sys, torch
torch.set_num_threads(1)
torch.manual_seed(int(sys.argv[1]))
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=2.0)
for _ in range(60):
    noise = 0.1 * torch.randn(64, 1)
    loss = (model(torch.randn(64, 4)) - 1 - noise).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("held-out loss:", loss.item())
"""


def test_what_was_tried_is_kept_beside_the_record(tmp_path: Any) -> None:
    from surefoot.record.trials import trials_of

    script = tmp_path / "train.py"
    script.write_text(DIVERGES)
    folder = tmp_path / "runs"
    command = [sys.executable, "-m", "surefoot", "run", "--folder", str(folder)]
    subprocess.run([*command, str(script), "0"], check=True, capture_output=True)
    done = call(
        "try", script, "--folder", folder, "--metric", "held-out loss",
        "--lower", "--seeds", 2, "--json", "--", "{seed}",
    )  # fmt: skip
    assert done.exit_code in (0, 1), done.output
    [run] = list_runs(folder)
    [kept] = trials_of(run.path)
    told = json.loads(done.stdout)
    assert kept.prescription.remedy == told["prescription"]["remedy"]
    assert (kept.effect, kept.held) == (told["effect"], told["held"])
