"""`surefoot check`: a script is stopped at its first update, and its loss judged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from typer.testing import CliRunner

from preflight_setups import Setup, clusters, cross_entropy, mlp
from surefoot.check_script import CLEAN, FINDING, USAGE, main
from surefoot.cli import app
from surefoot.preflight.catalogue import RULES, rule_of
from surefoot.preflight.report import Notice, NotReadyError, Report
from surefoot.preflight.tape import Tape
from surefoot.preflight.testing import assert_ready
from surefoot.signatures import detect
from surefoot.types import Evidence

HEAD = """
import sys, torch
from torch import nn
from torch.nn import functional as F
torch.manual_seed(0)
x = torch.randn(64, 8)
y = x[:, :3].argmax(1)
"""

LOOP = """
for step in range(5):
    optimizer.zero_grad()
    loss = loss_of(model(x))
    loss.backward()
    {clip}
    optimizer.step()
    print("updated")
"""

NET = "model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3){last})"
ADAM = "optimizer = torch.optim.Adam(model.parameters(), lr={lr})"
LOSS = "loss_of = lambda out: F.cross_entropy(out, y) + 1e-4 * out.square().mean()"


def script(
    folder: Path, *, last: str = "", lr: str = "1e-3", clip: str = "", loop: str = LOOP
) -> Path:
    """A training script with one thing changed."""
    text = [HEAD, NET.format(last=last), ADAM.format(lr=lr), LOSS]
    path = folder / "train.py"
    path.write_text("\n".join([*text, loop.format(clip=clip)]))
    return path


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Checked = Callable[..., Done]


@pytest.fixture
def checked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Checked:
    """The program in this process: a new one would import torch each time."""
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))

    def check(*arguments: Any) -> Done:
        status = main([str(one) for one in arguments])
        out = capsys.readouterr()
        return Done(status, out.out, out.err)

    return check


def test_a_sound_script_is_stopped_before_its_first_update(
    checked: Checked, tmp_path: Path
) -> None:
    done = checked(script(tmp_path))
    assert done.returncode == CLEAN, done.stdout + done.stderr
    assert "ready" in done.stdout
    assert "updated" not in done.stdout
    assert "highest suggested lr" in done.stdout


@pytest.mark.parametrize(
    ("changed", "id"),
    [
        ({"last": ", nn.Softmax(-1)"}, "SF103"),
        ({"lr": "30.0"}, "SF602"),
        ({"lr": "1e-9"}, "SF603"),
    ],
)
def test_a_flawed_script_ends_with_1(
    checked: Checked, tmp_path: Path, changed: dict[str, str], id: str
) -> None:
    done = checked("--json", script(tmp_path, **changed))
    assert done.returncode == FINDING, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["findings"][0]["id"] == id
    assert found["ok"] is False


LOOPS = {
    "closure": """
def closure():
    optimizer.zero_grad()
    loss = loss_of(model(x))
    loss.backward()
    return loss
optimizer.step(closure)
""",
    "accumulation": """
for part in range(2):
    loss = loss_of(model(x)) / 2
    loss.backward()
optimizer.step()
""",
    "autocast": """
with torch.autocast("cpu", dtype=torch.bfloat16):
    loss = loss_of(model(x))
loss.backward()
optimizer.step()
""",
    "scaled": """
scaler = torch.amp.GradScaler("cpu")
loss = loss_of(model(x))
scaler.scale(loss).backward()
scaler.step(optimizer)
""",
    "evaluated first": """
model.eval()
with torch.no_grad():
    model(x)
