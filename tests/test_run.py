"""`surefoot.watch`: what it takes, what it refuses, and what it says."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import surefoot
from surefoot import lookout
from surefoot.record.folder import list_runs
from surefoot.record.reader import RecordReader


def pair() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def update(model: Any, optimizer: Any, loss_of: Any = None) -> torch.Tensor:
    out = model(torch.ones(6, 4))
    loss = (loss_of or functional.cross_entropy)(out, torch.arange(6) % 3)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def test_a_model_without_parameters(tmp_path: Any) -> None:
    _, optimizer = pair()
    with pytest.raises(ValueError, match="came without parameters; expected a module"):
        surefoot.watch(nn.ReLU(), optimizer, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_optimizer_of_another_model(tmp_path: Any) -> None:
    model, _ = pair()
    _, optimizer = pair()
    with pytest.raises(ValueError, match="holds no parameter of the watched model"):
        surefoot.watch(model, optimizer, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_something_that_is_no_optimizer(tmp_path: Any) -> None:
    with pytest.raises(TypeError, match=r"came as float; expected a torch\.optim"):
        surefoot.watch(pair()[0], 0.1, folder=tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(surefoot.RecordError, match="file"):
        surefoot.watch(*pair(), folder=tmp_path / "file" / "runs")


def test_losses_that_are_none(tmp_path: Any) -> None:
    model, optimizer = pair()
    with surefoot.watch(model, optimizer, folder=tmp_path) as run:
        update(model, optimizer)
        with pytest.raises(ValueError, match=r"shape \(6,\); expected one element"):
            run.step(torch.ones(6))
        with pytest.raises(TypeError, match="came as str; expected a tensor"):
            run.step("0.5")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="names of the watched streams: main"):
            run.step({"generator": torch.tensor(1.0)})
        with pytest.warns(surefoot.SurefootWarning, match=r"pass the tensor itself"):
            run.step(0.5)
        update(model, optimizer)
        run.step(0.25)
    with RecordReader(run.path) as reader:
        assert reader.series("loss").values[:, 0].tolist() == [0.5, 0.25]


def test_a_loss_that_is_nan_from_the_start(tmp_path: Any) -> None:
    model, optimizer = pair()

    def broken(out: Any, target: Any) -> torch.Tensor:
        return torch.log(out - out.max()).sum()

    with surefoot.watch(model, optimizer, folder=tmp_path) as run:
        for _ in range(3):
            run.step(update(model, optimizer, broken))
        [first, *_] = run.diagnose()
    assert (first.onset, first.findings[0].signature) == (0, "nonfinite")
    assert first.findings[0].severity == "critical"
    with RecordReader(run.path) as reader:
        assert np.isnan(reader.series("loss").values[0])


def test_the_loss_function_tells_where_a_loss_broke(tmp_path: Any) -> None:
    model, optimizer = pair()
    target = torch.arange(6) % 3

    def loss_fn(model: Any, batch: Any) -> torch.Tensor:
        shares = model(batch[0]).softmax(1)
        return -torch.log(shares[torch.arange(6), batch[1]] * batch[2]).mean()

    run = surefoot.watch(model, optimizer, loss_fn=loss_fn, folder=tmp_path)
    for step in range(30):
        batch = (torch.ones(6, 4), target, float(step != 20))
        optimizer.zero_grad()
        loss = loss_fn(model, batch)
        loss.backward()
        optimizer.step()
        run.step(loss, batch=batch)
    run.close()
    with RecordReader(run.path) as reader:
        [event] = reader.events("nonfinite")
    assert event.step == 20
    assert (event.body["module"], event.body["operation"]) == ("loss", "log")
    assert event.body["line"].startswith("test_run.py:")


def test_two_models_have_names_of_their_own(tmp_path: Any) -> None:
    (one, first), (two, second) = pair(), pair()
    run = surefoot.watch(
        {"actor": one, "critic": two}, {"a": first, "c": second}, folder=tmp_path
    )
    for _ in range(5):
        run.step({"a": update(one, first), "c": update(two, second)})
    run.log(score=1.5)
    run.close()
    with RecordReader(run.path) as reader:
        assert set(reader.streams()) == {"a", "c"}
        assert reader.series("grad_norm", "a").layers[0] == "actor.0.weight"
        assert reader.series("grad_norm", "c").layers[0] == "critic.0.weight"
        assert reader.series("metric", "a").of("score").tolist() == [1.5]


def test_alarms_are_raised_once_while_the_run_goes_on(
    tmp_path: Any, caplog: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(lookout, "SECONDS", 0.2)
    monkeypatch.setattr(lookout, "REST", 0.0)
    model, optimizer = pair()
    with caplog.at_level(logging.WARNING, logger="surefoot"):
        run = surefoot.watch(model, optimizer, folder=tmp_path)
        for step in range(400):
            factor = float("nan") if step >= 100 else 1.0
            run.step(
                update(
                    model,
                    optimizer,
                    lambda *a, f=factor: f * functional.cross_entropy(*a),
                )
            )
            if step % 40 == 0:
                threading_pause()
        run.close()
    alarms = [
        r.getMessage() for r in caplog.records if "since step 100" in r.getMessage()
    ]
    assert len(alarms) == len(set(alarms)) >= 1
    with RecordReader(run.path) as reader:
        assert len(reader.events("finding")) >= 1


def threading_pause() -> None:
    import time

    time.sleep(0.25)


UNCLOSED = """
import sys
sys.path.insert(0, {tests!r})
from test_run import pair, update
import surefoot
model, optimizer = pair()
run = surefoot.watch(model, optimizer, folder={folder!r})
for _ in range(30):
    run.step(update(model, optimizer))
{ending}
"""


@pytest.mark.parametrize(
    ("ending", "status"), [("", "finished"), ("raise ValueError('x')", "failed")]
)
def test_a_run_nobody_closed_is_whole(ending: str, status: str, tmp_path: Any) -> None:
    from pathlib import Path

    tests = str(Path(__file__).parent)
    code = UNCLOSED.format(tests=tests, folder=str(tmp_path), ending=ending)
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    [record] = list_runs(tmp_path)
    assert (record.status, record.steps) == (status, 30)


def test_public_names_are_there() -> None:
    for name in surefoot.__all__:
        assert getattr(surefoot, name) is not None
    with pytest.raises(AttributeError, match="has no name 'wach'"):
        surefoot.wach  # noqa: B018


@pytest.mark.parametrize("every", [1, 300, 1000])
def test_a_bad_batch_is_no_high_rate_whatever_was_sampled(
    every: int, tmp_path: Any
) -> None:
    """Long updates that begin with an input out of range are victims of it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    truth = nn.Linear(16, 4)
    options = surefoot.Options(every=every, budget=None)
    with surefoot.watch(model, optimizer, folder=tmp_path, options=options) as run:
        for step in range(600):
            x = torch.randn(64, 16, generator=torch.Generator().manual_seed(step))
            y = truth(x).argmax(1)
            if step == 300:
                x, y = x * 1000, y.roll(1)
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.step(loss)
        [first, *_] = run.diagnose()
    assert (first.cause, first.onset) == ("bad batch", 300)
