"""What the probes record equals what is computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import surefoot
from surefoot.probes.gradients import norms
from surefoot.probes.rhythm import Rhythm
from surefoot.probes.sampling import COUNT, channels, places, sample

EVERY = surefoot.Options(every=1, budget=None)


def small(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))


def batch(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    return torch.randn(12, 5, generator=generator), torch.arange(12) % 3


def test_norms_and_updates_of_a_plain_run(recorded: Any) -> None:
    model = small()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    truth: dict[str, list[list[float]]] = {"grad_norm": [], "update_norm": []}
    weights: list[list[float]] = []

    def step(number: int) -> torch.Tensor:
        x, y = batch(number)
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        before = [p.detach().clone() for p in model.parameters()]
        truth["grad_norm"].append([p.grad.norm().item() for p in model.parameters()])
        weights.append([p.norm().item() for p in before])
        optimizer.step()
        pairs = zip(model.parameters(), before, strict=True)
        truth["update_norm"].append([(p - b).norm().item() for p, b in pairs])
        return loss

    reader = recorded(model, optimizer, step)
    names = tuple(name for name, _ in model.named_parameters())
    for quantity, rows in {**truth, "weight_norm": weights}.items():
        series = reader.series(quantity)
        assert series.layers == names
        np.testing.assert_allclose(series.values, rows, rtol=1e-5)
    np.testing.assert_allclose(reader.series("lr").values, 1e-2)


@pytest.mark.parametrize("fused", [False, True])
def test_scaled_gradients_are_recorded_unscaled(fused: bool, recorded: Any) -> None:
    model = small()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    truth: list[list[float]] = []

    def step(number: int) -> torch.Tensor:
        x, y = batch(number)
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        grads = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        truth.append([grad.norm().item() for grad in grads])
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    reader = recorded(model, optimizer, step)
    np.testing.assert_allclose(reader.series("grad_norm").values, truth, rtol=1e-5)


def test_steps_that_a_fused_optimizer_skips_are_events(recorded: Any) -> None:
    model = small()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)

    def step(number: int) -> torch.Tensor:
        x, y = batch(number)
        loss = 10 * functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    reader = recorded(model, optimizer, step, steps=12)
    skipped = [event.step for event in reader.events("skipped_step")]
    assert skipped
    assert skipped == list(range(len(skipped)))
    assert reader.events("nonfinite") == []
    rows = reader.series("grad_norm").values
    assert np.isnan(rows[skipped]).all()
    assert np.isfinite(rows[len(skipped) :]).all()
    assert surefoot.examine(reader) == []


def test_accumulated_gradients_and_mean_losses(recorded: Any) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    truth: list[float] = []
    losses: list[float] = []
    with surefoot.watch(model, optimizer, folder=recorded.folder, options=EVERY) as run:
        for number in range(12):
            x, y = batch(number)
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            losses.append(loss.item())
            if number % 3 == 2:
                truth.append(model[0].weight.grad.norm().item())
                optimizer.step()
                optimizer.zero_grad()
            run.step(loss)
    reader = recorded.reader(run.path)
    norm = reader.series("grad_norm").of("0.weight")
    np.testing.assert_allclose(norm, truth, rtol=1e-5)
    means = np.asarray(losses).reshape(4, 3).mean(1)
    found = reader.series("loss").values[:, 0]
    np.testing.assert_allclose(found, means, rtol=1e-6)


def test_norms_of_half_precision_sparse_complex_and_missing_tensors() -> None:
    sparse = torch.sparse_coo_tensor(
        [[0, 0, 2]], [[3.0], [0.0], [4.0]], (4, 1), check_invariants=True
    )
    found = norms(
        [
            torch.full((10,), 6e4, dtype=torch.float16),
            None,
            sparse,
            torch.tensor([3 + 4j]),
            torch.tensor([float("inf")]),
            torch.tensor([1e200], dtype=torch.float64),
        ]
    )
    expected = [6e4 * 10**0.5, np.nan, 5.0, 5.0, np.inf, np.inf]
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-3)


def test_second_moment_ratio_of_adam(recorded: Any) -> None:
    model = nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.99))

    def step(number: int) -> torch.Tensor:
        size = 100.0 if number == 30 else 1.0
        loss = size * model(torch.ones(4, 3)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    ratio = recorded(model, optimizer, step, steps=32).series("second_moment_ratio")
    values = ratio.of("weight")
    np.testing.assert_allclose(values[:30], 1.0, rtol=1e-3)
    corrected = (0.01 * 1e4 + 0.99 * (1 - 0.99**30)) / (1 - 0.99**31)
    assert values[30] == pytest.approx(100 / corrected**0.5, rel=1e-3)


def test_activation_statistics_match_the_whole_tensor(recorded: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 301), nn.Tanh(), nn.Linear(301, 3))
    with torch.no_grad():
        model[0].weight.mul_(8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    x = torch.randn(512, 64)

    def step(number: int) -> torch.Tensor:
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    reader = recorded(model, optimizer, step, steps=2)
    hidden = torch.tanh(model[0](x))
    std = reader.series("activation_std").of("1")[0]
    assert std == pytest.approx(hidden.std().item(), rel=0.02)
    outer = (hidden.abs() > 0.9).float().mean().item()
    saturated = reader.series("saturated_share").of("1")[0]
    assert saturated == pytest.approx(outer, abs=0.03)


@pytest.mark.parametrize("functional_relu", [False, True])
def test_dead_units_by_module_and_by_function(
    functional_relu: bool, recorded: Any
) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
            self.relu = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(8, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = self.conv1(x)
            hidden = functional.relu(hidden) if functional_relu else self.relu(hidden)
            return self.conv2(hidden)

    torch.manual_seed(0)
    model = Net()
    with torch.no_grad():
        model.conv1.bias[:3] = -100.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)

    def step(number: int) -> torch.Tensor:
        loss = model(torch.randn(16, 1, 12, 12)).mean()
        loss.backward()
        optimizer.step()
        return loss

    reader = recorded(model, optimizer, step, steps=2)
    layer = "conv2 (input)" if functional_relu else "relu"
    dead = reader.series("dead_share")
    assert dead.of(layer)[0] == pytest.approx(3 / 8)
    assert dead.layers == (layer,)


def test_modules_are_listed_in_the_order_of_the_forward_pass(recorded: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 2)
            self.first = nn.Linear(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x))

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(number: int) -> torch.Tensor:
        loss = checkpoint(model, torch.ones(2, 3), use_reentrant=False).mean()
        loss.backward()
        optimizer.step()
        return loss

    facts = recorded(model, optimizer, step).facts()["main"]
    assert [module.name for module in facts.modules] == ["first", "last"]
    assert facts.model == "Net"
    assert facts.options["lr"] == 0.1


def test_new_parameter_groups_go_on_in_the_same_stream(recorded: Any) -> None:
    model = small()
    for weight in model[0].parameters():
        weight.requires_grad_(False)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)

    def step(number: int) -> torch.Tensor:
        if number == 80:
            for weight in model[0].parameters():
                weight.requires_grad_(True)
            optimizer.add_param_group({"params": list(model[0].parameters())})
        loss = functional.cross_entropy(model(batch(number)[0]), batch(number)[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    reader = recorded(model, optimizer, step, steps=240)
    grads = reader.series("grad_norm")
    assert set(grads.layers) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert grads.steps.tolist() == list(range(240))
    assert np.isnan(grads.of("0.weight")[:80]).all()
    assert np.isfinite(grads.of("0.weight")[200:]).all()
    assert np.isfinite(grads.of("2.weight")).all()


def test_compiled_models_keep_one_graph_and_say_what_is_unseen(recorded: Any) -> None:
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    model = torch.compile(small(), backend="eager", fullgraph=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(number: int) -> torch.Tensor:
        loss = functional.cross_entropy(model(batch(number)[0]), batch(number)[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    reader = recorded(model, optimizer, step)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]
    facts = reader.facts()["main"]
    assert any("torch.compile" in sentence for sentence in facts.unseen)
    assert reader.series("grad_norm").layers[0] == "0.weight"


def test_samples_meet_every_channel() -> None:
    for shape in [(64, 32, 14, 14), (8, 128, 512), (4096, 77), (3, 5), (1000, 1000)]:
        tensor = torch.arange(shape[1]).float()
        tensor = tensor.reshape(1, -1, *[1] * (len(shape) - 2)).expand(shape)
        row = torch.empty(COUNT)
        whole = tensor.contiguous()
        sample(whole, row)
        assert len(row.unique()) == shape[1]
        assert torch.equal(channels(whole, 1).float(), row)
        last = (
            whole.contiguous(memory_format=torch.channels_last)
            if len(shape) == 4
            else whole
        )
        sample(last, row)
        assert torch.equal(channels(last, 1).float(), row)
    index = places(64 * 32 * 14 * 14, torch.device("cpu"))
    assert (index.diff() > 0).all()
    assert index[-1] < 64 * 32 * 14 * 14


def test_a_rhythm_keeps_within_its_share() -> None:
    rhythm = Rhythm(every=10, percent=0.5, burn_in=5)
    steps = [step for step in range(100_000) if rhythm.due(step) and not spent(rhythm)]
    old = sum(step >= 20_000 for step in steps)
    assert 0.010 * old <= 0.0051 * 0.020 * 80_000
    assert old > 50


def test_a_young_run_is_not_left_in_the_dark() -> None:
    rhythm = Rhythm(every=10, percent=0.5, burn_in=5)
    steps = [step for step in range(20_000) if rhythm.due(step) and not spent(rhythm)]
    gaps = np.diff([step for step in steps if step > 500])
    ages = np.asarray([step for step in steps if step > 500])[:-1]
    assert (gaps <= np.maximum(0.1 * ages, 50) + 10).all()
    assert 0.010 * len(steps) <= 0.01 * 0.020 * 20_000 + 5 * 0.010


def spent(rhythm: Rhythm) -> None:
    """Ten milliseconds in a step of twenty: a share of a half where it is due."""
    rhythm.spent(0.010, 0.020)
