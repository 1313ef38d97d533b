"""`surefoot landscape`: a script, checkpoints of it, and the loss around them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from surefoot.landscape_script import DONE, INTERRUPTED, USAGE, main
from surefoot.record.reader import RecordReader
from surefoot.record.writer import RecordWriter
from surefoot.types import Event, Series

SCRIPT = """
import sys, torch
from pathlib import Path
from torch import nn

class Net(nn.Module):  # of the script alone: no other process could unpickle it
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls == int(Path("stop").read_text()):
            raise KeyboardInterrupt
        Path("calls").write_text(str(self.calls))
        return self.b(torch.tanh(self.a(x)))

def main(gain=1.0):
    torch.manual_seed(0)
    x = torch.randn(32, 4)
    y = x.argmax(1) % 3
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for step in range(3):
        loss = gain * nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        print("updated")

if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
"""

SHAPES = {"a.weight": (6, 4), "a.bias": (6,), "b.weight": (3, 6), "b.bias": (3,)}


def _state(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: 0.5 * torch.randn(shape, generator=generator)
        for name, shape in SHAPES.items()
    }


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


Drawn = Callable[..., Done]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a script, three checkpoints, and the record of a run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "stop").write_text("-1")
    for seed in range(3):
        told = {"model": _state(seed), "step": 10 * seed}
        torch.save(told, tmp_path / f"{seed}.pt")
    (tmp_path / "surefoot-runs").mkdir()
    _run(tmp_path / "surefoot-runs" / "net.surefoot", range(3))
    return tmp_path


def _run(path: Path, seeds: Any, *, ended: bool = True) -> RecordWriter:
    writer = RecordWriter(path, {"script": "train.py"})
    loss = np.linspace(2, 1, 30, dtype=np.float32)[:, None]
    writer.append(Series("loss", ("run",), np.arange(30), loss, "net"))
    for seed in seeds:
        body = {"path": f"{seed}.pt", "bytes": 1}
        writer.event(Event(10 * seed, "checkpoint", body, "net"))
    if ended:
        writer.event(Event(29, "end", {"status": "finished"}, "net"))
        writer.close()
    else:
        writer.flush()
    return writer


@pytest.fixture
def drawn(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> Drawn:
    """The program in this process: a new one would import torch each time."""
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))

    def draw(*arguments: Any) -> Done:
        status = main([*map(str, arguments)])
        told = capsys.readouterr()
        return Done(status, told.out, told.err)

    return draw


def _loss_of(seed: int, gain: float = 1.0) -> float:
    """The script's loss with the weights of a checkpoint, computed by hand."""
    torch.manual_seed(0)
    x = torch.randn(32, 4)
    own = _state(seed)
    out = torch.tanh(x @ own["a.weight"].T + own["a.bias"])
    out = out @ own["b.weight"].T + own["b.bias"]
    return gain * nn.functional.cross_entropy(out, x.argmax(1) % 3).item()


def test_a_checkpoint_becomes_a_page(place: Path, drawn: Drawn) -> None:
    done = drawn("1.pt", "--script", "train.py", "--points", 5, "--exact", "--json")
    assert done.status == DONE, done.err
    told = json.loads(done.out)
    assert told["loss_at_centre"] == pytest.approx(_loss_of(1), rel=1e-5)
    assert (told["points"], told["computed"], told["step"]) == (25, 25, 10)
    page = Path(told["output"])
    assert page == place / "1-landscape.html"
    data = page.read_text().partition('id="surefoot-data">')[2].partition("<")[0]
    (stream,) = json.loads(data)["streams"]
    assert stream["fields"][0]["about"]["loss_at_centre"] == told["loss_at_centre"]
    assert "updated" not in done.out + done.err
    assert not list(place.glob("*.partial"))


