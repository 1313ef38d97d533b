"""The gallery of examples: each trains both ways, tells the difference, draws it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from source_code import ROOT

GALLERY = ROOT / "examples" / "gallery"
SCRIPTS = sorted(
    path
    for path in GALLERY.glob("*.py")
    if "compare(" in path.read_text("utf-8") and path.stem != "beside"
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_cure_helps_on_every_seed_that_is_asked_for(
    script: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, str(script), "--to", str(tmp_path / "a.png")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:3]]
    assert all(len(re.findall(r"[\d.]+", " ".join(row[-3:]))) == 3 for row in rows)
    assert ": helped" in done.stdout, done.stdout
    assert (tmp_path / "a.png").stat().st_size > 5_000


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_docs_show_what_it_prints_and_draws(script: Path) -> None:
    page = (ROOT / "docs" / "examples.md").read_text("utf-8")
    section = page.partition(f"<!-- printed: {script.stem} -->")[2]
    printed = section.partition("<!-- end -->")[0]
    assert "95 % interval" in printed
    assert ": helped" in printed
    assert f"](images/gallery/{script.stem}.png)" in page


def test_there_is_an_example_for_each_family_of_tasks() -> None:
    assert len(SCRIPTS) == 9
