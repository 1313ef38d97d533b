from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import surefoot
from surefoot.probes import histograms as counting
from surefoot.probes.histograms import BINS, EDGES, Histograms, histograms
from surefoot.probes.rhythm import Doubling
from surefoot.probes.streams import streams
from surefoot.record.reader import RecordReader
from surefoot.types import Field


def _model() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 3))
    return model, torch.optim.SGD(model.parameters(), lr=0.01)


def _trained(run: surefoot.Run, model, optimizer, steps: int) -> None:
    torch.manual_seed(1)
    for _ in range(steps):
        loss = model(torch.randn(8, 20)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.step(loss)


def _expected(grad: torch.Tensor) -> np.ndarray:
    """Shares by numpy's own histogram, the zeros and the outer bins apart."""
    size = grad.abs().flatten().double().numpy()
    edges = [*np.exp2(EDGES[1:]), np.inf]
    inner, _ = np.histogram(np.where(size > 0, np.maximum(size, edges[0]), -1), edges)
    return np.array([np.sum(size == 0), *inner]) / size.size


def test_edges_are_half_powers_of_two() -> None:
    assert len(EDGES) == BINS + 2 == 66
    assert EDGES[0] == "zero"
    np.testing.assert_array_equal(EDGES[1:], np.arange(-32, 0.5, 0.5))


def test_shares_are_those_of_numpy() -> None:
    random = torch.Generator().manual_seed(0)
    parts = [
        torch.randn(500, generator=random) * 1e-4,
        torch.exp2(torch.rand(2000, generator=random) * 60 - 50),
        torch.zeros(7),
        torch.tensor([1e-30, 0.0, 1.0, 0.9999, 3e38]),
    ]
    owner = torch.repeat_interleave(torch.arange(4), torch.tensor([500, 2000, 7, 5]))
    found = histograms(torch.cat(parts), owner, 4)
    for row, part in zip(found.numpy(), parts, strict=True):
        # An element within rounding of an edge may fall on either side.
        np.testing.assert_allclose(row, _expected(part), atol=1.1 / len(part) * 0.01)


def test_what_is_no_number_is_in_the_last_bin() -> None:
    odd = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e-40])
    found = histograms(odd, torch.zeros(4, dtype=torch.long), 1)[0]
    assert found[-1] == 0.75
    assert found[1] == 0.25


def _seen(model: nn.Module, optimizer: torch.optim.Optimizer) -> Field:
    (watched,) = streams({"": model}, {"main": optimizer})
    own = Histograms(watched, Doubling())
    own.see(3, optimizer, step_seconds=0.0)
    (field,) = own.drain()
    assert own.drain() == []
    return field


def test_histogram_is_of_the_gradients_as_they_are() -> None:
    model, optimizer = _model()
    model(torch.randn(8, 20)).square().sum().backward()
    before = [p.grad.clone() for p in model.parameters()]
    field = _seen(model, optimizer)
    assert (field.step, field.kind, field.stream) == (3, "grad_histogram", "main")
    assert field.axes["layer"] == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert field.axes["bin"] == EDGES
    for row, parameter, grad in zip(
        field.values, model.parameters(), before, strict=True
    ):
        assert torch.equal(parameter.grad, grad)
        np.testing.assert_allclose(row, _expected(grad), atol=2e-3)


def test_scaled_gradients_are_unscaled_and_missing_ones_are_none() -> None:
    model, optimizer = _model()
    model(torch.randn(8, 20)).square().sum().backward()
    plain = _seen(model, optimizer)
    for parameter in model.parameters():
        parameter.grad *= 1024
    optimizer.grad_scale = torch.tensor(1024.0)
    model[2].bias.grad = None
    scaled = _seen(model, optimizer)
    np.testing.assert_array_equal(scaled.values[:3], plain.values[:3])
    assert np.isnan(scaled.values[3]).all()


