"""Trials: the changed script beside the unchanged one, on the same seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from surefoot.experiments.trial import TrialError, metric_in, try_prescription
from surefoot.types import Change, Prescription

SCRIPT = """
import sys, torch
from torch import nn
torch.set_num_threads(1)
torch.manual_seed(int(sys.argv[1]))
model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.0002)
for _ in range(60):
    x = torch.randn(32, 2)
    loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
x = torch.randn(200, 2)
print("held-out loss:", (model(x) - x.sum(1, keepdim=True)).square().mean().item())
"""


@pytest.fixture
def script(tmp_path: Any) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


def scaled_rate(factor: float) -> Prescription:
    return Prescription("another rate", (Change("lr", "scale", factor),), "", "")


def test_a_remedy_that_helps_is_verified_and_one_that_does_nothing_is_not(
    script: Path,
) -> None:
    verdicts = [
        try_prescription(
            script,
            scaled_rate(factor),
            arguments=["{seed}"],
            metric="held-out loss",
            seeds=range(3),
            higher_is_better=False,
        )
        for factor in (300.0, 1.0)
    ]
    assert verdicts[0].held
    assert max(verdicts[0].treated) < 2.0
    assert not verdicts[1].held
    assert str(verdicts[1].baseline) == str(verdicts[1].treated)
    assert str(verdicts[0].baseline) == str(verdicts[1].baseline)


def test_a_script_without_the_metric(script: Path) -> None:
    with pytest.raises(TrialError, match="printed no number after 'accuracy'"):
        try_prescription(
            script,
            scaled_rate(0.5),
            arguments=["{seed}"],
            metric="accuracy",
            seeds=(0, 1),
        )


def test_arguments_without_a_seed(script: Path) -> None:
    with pytest.raises(TrialError, match="name no seed"):
        try_prescription(
            script, scaled_rate(0.5), arguments=[], metric="loss", seeds=(0, 1)
        )


def test_a_change_that_does_not_fit_the_script(script: Path) -> None:
    remedy = Prescription("decay", (Change("betas.1", "set", 0.9),), "", "")
    with pytest.raises(TrialError, match="expected an optimizer with the option"):
        try_prescription(
            script, remedy, arguments=["{seed}"], metric="held-out loss", seeds=(0, 1)
        )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("accuracy 0.5", 0.5),
        ("Accuracy: 97.5%\nAccuracy: 98%", 98.0),
        ("val accuracy = 1e-3", 1e-3),
        ("accuracy is -2", -2.0),
        ("no number of accuracy here", None),
        ("loss 3", None),
    ],
)
def test_the_last_number_after_the_name(text: str, value: float | None) -> None:
    assert metric_in(text, "accuracy") == value
