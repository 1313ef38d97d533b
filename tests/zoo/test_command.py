"""The zoo's command line, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from surefoot.zoo.__main__ import main


def test_the_list_names_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "double_softmax-*", "--seeds", "0"]) == 0
    lines = capsys.readouterr().out.split()
    assert len(lines) == 3
    assert all(line.startswith("double_softmax-") for line in lines)


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "gremlin"]) == 2
    assert "surefoot zoo list" in capsys.readouterr().err


def test_a_score_without_records_says_how_to_make_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", "mlp-0", "--folder", str(tmp_path)]) == 1
    assert "surefoot zoo run" in capsys.readouterr().err


def test_runs_are_made_once_and_scored(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "surefoot", "zoo"]
    name = "never_zeroed-mlp-3-1"
    words = [name, "--jobs", "1", "--folder", str(tmp_path)]
    done = subprocess.run(
        [*command, "run", *words], capture_output=True, text=True, check=True
    )
    assert f"2/2 {name}" in done.stderr
    assert (tmp_path / f"{name}.surefoot").exists()
    again = subprocess.run(
        [*command, "run", *words], capture_output=True, text=True, check=True
    )
    assert name not in again.stderr
    shown = subprocess.run(
        [*command, "score", *words, "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    halves = json.loads(shown.stdout)
    assert halves["reporting"]["recall"]["of"] == 1
