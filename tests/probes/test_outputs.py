"""Outputs and targets: how right, how sure and how large; silence where they misfit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import surefoot
from surefoot.probes.outputs import Judged, Output, output_statistics
from surefoot.types import Moment

JUDGED = ("accuracy", "confidence", "example_loss", "target_share", "target_right")


def classifier(features: int = 5, classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(features, classes))


def batch(number: int, rows: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    return (
        torch.randn(rows, 5, generator=generator),
        torch.randint(3, (rows,), generator=generator),
    )


def trained(model: Any, optimizer: Any, truth: list[Any]) -> Any:
    """One update of a classifier; scores and targets are kept in `truth`."""

    def step(number: int) -> Any:
        x, y = batch(number)
        scores = model(x)
        truth.append((scores.detach().clone(), y))
        loss = functional.cross_entropy(scores, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, (x, y)

    return step


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.3)


def check_truth(reader: Any, truth: list[Any]) -> None:
    for i, (scores, y) in enumerate(truth):
        logs = scores.log_softmax(1)
        loss = -logs[torch.arange(len(y)), y]
        right = scores.argmax(1) == y
        levels = torch.tensor([0.25, 0.5, 0.75, 0.9, 1.0])
        expected = {
            "log_z_square": scores.logsumexp(1).square().mean(),
            "output_entropy": -(logs.exp() * logs).sum(1).mean() / math.log(3),
            "output_absmax": scores.abs().max(),
            "accuracy": right.float().mean(),
            "confidence": logs.exp().max(1).values.mean(),
            "example_loss": loss.quantile(levels),
            "target_share": torch.bincount(y, minlength=3) / len(y),
            "target_right": torch.bincount(y[right], minlength=3) / len(y),
        }
        for quantity, value in expected.items():
            series = reader.series(quantity)
            assert series.steps.tolist() == list(range(len(truth))), quantity
            found = series.values[i]
            np.testing.assert_allclose(found, value.reshape(-1), rtol=1e-4, atol=1e-6)
    assert reader.series("example_loss").layers == ("q25", "q50", "q75", "q90", "max")
    assert reader.series("target_share").layers == ("0", "1", "2")


def test_a_told_batch(recorded: Any) -> None:
    model, truth = classifier(), []
    optimizer = sgd(model)
    check_truth(recorded(model, optimizer, trained(model, optimizer, truth)), truth)


def test_a_script_that_nobody_changed(recorded: Any) -> None:
    truth: list[Any] = []

    def train() -> None:
        model = classifier()
        step = trained(model, sgd(model), truth)
        for number in range(40):
            step(number)

    reader = recorded.attached(train)
    steps = reader.series("accuracy").steps
    assert steps.tolist() == [0, 10, 20, 30]
    for row, i in enumerate(steps):
        scores, y = truth[i]
        right = (scores.argmax(1) == y).float().mean()
        assert reader.series("accuracy").values[row, 0] == pytest.approx(right.item())
        worst = functional.cross_entropy(scores, y, reduction="none").max()
        worst_read = reader.series("example_loss").of("max")[row]
        assert worst_read == pytest.approx(worst.item(), rel=1e-5)


def test_scores_by_place_and_ignored_targets(recorded: Any) -> None:
    """A picture with a class a pixel: classes lie along the second axis."""
    torch.manual_seed(0)
    model = nn.Conv2d(1, 4, 1)
    optimizer = sgd(model)
    truth = []

    def step(number: int) -> Any:
        x = torch.randn(2, 1, 8, 8)
        y = torch.randint(4, (2, 8, 8))
        y[:, :4] = -100
        scores = model(x)
        right = scores.argmax(1) == y
        truth.append((right.sum() / (y != -100).sum()).item())
        loss = functional.cross_entropy(scores, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, (x, y)

    reader = recorded(model, optimizer, step)
    np.testing.assert_allclose(reader.series("accuracy").values[:, 0], truth, rtol=1e-5)


def shifted(model: nn.Module, optimizer: Any, truth: list[float]) -> Any:
    """A language model: the loss leaves the last place out and shifts the targets."""

    def step(number: int) -> torch.Tensor:
        tokens = torch.randint(
            6, (4, 9), generator=torch.Generator().manual_seed(number)
        )
        scores = model(tokens)["logits"][:, :-1].flatten(0, 1)
        y = tokens[:, 1:].flatten()
        truth.append((scores.argmax(1) == y).float().mean().item())
        loss = functional.cross_entropy(scores, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


class Language(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(6, 8)
        self.head = nn.Linear(8, 6)

    def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.head(self.table(tokens))}


def test_a_language_model_that_nobody_changed(recorded: Any) -> None:
    truth: list[float] = []

    def train() -> None:
        model = Language()
        step = shifted(model, sgd(model), truth)
        for number in range(30):
            step(number)

    reader = recorded.attached(train)
    found = reader.series("accuracy").values[:, 0]
    np.testing.assert_allclose(found, truth[::10], rtol=1e-5)
    assert reader.has("log_z_square", "main")


def test_an_optimizer_that_is_seen_late(recorded: Any) -> None:
    """The first update is under way before its pass could be seen."""
    model, truth = classifier(), []
    step = trained(model, sgd(model), truth)
    reader = recorded.attached(lambda: [step(i) for i in range(30)])
    accuracy = reader.series("accuracy")
    assert accuracy.steps.tolist() == [10, 20]
    for value, (scores, y) in zip(accuracy.values[:, 0], truth[10::10], strict=True):
        assert value == pytest.approx((scores.argmax(1) == y).float().mean().item())


def test_a_language_model_whose_batch_is_not_told(recorded: Any) -> None:
    model = Language()
    optimizer = sgd(model)
    reader = recorded(model, optimizer, shifted(model, optimizer, []))
    assert reader.has("log_z_square", "main")
    assert not any(reader.has(quantity, "main") for quantity in JUDGED)


def test_regression_has_a_size_only(recorded: Any) -> None:
    model = classifier()
    optimizer = sgd(model)

    def step(number: int) -> Any:
        x, _ = batch(number)
        loss = functional.mse_loss(model(x), x[:, :3])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, (x, x[:, :3])

    reader = recorded(model, optimizer, step)
    assert reader.has("output_absmax", "main")
    for quantity in (*JUDGED, "log_z_square", "output_entropy"):
        assert not reader.has(quantity, "main"), quantity


def test_the_batch_of_another_pass_is_not_taken(recorded: Any) -> None:
    """Four micro-batches, and only the last one is told."""
    model = classifier()
    optimizer = sgd(model)
    reads = recorded

    def step(number: int) -> Any:
        optimizer.zero_grad()
        for i in range(4):
            x, y = batch(4 * number + i)
            loss = functional.cross_entropy(model(x), y) / 4
            loss.backward()
        optimizer.step()
        return loss, (x, y)

    reader = reads(model, optimizer, step)
    assert not any(reader.has(quantity, "main") for quantity in JUDGED)
    assert reader.has("log_z_square", "main")


def test_accumulation_takes_the_first_micro_batch(recorded: Any) -> None:
    model, truth = classifier(), []
    optimizer = sgd(model)
    options = surefoot.Options(every=1, budget=None)
    folder = recorded.folder
    with surefoot.watch(model, optimizer, folder=folder, options=options) as run:
        for number in range(12):
            x, y = batch(number)
            scores = model(x)
            if number % 3 == 0:
                truth.append((scores.argmax(1) == y).float().mean().item())
            loss = functional.cross_entropy(scores, y) / 3
            loss.backward()
            if number % 3 == 2:
                optimizer.step()
                optimizer.zero_grad()
            run.step(loss, (x, y))
    series = recorded.reader(run.path).series("accuracy")
    assert series.steps.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(series.values[:, 0], truth, rtol=1e-5)


@pytest.mark.parametrize("named", ["labels", "y"])
def test_targets_by_name(named: str, recorded: Any) -> None:
    """The mask has the shape of targets and is none."""
    model, truth = classifier(), []
    optimizer = sgd(model)
    inner = trained(model, optimizer, truth)

    def step(number: int) -> Any:
        loss, (x, y) = inner(number)
        return loss, {"x": x, "mask": torch.ones_like(y), named: y}

    check_truth(recorded(model, optimizer, step), truth)


def test_a_mapping_without_targets(recorded: Any) -> None:
    model = classifier()
    optimizer = sgd(model)
    inner = trained(model, optimizer, [])

    def step(number: int) -> Any:
        loss, (x, y) = inner(number)
        return loss, {"x": x, "mask": torch.ones_like(y)}

    reader = recorded(model, optimizer, step)
    assert not any(reader.has(quantity, "main") for quantity in JUDGED)


def test_targets_that_are_no_classes_give_nothing() -> None:
    scores = torch.randn(6, 3)
    targets = torch.tensor([0, 1, 2, 7, 1, 0])
    output = Output(0, torch.ones(1), scores, Judged(scores, targets))
    moment = Moment(0, (), (), (), None, seen={"output": output})  # type: ignore[arg-type]
    read = {r.quantity: torch.as_tensor(r.values) for r in output_statistics(moment)}
    assert all(read[quantity].isnan().all() for quantity in JUDGED)
    assert read["log_z_square"].isfinite().all()


def test_many_rows_and_classes_are_sampled(recorded: Any) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 50_000)
    optimizer = sgd(model)

    def step(number: int) -> Any:
        x, y = torch.randn(100, 4), torch.randint(50_000, (100,))
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, (x, y)

    reader = recorded(model, optimizer, step, steps=2)
    assert reader.series("log_z_square").values[0, 0] == pytest.approx(
        math.log(50_000) ** 2, rel=0.05
    )
    assert reader.series("output_entropy").values[0, 0] == pytest.approx(1, abs=0.05)
    assert not reader.has("target_share", "main")


def test_a_packed_graph_is_left_alone(recorded: Any) -> None:
    unpacked: list[int] = []

    def unpack(value: torch.Tensor) -> torch.Tensor:
        unpacked.append(1)
        return value

    def train() -> None:
        model = classifier()
        optimizer = sgd(model)
        for number in range(3):
            x, y = batch(number)
            with torch.autograd.graph.saved_tensors_hooks(lambda t: t, unpack):
                loss = functional.cross_entropy(model(x), y)
            before = len(unpacked)
            optimizer.zero_grad()
            loss.backward()
            counts.append(len(unpacked) - before)
            optimizer.step()

    counts: list[int] = []
    reader = recorded.attached(train)
    assert len(set(counts)) == 1
    assert not reader.has("accuracy", "main")


def test_a_compiled_model_is_seen_from_outside(recorded: Any) -> None:
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    model = torch.compile(classifier(), backend="eager", fullgraph=True)
    optimizer = sgd(model)
    truth: list[Any] = []
    reader = recorded(model, optimizer, trained(model, optimizer, truth))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    check_truth(reader, truth)


def test_training_share(recorded: Any) -> None:
    model = nn.Sequential(
        nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Dropout(0.0), nn.ReLU(),
        nn.Linear(4, 3),
    )  # fmt: skip
    optimizer = sgd(model)
    inner = trained(model, optimizer, [])

    def step(number: int) -> Any:
        model.train()
        if number == 2:
            model[1].eval()
        if number > 2:
            model.eval()
        return inner(number)

    reader = recorded(model, optimizer, step, steps=5)
    share = reader.series("training_share")
    assert share.values[:, 0].tolist() == [1, 1, 0.5, 0, 0]
    modes = reader.events("mode")
    assert [(event.step, event.body["training"]) for event in modes] == [(3, False)]
    settings = {m.name: dict(m.settings) for m in reader.facts()["main"].modules}
    assert settings["2"] == {"p": 0.5}
    assert settings["1"] == pytest.approx(
        {"eps": 1e-5, "momentum": 0.1, "affine": 1.0, "track": 1.0}
    )
    assert settings["0"] == {}
    shapes = {p.name: p.shape for p in reader.facts()["main"].parameters}
    assert shapes["0.weight"] == (4, 5)


def test_training_in_evaluation_mode_is_told_at_once(recorded: Any) -> None:
    model = classifier().eval()
    optimizer = sgd(model)
    reader = recorded(model, optimizer, trained(model, optimizer, []))
    assert [event.step for event in reader.events("mode")] == [0]
