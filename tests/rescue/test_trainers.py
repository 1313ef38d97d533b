"""Scripts and functions as trainers: plans are kept to, and nothing is overwritten."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from surefoot import rescue_script
from surefoot.rescue.attempt import Attempt, Measure, Plan
from surefoot.rescue.confirm import confirmed
from surefoot.rescue.function_trainer import FunctionTrainer, Training
from surefoot.rescue.mirror import LINKED_BYTES, mirror
from surefoot.rescue.rescue import rescue
from surefoot.rescue.timing import after_updates, end_script
from surefoot.restore.random_streams import RandomStreams
from surefoot.types import Change

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


# --- a function -----------------------------------------------------------------


def fits_a_line(rate: float) -> Any:
    """A function that trains a line, and gives what it scores."""

    def train(training: Training) -> float:
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        run = training.watch(model, optimizer)
        weights = torch.tensor([[1.0, -2.0, 0.5, 3.0]])
        for _ in range(60):
            if training.over:
                break
            x = torch.randn(32, 4)
            loss = (model(x) - x @ weights.T).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.step(loss)
        return float((model.weight - weights).detach().abs().max())

    return train


def line(tmp_path: Path, rate: float) -> FunctionTrainer:
    torch.manual_seed(3)
    return FunctionTrainer(
        fits_a_line(rate), Measure("distance", higher_is_better=False), tmp_path
    )


def test_the_same_plan_trains_the_same_bit_for_bit(tmp_path: Path) -> None:
    trainer = line(tmp_path, 0.1)
    first, second = trainer.attempt(Plan()), trainer.attempt(Plan())
    assert first.metric == second.metric
    assert first.losses == second.losses
    assert first.steps == 60


def test_a_plan_ends_and_acts_at_its_steps(tmp_path: Path) -> None:
    trainer = line(tmp_path, 0.1)
    untouched = trainer.attempt(Plan())
    faster = Plan((Change("lr", "scale", 2.0),), at=10, until=20)
    changed = trainer.attempt(faster)
    assert changed.steps == 20
    assert changed.losses[:11] == untouched.losses[:11]
    assert changed.losses[12] != untouched.losses[12]


def test_a_change_that_does_not_fit_is_told(tmp_path: Path) -> None:
    plan = Plan((Change("betas.1", "set", 0.9),))
    assert "expected an optimizer" in line(tmp_path, 0.1).attempt(plan).refused


def test_a_rate_that_is_far_too_high_is_repaired(tmp_path: Path) -> None:
    found = rescue(line(tmp_path, 3.0), budget=1.8)
    assert found.ending == "repaired"
    assert found.best is not None
    assert found.best.attempt.metric is not None
    assert found.best.attempt.metric < 0.5
    other = line(tmp_path, 3.0)
    torch.manual_seed(5)
    object.__setattr__(other, "start", RandomStreams())
    verdict = confirmed(found, [other])
    assert len(verdict.seeds) == 2
    assert verdict.treated[0] == found.best.attempt.metric
    assert max(verdict.treated) < 0.5


def test_a_function_that_watches_nothing_is_told(tmp_path: Path) -> None:
    trainer = FunctionTrainer(lambda training: 1.0, Measure("score"), tmp_path)
    with pytest.raises(ValueError, match=r"calls training\.watch"):
        trainer.attempt(Plan())


def test_only_a_repair_can_be_confirmed() -> None:
    class Healthy:
        measure = Measure("score")

        def attempt(self, plan: Plan) -> Attempt:
            return Attempt(plan, 9, metric=1.0)

    with pytest.raises(ValueError, match="expected one that repaired"):
        confirmed(rescue(Healthy()), [])


# --- time and place -------------------------------------------------------------


def test_an_act_comes_once_and_at_its_update() -> None:
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    acted: list[int] = []
    for updates in (0, 2):
        after_updates(optimizer, updates, lambda: acted.append(len(acted)))
    assert acted == [0]
    for _ in range(5):
        optimizer.step()
    assert acted == [0, 1]
    assert not optimizer._optimizer_step_post_hooks


def test_an_end_is_that_of_a_script() -> None:
    with pytest.raises(SystemExit) as stop:
        end_script()
    assert stop.value.code == 0


def test_a_copy_is_apart_from_the_original(tmp_path: Path) -> None:
    source = tmp_path / "work"
    (source / "data").mkdir(parents=True)
    (source / ".git").mkdir()
    (source / "data" / "small.txt").write_text("small")
    large = source / "data" / "large.bin"
    with large.open("wb") as file:
        file.truncate(LINKED_BYTES + 1)
    copy = mirror(source, tmp_path / "copy")
    (copy / "data" / "small.txt").write_text("changed")
    assert (source / "data" / "small.txt").read_text() == "small"
    assert (copy / "data" / "large.bin").is_symlink()
    assert not (copy / ".git").exists()


# --- a script -------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a script that learns nothing, and writes what it scores."""
    folder = tmp_path / "work"
    folder.mkdir()
    shutil.copy(EXAMPLES / "digits.py", folder)
    script = (EXAMPLES / "deep_plain_net.py").read_text(encoding="utf-8")
    script += 'open("score.txt", "w").write(f"{float(accuracy):.3f}")\n'
    (folder / "train.py").write_text(script, encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


def test_a_script_is_repaired_and_its_files_are_kept_apart(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--metric", "held-out accuracy", "--budget", "1.3", "--json", "train.py"]
    code = rescue_script.main([*command, "--", "--steps", "150"])
    body = json.loads(capsys.readouterr().out)
    assert code == 0
    assert body["ending"] == "repaired"
    assert body["do_nothing"] < 0.3
    assert body["repaired"] > 0.7
    assert float((work / "score.txt").read_text()) == body["do_nothing"]
    kept = work / "surefoot-rescue" / "score.txt"
    assert float(kept.read_text()) == body["repaired"]
    assert len(list((work / "surefoot-runs").glob("*.surefoot"))) == 2


def test_what_was_not_understood(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rescue_script.main(["nothing.py"]) == 2
    assert "is no file" in capsys.readouterr().err
    assert rescue_script.main(["--seeds", "3", "train.py"]) == 2
    assert "{seed}" in capsys.readouterr().err
    assert rescue_script.main(["--budget", "0.1", "train.py"]) == 2
    assert "expected 1 or more" in capsys.readouterr().err
    assert not (work / "surefoot-runs").exists()


def test_ctrl_c_ends_it_cleanly(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(rescue_script, "rescue", interrupted)
    before = sorted(os.listdir(work))
    assert rescue_script.main(["train.py"]) == 130
    assert "as its own run left them" in capsys.readouterr().err
    assert sorted(os.listdir(work)) == before
