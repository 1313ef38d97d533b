"""Noise scale and GSNR against gradients whose noise is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from curvature import nets
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.noise import (
    Gradients,
    jackknife,
    micro_gradients,
    noise_scale,
    noise_scale_of_norms,
    parts,
    signal_to_noise,
    signal_to_noise_of_elements,
)


def _drawn(
    stream: torch.Generator, mean: Tensor, spread: Tensor, sizes: tuple[int, ...]
) -> Gradients:
    """Micro-batch gradients with a known mean and per-sample standard deviation."""
    sigma = torch.tensor(sizes, dtype=torch.float64).rsqrt()[:, None]
    noise = torch.randn(len(sizes), len(mean), generator=stream, dtype=torch.float64)
    return Gradients(mean + sigma * spread * noise, sizes, {"w": slice(0, len(mean))})


@pytest.mark.parametrize("sizes", [(16,) * 8, (4, 4, 8, 16, 32, 32)])
def test_noise_and_signal_have_no_bias_at_any_sizes(sizes: tuple[int, ...]) -> None:
    stream = torch.Generator().manual_seed(0)
    mean = torch.linspace(0, 0.5, 20, dtype=torch.float64)
    spread = torch.linspace(2, 1, 20, dtype=torch.float64)
    found = [noise_scale(_drawn(stream, mean, spread, sizes)) for _ in range(300)]
    for name, exact in (("noise", spread), ("signal", mean)):
        values = torch.tensor([getattr(one, name).value for one in found])
        error = values.std() / len(values) ** 0.5
        assert abs(values.mean() - (exact**2).sum()) < 4 * error


def test_intervals_of_the_noise_scale_hold_the_true_one() -> None:
    """At least 90 % of 95 % intervals over 120 draws, where the signal is clear."""
    stream = torch.Generator().manual_seed(1)
    mean, spread = torch.ones(50).double(), torch.full((50,), 3.0).double()
    held = 0
    for _ in range(120):
        found = noise_scale(_drawn(stream, mean, spread, (16,) * 12))
        low, high = found.scale.interval()
        held += low <= 9.0 <= high
        assert found.scale.converged
    assert held >= 108


def test_noise_alone_has_no_scale() -> None:
    stream = torch.Generator().manual_seed(2)
    zero = torch.zeros(50, dtype=torch.float64)
    found = noise_scale(_drawn(stream, zero, zero + 1, (16,) * 8))
    assert not found.scale.converged
    assert "not told from its noise" in found.scale.note
    assert found.noise.value == pytest.approx(50, rel=0.3)


def test_a_strong_signal_does_not_drown_the_noise_in_its_last_digits() -> None:
    stream = torch.Generator().manual_seed(3)
    mean = torch.full((100,), 1e3, dtype=torch.float64)
    gradients = _drawn(stream, mean, torch.ones(100).double(), (8,) * 10)
    rounded = Gradients(gradients.rows.float(), gradients.sizes, gradients.slices)
    exact, found = noise_scale(gradients), noise_scale(rounded)
    assert found.noise.value == pytest.approx(exact.noise.value, rel=1e-3)


def test_norms_at_two_sizes_tell_the_same() -> None:
    """As a data-parallel run has them: one rank's norm, and that of the mean."""
    stream = torch.Generator().manual_seed(4)
    mean, spread = torch.ones(50).double(), torch.full((50,), 3.0).double()
    small, big = [], []
    for _ in range(200):
        drawn = _drawn(stream, mean, spread, (16,) * 8)
        small.append(float(drawn.rows[0].square().sum()))
        big.append(float(drawn.rows.mean(0).square().sum()))
    found = noise_scale_of_norms(small, big, sizes=(16, 128))
    low, high = found.scale.interval()
    assert low <= 9.0 <= high
    assert found.scale.error < 1.0
    assert found.noise.method == "jackknife over 200 steps"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1.0], [1.0], (2, 4)), "two or more"),
        (([1.0, 2.0], [1.0], (2, 4)), "same number"),
        (([1.0, 2.0], [1.0, 2.0], (4, 2)), "smaller one first"),
    ],
)
def test_norms_that_do_not_fit_are_refused(arguments, words: str) -> None:
    small, big, sizes = arguments
    with pytest.raises(CurvatureError, match=words):
        noise_scale_of_norms(small, big, sizes=sizes)


# --- GSNR -----------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(16,) * 6, (4, 4, 8, 8, 16, 32)])
def test_gsnr_has_no_bias(sizes: tuple[int, ...]) -> None:
    stream = torch.Generator().manual_seed(5)
    mean, spread = torch.full((4000,), 0.6).double(), torch.full((4000,), 2.0).double()
    found = signal_to_noise(_drawn(stream, mean, spread, sizes))["w"]
    assert abs(found.value - 0.09) < 4 * found.error < 0.05
    several = [
        signal_to_noise(_drawn(stream, mean, spread, sizes))["w"].value
        for _ in range(20)
    ]
    pooled = torch.tensor(several).std().item() / 20**0.5
    assert abs(sum(several) / 20 - 0.09) < 4 * pooled


