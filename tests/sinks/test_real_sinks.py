"""The real libraries, on this machine alone: what was sent is read back."""

from __future__ import annotations

import importlib
import json
import logging
import random
import struct
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import loops
import surefoot
from surefoot import lookout
from surefoot.record.reader import RecordReader
from surefoot.sinks import delivery
from surefoot.sinks.named import opener
from surefoot.types import Event, Series

pytestmark = pytest.mark.filterwarnings("default")

STEPS = 45


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder for libraries that must not leave it, nor reach a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(delivery, "CLOSE_SECONDS", 120.0)  # on a busy machine
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    # A test that imports it first would start its reports for all that follow: they
    # draw from Python's random numbers on a thread of their own.
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    return tmp_path


def trained(folder: Path, *sinks: Any, broken: bool = False) -> surefoot.Run:
    """A run of 45 steps; a broken one turns NaN at step 20."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = surefoot.watch(model, optimizer, folder=folder / "records", sinks=sinks)
    for step in range(STEPS):
        loss = model(torch.randn(6, 4)).square().mean()
        loss = loss * float("nan") if broken and step >= 20 else loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.step(loss)
    run.log(held_out=0.75)
    alarm = {"cause": "numeric fault", "layer": "0.weight", "confidence": 0.9}
    run.event(Event(20, "finding", alarm))
    run.close()
    return run


def recorded(run: surefoot.Run, quantity: str) -> Series:
    assert run.path is not None
    with RecordReader(run.path) as reader:
        assert reader.events("sink_off") == []
        assert reader.events("sink_dropped") == []
        return reader.series(quantity)


ALARM = "numeric fault in 0.weight since step 20 (90% sure)"


def test_tensorboard(place: Path) -> None:
    run = trained(place, "tensorboard:board")
    losses = recorded(run, "loss")
    board = EventAccumulator(str(place / "board" / run.path.stem), {"tensors": 0})
    board.Reload()
    shown = board.Scalars("surefoot/loss")
    assert [one.step for one in shown] == losses.steps.tolist()
    assert [one.value for one in shown] == losses.values[:, 0].tolist()
    grads = board.Scalars("surefoot/grad_norm/0.weight")
    assert [one.step for one in grads] == [0, 10, 20, 30, 40]
    known = recorded(run, "grad_norm")
    assert [one.value for one in grads] == known.of("0.weight")[::10].tolist()
    assert board.Scalars("surefoot/metric/held_out")[0].value == 0.75
    [alarm] = board.Tensors("surefoot/alarms")
    assert (alarm.step, alarm.tensor_proto.string_val[0].decode()) == (20, ALARM)


def test_mlflow(place: Path) -> None:
    import mlflow

    run = trained(place, f"mlflow:file://{place}/tracked")
    losses = recorded(run, "loss")
    client = mlflow.MlflowClient(f"file://{place}/tracked")
    experiment = client.get_experiment_by_name("surefoot")
    [logged] = client.search_runs([experiment.experiment_id])
    assert logged.info.run_name == run.path.stem
    assert logged.info.status == "FINISHED"
    shown = client.get_metric_history(logged.info.run_id, "surefoot/loss")
    assert [one.step for one in shown] == losses.steps.tolist()
    np.testing.assert_allclose(
        [one.value for one in shown], losses.values[:, 0], rtol=1e-6
    )
    grads = client.get_metric_history(logged.info.run_id, "surefoot/grad_norm/0.weight")
    assert [one.step for one in grads] == [0, 10, 20, 30, 40]
    assert logged.data.tags["surefoot.alarm.1"] == ALARM
    assert mlflow.active_run() is None


def test_an_mlflow_experiment_is_made_without_the_scripts_random_numbers(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last 18 digits of this identifier begin with zeros, as one in ten does.
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=10**30 + 7))
    client = mlflow_client(place)
    before = random.getstate()
    name = client.create_experiment("drawn by the library alone")
    assert random.getstate() != before, "MLflow draws no more; the guard can go"
    before = random.getstate()
    trained(place, f"mlflow:file://{place}/tracked")
    assert random.getstate() == before
    made = client.get_experiment_by_name("surefoot")
    assert made is not None
    assert made.experiment_id != name


def mlflow_client(place: Path) -> Any:
    import mlflow

    return mlflow.MlflowClient(f"file://{place}/tracked")


def test_wandb(place: Path) -> None:
    run = trained(place, "wandb:project")
    losses = recorded(run, "loss")
    [file] = place.glob("wandb/offline-run-*/run-*.wandb")
    rows, summary = wandb_rows(file.read_bytes())
    shown = [row for row in rows if "surefoot/loss" in row]
    assert [row["surefoot/step"] for row in shown] == losses.steps.tolist()
    np.testing.assert_allclose(
        [row["surefoot/loss"] for row in shown], losses.values[:, 0], rtol=1e-6
    )
    grads = [row for row in rows if "surefoot/grad_norm/0.weight" in row]
    assert [row["surefoot/step"] for row in grads] == [0, 10, 20, 30, 40]
    assert ALARM in summary.values()


def wandb_rows(data: bytes) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """History and summary in a W&B file."""
    from wandb.proto import wandb_internal_pb2

    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for text in wandb_records(data):
        entry = wandb_internal_pb2.Record()
        entry.ParseFromString(text)
        if entry.WhichOneof("record_type") == "history":
            rows.append(dict(map(named_value, entry.history.item)))
        summary |= dict(map(named_value, entry.summary.update))
    return rows, summary


def named_value(item: Any) -> tuple[str, Any]:
    return "/".join(item.nested_key) or item.key, json.loads(item.value_json)


def wandb_records(data: bytes) -> Iterator[bytes]:
    """The records of a LevelDB log: 32 KiB blocks of pieces, after 7 bytes of head."""
    at, parts = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield parts
            parts = b""


def test_alarms_of_the_run_itself_arrive(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "SECONDS", 0.01)
    events: list[Event] = []

    class Own:
        def write(self, series: Series) -> None: ...

        def event(self, event: Event) -> None:
            events.append(event)

        def close(self) -> None: ...

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with surefoot.watch(model, optimizer, folder=place, sinks=[Own()]) as run:
        for step in range(100_000):
            loss = model(torch.ones(2, 4)).square().mean()
            loss = loss * float("nan") if step >= 20 else loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.step(loss)
            if any(one.kind == "finding" for one in events):
                break
    findings = [one for one in events if one.kind == "finding"]
    assert findings
    assert findings[0].step == 20
    assert events[-1].kind == "end"


# --- neutral --------------------------------------------------------------------


class Hanging:
    """A sink whose server never answers."""

    def write(self, series: Series) -> None:
        import threading

        threading.Event().wait()

    def event(self, event: Event) -> None: ...

    def close(self) -> None: ...


class Failing:
    """A sink whose server says no."""

    def write(self, series: Series) -> None:
        raise OSError("no")

    def event(self, event: Event) -> None: ...

    def close(self) -> None: ...


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        raw = [value.detach().reshape(-1).view(torch.uint8) for value in (one, other)]
        return one.dtype == other.dtype and torch.equal(*raw)
    return one == other


@pytest.mark.parametrize(
    ("sink", "kinds"),
    [
        ("tensorboard", []),
        ("mlflow", []),
        ("wandb", []),
        (Hanging(), ["sink_dropped"]),
        (Failing(), ["sink_off"]),
    ],
    ids=["tensorboard", "mlflow", "wandb", "hanging", "failing"],
)
def test_training_is_bit_identical_whatever_the_sink_does(
    sink: Any, kinds: list[str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(sink, Hanging):
        monkeypatch.setattr(delivery, "CLOSE_SECONDS", 0.5)
    loop = loops.ALL[0]
    bare = loop(lambda model, optimizer: lambda loss: None)
    runs: list[surefoot.Run] = []

    def watched(model: Any, optimizer: Any) -> Any:
        run = surefoot.watch(model, optimizer, folder=place / "records", sinks=[sink])
        runs.append(run)

        def step(loss: Any) -> None:
            run.step(loss)
            run.flush()  # the sink has something to do while training goes on

        return step

    result = loop(watched)
    runs[0].close()
    assert len(bare) == len(result)
    pairs = enumerate(zip(bare, result, strict=True))
    assert [place for place, (one, other) in pairs if not same(one, other)] == []
    with RecordReader(runs[0].path) as reader:
        told = [one.kind for one in reader.events() if one.kind.startswith("sink_")]
        assert told == kinds
        assert len(reader.series("loss").steps) == loops.STEPS


# --- what is refused ------------------------------------------------------------


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_package_that_is_missing_is_named(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in [one for one in sys.modules if one.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, known)
    for known in ("surefoot.record.event_files", f"surefoot.sinks.{name}"):
        monkeypatch.delitem(sys.modules, known, raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"pip install 'surefoot\[{name}\]'"):
        trained(place, name)
    assert not (place / "records").exists()
    monkeypatch.undo()
    importlib.invalidate_caches()


def test_a_sink_that_is_none() -> None:
    with pytest.raises(ValueError, match="unknown sink 'aim'; expected one of"):
        opener("aim")
    with pytest.raises(TypeError, match="came as float, without write, event, close"):
        opener(0.5)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_written_costs_the_sink_alone(
    place: Path, caplog: Any
) -> None:
    (place / "file").write_text("")
    with caplog.at_level(logging.WARNING, logger="surefoot"):
        run = trained(place, "tensorboard:file")
    assert "TensorBoardSink failed and is switched off" in caplog.text
    with RecordReader(run.path) as reader:
        [event] = reader.events("sink_off")
        assert event.body["sink"] == "TensorBoardSink"
        assert len(reader.series("loss").steps) == STEPS