model.train()
loss = loss_of(model(x))
loss.backward()
optimizer.step()
""",
}


@pytest.mark.parametrize("kind", LOOPS)
def test_loops_of_all_kinds_are_understood(
    checked: Checked, tmp_path: Path, kind: str
) -> None:
    done = checked("--json", script(tmp_path, loop=LOOPS[kind]))
    assert done.returncode == CLEAN, done.stdout + done.stderr
    facts = json.loads(done.stdout)["facts"]
    assert facts["loss of one batch after trial updates"] < facts["first loss"]


def test_a_script_that_clips_is_tried_with_clipping(
    checked: Checked, tmp_path: Path
) -> None:
    clip = "nn.utils.clip_grad_norm_(model.parameters(), 1e-3)"
    facts = [
        json.loads(checked("--json", script(tmp_path, clip=one)).stdout)["facts"]
        for one in ("", clip)
    ]
    # Adam's first update is of the same length, but later ones feel the clipping.
    last = "loss of one batch after trial updates"
    assert facts[0]["first loss"] == facts[1]["first loss"]
    assert facts[0][last] != facts[1][last]


def test_a_baseline_accepts_what_is_known(checked: Checked, tmp_path: Path) -> None:
    flawed = script(tmp_path, last=", nn.Softmax(-1)")
    known, log = tmp_path / "accepted.json", tmp_path / "preflight.sarif"
    assert checked("--write-baseline", known, flawed).returncode == CLEAN
    done = checked("--baseline", known, "--sarif", log, flawed)
    assert done.returncode == CLEAN, done.stdout
    assert "accepted by the baseline" in done.stdout
    assert json.loads(log.read_text())["runs"][0]["results"] == []
    worse = script(tmp_path, last=", nn.Softmax(-1)", lr="1e-9")
    done = checked("--baseline", known, "--sarif", log, worse)
    assert done.returncode == FINDING
    results = json.loads(log.read_text())["runs"][0]["results"]
    assert [one["ruleId"] for one in results] == ["SF603"]
    uri = results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == str(worse)


def test_what_cannot_be_checked_ends_with_2(checked: Checked, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text("print('no training here')")
    done = checked(path)
    assert (done.returncode, done.stdout.count("here")) == (USAGE, 1)
    assert "ended before its first update" in done.stderr
    path.write_text("raise RuntimeError('planted')")
    done = checked(path)
    assert done.returncode == USAGE
    assert "planted" in done.stderr
    assert main([str(tmp_path / "absent.py")]) == USAGE
    (tmp_path / "bad.json").write_text("{}")
    assert main(["--baseline", str(tmp_path / "bad.json"), str(path)]) == USAGE


def test_a_script_that_stops_in_a_batch_norm_is_told_why(
    checked: Checked, tmp_path: Path
) -> None:
    path = script(
        tmp_path, last=", nn.BatchNorm1d(3)", loop=LOOP.replace("(x)", "(x[:1])")
    )
    done = checked(path)
    assert done.returncode == FINDING
    assert "SF501" in done.stdout


# --- parts ----------------------------------------------------------------------


def test_a_tape_gives_the_loss_of_the_weights_of_now() -> None:
    model, batch = mlp(), clusters()
    with Tape() as tape:
        out = model(batch[0])
        loss = F.cross_entropy(out * 1.0, batch[1]) + 0.1 * out.square().mean()
    assert torch.equal(tape.replay(loss), loss)
    assert [call.name for call in tape.losses] == ["cross_entropy"]
    with torch.no_grad():
        model[0].weight.mul_(2)
    out = model(batch[0])
    again = F.cross_entropy(out, batch[1]) + 0.1 * out.square().mean()
    assert torch.allclose(tape.replay(loss), again)
    with pytest.raises(ValueError, match="came from outside of the tape"):
        tape.replay(torch.zeros(()))


def test_a_tape_sees_losses_inside_of_models() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp()

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return nn.CrossEntropyLoss()(self.net(x).softmax(-1), y)

    setup = Setup(Own(), clusters(), lambda model, batch: model(*batch))
    assert setup.report().flaws[0].id == "SF103"


def test_ids_and_names_of_rules_are_unique_and_can_be_explained() -> None:
    ids, names = ([getattr(r, key) for r in RULES] for key in ("id", "name"))
    assert len({*ids, *names}) == 2 * len(RULES)
    runner = CliRunner()
    for rule in RULES:
        assert rule_of(rule.name) is rule
        done = runner.invoke(app, ["explain", rule.id.lower()])
        assert done.exit_code == 0
        assert rule.title in done.stdout


@pytest.mark.parametrize("name", ["dead ReLU", detect.ALL[0].name, "softmax twice"])
def test_symptoms_and_causes_can_be_explained(name: str) -> None:
    assert CliRunner().invoke(app, ["explain", name]).exit_code == 0


def test_an_unknown_name_is_refused_with_near_ones() -> None:
    done = CliRunner().invoke(app, ["explain", "softmax-thrice"])
    assert done.exit_code == USAGE
    assert "softmax twice" in done.stderr


def test_a_report_raises_on_errors_only_and_is_strict_json() -> None:
    seen = (Evidence("ratio", float("nan"), 1.0, "test"),)
    warning = Notice("SF602", "warning", "run", "Planted.", seen)
    Report((warning,)).raise_if_errors()
    error = Notice("SF103", "error", "3", "Planted <b>.", seen)
    with pytest.raises(NotReadyError, match="SF103"):
        Report((error, warning)).raise_if_errors()
    report = Report((error, warning), facts={"first loss": float("inf")})
    body = json.loads(report.to_json())
    assert body["findings"][0]["evidence"][0]["observed"] is None
    assert body["facts"]["first loss"] is None
    assert "&lt;b&gt;" in report._repr_html_()
    assert report.without(frozenset({"SF103:3"})).findings == (warning,)
    log = json.loads(report.to_sarif("train.py"))
    assert [one["level"] for one in log["runs"][0]["results"]] == ["error", "warning"]
    with pytest.raises(ValueError, match="without evidence"):
        Notice("SF103", "error", "run", "Planted.", ())


def test_the_assertion_for_pytest_accepts_what_it_is_told_to() -> None:
    model, batch = mlp().append(nn.Softmax(-1)), clusters()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    settings: dict[str, Any] = {"loss_fn": cross_entropy, "optimizer": optimizer}
    with pytest.raises(AssertionError, match="SF103"):
        assert_ready(model, batch, **settings)
    assert_ready(model, batch, accept=("SF103",), **settings)
    assert_ready(model, batch, accept=("SF103:5",), **settings)


def test_the_command_runs_the_program(tmp_path: Path) -> None:
    path = script(tmp_path, last=", nn.Softmax(-1)")
    code = dedent("from surefoot.cli import main; main()")
    done = subprocess.run(
        [sys.executable, "-c", code, "check", str(path)], capture_output=True, text=True
    )
    assert done.returncode == FINDING, done.stderr


def test_a_tape_leaves_no_hook_behind() -> None:
    from torch.nn.modules import module as global_hooks

    model = nn.Linear(2, 1)
    with Tape():
        model(torch.ones(1, 2))
    held = [
        name
        for name, value in vars(global_hooks).items()
        if name.startswith("_global_") and isinstance(value, dict) and value
    ]
    assert held == []