def test_a_script_that_is_watched_leaves_no_record(
    place: Path, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUREFOOT", "on")
    script = (place / "train.py").read_text()
    watched = script.replace(
        "    for step in", "    import surefoot\n    run = surefoot.watch("
        "model, optimizer)\n    for step in",
    )  # fmt: skip
    assert watched != script
    (place / "watched.py").write_text(watched)
    done = drawn("1.pt", "--script", "watched.py", "--line", "--points", 3)
    assert done.status == DONE, done.err
    assert [one.name for one in (place / "surefoot-runs").iterdir()] == ["net.surefoot"]
    assert os.environ["SUREFOOT"] == "on"


def test_the_script_s_arguments_follow_a_double_dash(place: Path, drawn: Drawn) -> None:
    words = ("1.pt", "--script", "train.py", "--line", "--points", 3, "--json")
    done = drawn(*words, "--", "2.5")
    told = json.loads(done.out)
    assert told["loss_at_centre"] == pytest.approx(_loss_of(1, 2.5), rel=1e-5)


def test_a_run_s_path_goes_into_its_record(place: Path, drawn: Drawn) -> None:
    done = drawn("net", "--script", "train.py", "--points", 7)
    assert done.status == DONE, done.err
    assert "% of the path" not in done.err
    assert "of the path of training" in done.out
    assert "training" not in sys.modules
    with RecordReader(place / "surefoot-runs" / "net.surefoot") as reader:
        assert reader.field_titles("landscape", "net") == [(20, "the path of training")]
        field = reader.field("landscape", "net")
        assert reader.status() == "finished"
    labels = [one["label"] for one in field.about["marks"]]
    assert labels == ["step 0", "step 10", "step 20"]
    assert field.about["path"][-1] == pytest.approx([0, 0], abs=1e-6)
    assert field.about["loss_at_centre"] == pytest.approx(_loss_of(2), rel=1e-5)
    assert sum(field.about["explained"]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("directions", ["random", "eigenvectors", "gradient"])
def test_directions_of_all_kinds_pass_through_the_centre(
    place: Path, drawn: Drawn, directions: str
) -> None:
    words = ("--script", "train.py", "--points", 5, "--json")
    done = drawn("0.pt", *words, "--directions", directions)
    assert done.status == DONE, done.err
    told = json.loads(done.out)
    assert told["loss_at_centre"] == pytest.approx(_loss_of(0), rel=1e-5)
    assert len(told["directions"]) == 2


def test_the_line_between_two_checkpoints_ends_in_both(
    place: Path, drawn: Drawn
) -> None:
    words = ("--extent", 1, "--points", 3, "--output", "a.npz")
    done = drawn("0.pt", "2.pt", "--script", "train.py", *words)
    assert done.status == DONE, done.err
    found = np.load(place / "a.npz", allow_pickle=False)
    assert found["alphas"].tolist() == [-1, 0, 1]
    assert found["losses"][1:] == pytest.approx([_loss_of(0), _loss_of(2)], rel=1e-5)


@pytest.mark.parametrize("ending", ["png", "svg", "vts"])
def test_pictures_and_meshes_are_written(
    place: Path, drawn: Drawn, ending: str
) -> None:
    pytest.importorskip("matplotlib")
    words = ("--script", "train.py", "--points", 5, "--output", f"a.{ending}")
    done = drawn("0.pt", *words)
    assert done.status == DONE, done.err
    assert (place / f"a.{ending}").stat().st_size > 1000


def test_the_path_of_training_is_filmed(place: Path, drawn: Drawn) -> None:
    words = ("--script", "train.py", "--points", 5, "--output", "a.gif")
    done = drawn("net", *words)
    assert done.status == DONE, done.err
    assert "roughness" in done.out
    with Image.open(place / "a.gif") as film:
        assert film.n_frames >= 3


def test_workers_compute_the_same(place: Path) -> None:
    # In a process of its own, as for its users: what other tests have left behind in
    # this one (threads, greenlets) need not survive a fork.
    command = [sys.executable, "-m", "surefoot", "landscape", "0.pt"]
    command += ["--script", "train.py", "--points", "5", "--exact"]
    for workers in ("1", "2"):
        more = ["--workers", workers, "--output", f"{workers}.npz"]
        done = subprocess.run([*command, *more], capture_output=True, text=True)
        assert done.returncode == DONE, done.stderr
    one, two = (np.load(place / f"{n}.npz", allow_pickle=False) for n in (1, 2))
    assert np.array_equal(one["losses"], two["losses"])


def test_what_was_interrupted_goes_on(place: Path, drawn: Drawn) -> None:
    words = ("0.pt", "--script", "train.py", "--points", 9, "--exact")
    stop = place / "stop"
    stop.write_text("40")
    done = drawn(*words, "--output", "a.npz")
    assert done.status == INTERRUPTED
    assert "goes on from there" in done.err
    assert (place / "a.npz.partial").is_file()
    assert not (place / "a.npz").exists()
    stop.write_text("-1")
    done = drawn(*words, "--output", "a.npz")
    assert done.status == DONE, done.err
    again = int((place / "calls").read_text())
    assert again < 81 - 30
    assert not (place / "a.npz.partial").exists()
    assert drawn(*words, "--output", "b.npz").status == DONE
    one, two = (np.load(place / f"{n}.npz", allow_pickle=False) for n in "ab")
    assert np.array_equal(one["losses"], two["losses"])


def test_what_was_kept_of_another_drawing_is_refused(place: Path, drawn: Drawn) -> None:
    words = ("--script", "train.py", "--points", 9, "--output", "a.npz")
    (place / "stop").write_text("10")
    assert drawn("0.pt", *words).status == INTERRUPTED
    (place / "stop").write_text("-1")
    done = drawn("1.pt", *words)
    assert done.status == USAGE
    assert "another drawing" in done.err
    assert drawn("1.pt", *words, "--no-resume").status == DONE


def test_a_running_run_is_left_alone(place: Path, drawn: Drawn) -> None:
    path = place / "surefoot-runs" / "live.surefoot"
    writer = _run(path, range(3), ended=False)
    before = path.read_bytes()
    done = drawn("live", "--script", "train.py", "--points", 3)
    assert done.status == USAGE
    assert "still being written" in done.err
    assert path.read_bytes() == before
    assert not (place / "calls").exists()
    writer.close()


WRONG = {
    "a file that is not there": (("9.pt",), "no file"),
    "a run that is not there": (("nobody",), "is no run"),
    "a run and a checkpoint": (("net", "0.pt"), "expected one run"),
    "another ending": (("0.pt", "--output", "a.bmp"), "ends in .html"),
    "a film without a path": (("0.pt", "--output", "a.gif"), "without a path"),
    "no folder": (("0.pt", "--output", "no/a.html"), "is no folder"),
    "one for a path": (("0.pt", "--directions", "path"), "expected 3 or more"),
    "a line as a mesh": (("0.pt", "--line", "--output", "a.vts"), "for a line"),
    "an empty range": (("0.pt", "--extent", "0"), "a range that ascends"),
    "another model's": (("other.pt",), "lacks 4 of 4 weights"),
    "no checkpoint": (("train.py",), "or is no checkpoint"),
}


@pytest.mark.parametrize("what", WRONG)
def test_nonsense_is_refused_with_a_reason(
    place: Path, drawn: Drawn, what: str
) -> None:
    torch.save({"c.weight": torch.zeros(2)}, place / "other.pt")
    words, reason = WRONG[what]
    done = drawn(*words, "--script", "train.py")
    assert done.status == USAGE
    assert reason in done.err
    assert done.out == ""


SCRIPTS = {
    "import torch": "ended before its first update",
    "raise RuntimeError('broken data')": "broken data",
    "import sys; sys.exit(3)": "ended before its first update",
}


@pytest.mark.parametrize("text", SCRIPTS)
def test_a_script_that_never_steps_is_told(
    place: Path, drawn: Drawn, text: str
) -> None:
    (place / "wrong.py").write_text(text)
    done = drawn("0.pt", "--script", "wrong.py")
    assert done.status == USAGE
    assert SCRIPTS[text] in done.err


@pytest.mark.parametrize("words", [("--points", "1"), ("--workers", "x"), ("--x",)])
def test_words_that_mean_nothing_end_with_2(
    place: Path, drawn: Drawn, words: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as ended:
        drawn("0.pt", "--script", "train.py", *words)
    assert ended.value.code == USAGE


def test_checkpoints_that_are_gone_are_told(place: Path, drawn: Drawn) -> None:
    for seed in range(3):
        (place / f"{seed}.pt").unlink()
    done = drawn("net", "--script", "train.py")
    assert done.status == USAGE
    assert "3 that are gone" in done.err


def test_the_verb_passes_all_of_it_on(place: Path) -> None:
    words = ("0.pt", "--script", "train.py", "--line", "--points", "3", "--json")
    command = [sys.executable, "-m", "surefoot", "landscape", *words, "--", "2.5"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == DONE, done.stderr
    told = json.loads(done.stdout)
    assert told["loss_at_centre"] == pytest.approx(_loss_of(0, 2.5), rel=1e-5)