def test_the_jackknife_error_of_gsnr_is_the_scatter_between_draws() -> None:
    stream = torch.Generator().manual_seed(6)
    mean, spread = torch.full((300,), 0.6).double(), torch.full((300,), 2.0).double()
    found = [
        signal_to_noise(_drawn(stream, mean, spread, (16,) * 10))["w"]
        for _ in range(200)
    ]
    scatter = torch.tensor([one.value for one in found]).std().item()
    stated = sum(one.error for one in found) / len(found)
    assert 0.7 < stated / scatter < 1.5


def test_gradients_that_never_vary_are_counted_and_left_out() -> None:
    stream = torch.Generator().manual_seed(7)
    drawn = _drawn(
        stream, torch.ones(4).double(), torch.tensor([1.0, 0, 1, 1]), (4,) * 8
    )
    found = signal_to_noise(drawn)["w"]
    assert found.note == "1 of 4 gradients never vary"
    assert math.isfinite(found.value)
    assert signal_to_noise_of_elements(drawn).isnan().tolist() == [
        False, True, False, False
    ]  # fmt: skip


def test_a_layer_that_never_varies_has_no_ratio() -> None:
    rows = torch.zeros(6, 3, dtype=torch.float64)
    found = signal_to_noise(Gradients(rows, (4,) * 6, {"dead": slice(0, 3)}))["dead"]
    assert math.isnan(found.value)
    assert not found.converged


# --- of models ------------------------------------------------------------------


def test_rows_are_the_gradients_of_micro_batches() -> None:
    case = nets.made(nets.smooth)
    cut = parts(case.batch, 2)
    found = micro_gradients(case.model, cut, loss_fn=case.loss_fn)
    assert found.sizes == (2, 2)
    for row, batch in zip(found.rows, cut, strict=True):
        slopes = torch.autograd.grad(
            case.loss_fn(case.model, batch), list(case.model.parameters())
        )
        assert torch.equal(row, torch.cat([one.flatten() for one in slopes]))


def test_the_noise_of_a_linear_model_is_the_scatter_of_its_samples() -> None:
    """The gradient of mean(x·w) is the mean of x: noise scale = tr cov(x) / |E x|²."""
    stream = torch.Generator().manual_seed(8)
    x = 1 + torch.randn(4096, 3, generator=stream, dtype=torch.float64)
    model = nn.Linear(3, 1, bias=False).double()
    loader = DataLoader(TensorDataset(x), batch_size=64)
    found = micro_gradients(
        model, loader, loss_fn=lambda model, batch: model(batch[0]).mean()
    )
    scale = noise_scale(found).scale
    exact = (x.var(0).sum() / x.mean(0).square().sum()).item()
    assert abs(scale.value - exact) < 3 * scale.error < 0.5
    ratio = signal_to_noise(found)["weight"]
    assert abs(ratio.value - (x.mean(0) ** 2 / x.var(0)).mean().item()) < (
        4 * ratio.error
    )


def test_some_weights_can_be_chosen_and_others_need_no_gradient() -> None:
    case = nets.made(nets.smooth)
    found = micro_gradients(
        case.model, parts(case.batch, 4), loss_fn=case.loss_fn, where="0"
    )
    assert list(found.slices) == ["0.weight", "0.bias"]
    assert found.rows.shape == (4, 12)


def test_parts_keep_all_samples_and_what_is_no_sample() -> None:
    batch = {"x": torch.arange(7), "scale": torch.tensor(3.0), "name": "a"}
    cut = parts(batch, 3)
    assert torch.cat([one["x"] for one in cut]).tolist() == list(range(7))
    assert all(one["scale"] == 3.0 and one["name"] == "a" for one in cut)


def test_bad_input_is_refused() -> None:
    case = nets.made(nets.smooth)
    with pytest.raises(CurvatureError, match="cut a batch of 4 samples into 5"):
        parts(case.batch, 5)
    with pytest.raises(CurvatureError, match="no batch"):
        micro_gradients(case.model, [], loss_fn=case.loss_fn)
    two = micro_gradients(case.model, parts(case.batch, 2), loss_fn=case.loss_fn)
    with pytest.raises(CurvatureError, match="expected 3 or more"):
        noise_scale(two)
    four = micro_gradients(case.model, parts(case.batch, 4), loss_fn=case.loss_fn)
    with pytest.raises(CurvatureError, match="expected 5 or more"):
        signal_to_noise(four)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = torch.tensor([1.0, 4.0, 2.0, 8.0], dtype=torch.float64)
    without = [float((values.sum() - one) / 3) for one in values]
    assert jackknife(without) == pytest.approx(float(values.std() / 2))


@pytest.mark.parametrize("together", [False, True])
def test_intervals_of_gsnr_hold_where_there_is_no_signal(together: bool) -> None:
    """Elements that go together are as uncertain as one of them."""
    stream = torch.Generator().manual_seed(9)
    held = 0
    for _ in range(100):
        drawn = _drawn(stream, torch.zeros(40), torch.ones(40), (16,) * 12)
        if together:
            drawn = Gradients(
                drawn.rows[:, :1].repeat(1, 40), drawn.sizes, drawn.slices
            )
        low, high = signal_to_noise(drawn)["w"].interval()
        held += low <= 0 <= high
    assert held >= 90