def test_large_tensors_are_sampled() -> None:
    model = nn.Linear(1000, 500)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    random = torch.Generator().manual_seed(3)
    model.weight.grad = torch.randn(500, 1000, generator=random) * 1e-3
    model.bias.grad = torch.zeros(500)
    field = _seen(model, optimizer)
    # Standard error of a share of 4,096 elements is 0.008 at most.
    np.testing.assert_allclose(
        field.values[0], _expected(model.weight.grad), atol=5 * 0.008
    )
    assert field.values[1, 0] == 1


def test_watched_run_records_them_more_and_more_rarely(tmp_path) -> None:
    model, optimizer = _model()
    options = surefoot.Options(budget=None)
    with surefoot.watch(model, optimizer, folder=tmp_path, options=options) as run:
        _trained(run, model, optimizer, 70)
    with RecordReader(run.path) as reader:
        steps = [step for kind, _, step, _ in reader.field_index()]
        assert steps == [0, 1, 2, 4, 8, 16, 32, 64]
        for step in steps:
            values = reader.field("grad_histogram", step=step).values
            np.testing.assert_allclose(values.sum(axis=1), 1, rtol=1e-5)


def test_they_can_be_left_out(tmp_path) -> None:
    model, optimizer = _model()
    options = surefoot.Options(histograms=False)
    with surefoot.watch(model, optimizer, folder=tmp_path, options=options) as run:
        _trained(run, model, optimizer, 5)
    with RecordReader(run.path) as reader:
        assert reader.field_index() == []
        assert reader.last_step(quantity="loss") == 4


def test_failure_switches_off_nothing_else(tmp_path, monkeypatch) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(counting, "histograms", failing)
    model, optimizer = _model()
    with surefoot.watch(model, optimizer, folder=tmp_path) as run:
        _trained(run, model, optimizer, 5)
    with RecordReader(run.path) as reader:
        (event,) = reader.events("probe_off")
        assert event.body == {"probe": "histograms", "error": "RuntimeError: no room"}
        assert reader.series("grad_norm").steps.tolist() == [0, 1, 2, 3, 4]


def test_new_parameters_are_counted_too(tmp_path) -> None:
    model, optimizer = _model()
    options = surefoot.Options(budget=None)
    with surefoot.watch(model, optimizer, folder=tmp_path, options=options) as run:
        _trained(run, model, optimizer, 60)
        extra = nn.Linear(3, 3)
        model.append(extra)
        optimizer.add_param_group({"params": extra.parameters()})
        _trained(run, model, optimizer, 70)
    with RecordReader(run.path) as reader:
        index = reader.field_index()
        assert [step for _, _, step, _ in index] == [0, 1, 2, 4, 8, 16, 32, 64, 128]
        assert index[-1][3][-2:] == ("3.weight", "3.bias")


@pytest.mark.parametrize(("cost", "expected"), [(1e-6, 1000), (1e-3, 5000)])
def test_rare_ones_keep_to_their_share(cost: float, expected: int) -> None:
    rhythm = Doubling()
    steps = []
    for step in range(40_000):
        if rhythm.due(step):
            steps.append(step)
            rhythm.spent(cost, step_seconds=1e-3)
    assert steps[:7] == [0, 1, 2, 4, 8, 16, 32]
    assert steps[-1] - steps[-2] == expected


def test_one_slow_reading_is_forgiven() -> None:
    rhythm = Doubling()
    for seconds in (1e-3, 1e-6):
        rhythm.spent(seconds, step_seconds=1e-3)
    assert rhythm.interval == 5
    rhythm.spent(1.0, step_seconds=1e-3)
    assert rhythm.interval == 6


def test_counting_does_not_wait_for_the_device() -> None:
    # Tensors of this device hold no numbers: `.item()` and `if tensor:` fail on them.
    sample = torch.empty(40, device="meta")
    owner = torch.empty(40, dtype=torch.long, device="meta")
    found = histograms(sample, owner, 4)
    assert (found.shape, found.device.type) == ((4, len(EDGES)), "meta")
