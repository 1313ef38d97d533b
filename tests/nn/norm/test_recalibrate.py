"""Statistics of data, of another domain, and how far those of a batch lie from them."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from surefoot.nn.norm import (
    BatchRenorm1d,
    MaskedBatchNorm1d,
    NormError,
    adapt_bn,
    lengths_to_mask,
    norm_gap,
    recalibrate_bn,
)
from surefoot.nn.norm.gap import running_noise


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Linear(6, 3),
    )  # fmt: skip


def data(rows: int = 512, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 4, generator=generator) * 2 + torch.arange(4.0)


def state(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def shifting() -> list[Tensor]:
    """Batches whose means are -2 to 3, each with a variance of about one."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(64, 4, generator=generator) + at for at in range(-2, 4)]


# --- recalibrate_bn -------------------------------------------------------------


@pytest.mark.parametrize("size", [7, 64, 512])
def test_the_mean_is_that_of_the_data_to_1e_6(size: int) -> None:
    norm, x = nn.BatchNorm1d(4), data(515)
    recalibrate_bn(nn.Sequential(norm), x.split(size))
    torch.testing.assert_close(norm.running_mean, x.mean(0), rtol=0, atol=1e-6)
    torch.testing.assert_close(norm.running_var, x.var(0), rtol=1e-6, atol=0)


def test_both_variances_are_what_they_are_called() -> None:
    norm, batches = nn.BatchNorm1d(4), shifting()
    whole = torch.cat(batches)
    recalibrate_bn(nn.Sequential(norm), batches)
    torch.testing.assert_close(norm.running_var, whole.var(0))
    assert norm.running_var.min() > 3.5
    recalibrate_bn(nn.Sequential(norm), batches, variance="mean of batches")
    of_batches = torch.stack([batch.var(0) for batch in batches]).mean(0)
    torch.testing.assert_close(norm.running_var, of_batches)
    assert norm.running_var.max() < 1.3


def test_torchs_own_averages_batches_and_is_the_other_variance() -> None:
    ours, torchs = nn.Sequential(nn.BatchNorm1d(4)), nn.Sequential(nn.BatchNorm1d(4))
    recalibrate_bn(ours, shifting(), variance="mean of batches")
    update_bn(shifting(), torchs)
    torch.testing.assert_close(ours.state_dict(), torchs.state_dict())


def test_only_the_running_statistics_change() -> None:
    model = net().train()
    model[3].eval()
    before, stream = state(model), torch.get_rng_state()
    names = recalibrate_bn(model, data().split(64))
    assert names == ("1", "5")
    assert [m.training for m in model] == [True] * 3 + [False] + [True] * 3
    assert torch.equal(torch.get_rng_state(), stream)
    changed = {n for n, v in state(model).items() if not torch.equal(v, before[n])}
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    assert changed == {f"{at}.{name}" for at in (1, 5) for name in buffers}
    assert model[1].num_batches_tracked == 8
    assert model[1].momentum == 0.1


def test_a_batch_of_everything_is_evaluated_as_it_is_trained() -> None:
    model, x = net(), data()
    model[3].p = 0.0
    trained = copy.deepcopy(model).train()(x)
    recalibrate_bn(model, [(x, torch.zeros(len(x)))])
    torch.testing.assert_close(model.eval()(x), trained, rtol=1e-2, atol=1e-2)


def test_masks_of_masked_norms_are_heard() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = MaskedBatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            mask = lengths_to_mask(torch.tensor([5, 2]), x.shape[2])
            return self.norm(x, mask=mask)

    model, x = Net(), torch.randn(2, 4, 6)
    recalibrate_bn(model, [x])
    seen = torch.cat([x[0, :, :5], x[1, :, :2]], 1)
    torch.testing.assert_close(model.norm.running_mean, seen.mean(1))
    torch.testing.assert_close(model.norm.running_var, seen.var(1))


def test_nothing_changes_if_there_is_no_batch_or_it_fails() -> None:
    model = net()
    before = state(model)
    with pytest.raises(NormError, match="0 batches came"):
        recalibrate_bn(model, [])
    with pytest.raises(NormError, match="0 batch norms"):
        recalibrate_bn(nn.Linear(4, 4), [data()])
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        recalibrate_bn(model, [data(), torch.ones(3, 7)])
    after = state(model)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(not module._forward_pre_hooks for module in model)


# --- adapt_bn -------------------------------------------------------------------


def test_what_was_scaled_and_shifted_comes_out_as_the_clean_input() -> None:
    x = data()
    model = nn.Sequential(nn.BatchNorm1d(4, eps=1e-5))
    recalibrate_bn(model, [x])
    clean = model.eval()(x)
    adapt_bn(model, [3 * x + 2])
    assert (model(3 * x + 2) - clean).abs().max() < 2e-5


def test_tent_lowers_the_entropy_and_moves_only_norms() -> None:
    model, x = net(), data()
    other = 3 * data(seed=1) - 1

    def entropy(of: nn.Module) -> float:
        logs = of.eval()(other).detach().log_softmax(1)
        return float(-(logs.exp() * logs).sum(1).mean())

    recalibrate_bn(model.eval(), [x])
    plain, trained = copy.deepcopy(model), copy.deepcopy(model)
    adapt_bn(plain, other.split(64))
    adapt_bn(trained, other.split(64), tent=True, rate=1e-2)
    assert entropy(trained) < entropy(plain) - 0.02
    before, after = plain.state_dict(), trained.state_dict()
    moved = {n for n in before if n.endswith(("weight", "bias"))}
    moved = {n for n in moved if not torch.equal(before[n], after[n])}
    assert moved == {f"{at}.{name}" for at in (1, 5) for name in ("weight", "bias")}
    assert all(weight.grad is None for weight in trained.parameters())


def test_a_failed_adaptation_leaves_the_model_as_it_was() -> None:
    model = net()
    before = state(model)
    batches = [data(), torch.full((8, 4), math.nan)]
    with pytest.raises(NormError, match="entropy of nan"):
        adapt_bn(model, batches, tent=True)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        adapt_bn(model, [data(), torch.ones(8, 5)], tent=True)
    with pytest.raises(NormError, match="no batch norm has weights"):
        adapt_bn(nn.Sequential(nn.BatchNorm1d(4, affine=False)), [data()], tent=True)
    after = state(model)
    assert all(torch.equal(after[name], value) for name, value in before.items())


# --- norm_gap -------------------------------------------------------------------


def test_a_shift_of_2_deviations_is_reported_as_2() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4))
    recalibrate_bn(model, [data(20_000)])
    moved = data(20_000, seed=1)
    moved[:, 2] += 2 * moved[:, 2].std()
    moved[:, 1] = 3 * (moved[:, 1] - moved[:, 1].mean()) + moved[:, 1].mean()
    (found,) = norm_gap(model, moved)
    assert found.shift == pytest.approx(2.0, abs=0.1)
    assert found.spread == pytest.approx(math.log(3), abs=0.02)
    assert found.alarm


@pytest.mark.parametrize("size", [2, 8, 32, 256])
def test_stationary_data_raises_no_alarm(size: int) -> None:
    model = nn.Sequential(nn.BatchNorm1d(4))
    for seed in range(60):
        model(data(size, seed=seed))
    alarms = [norm_gap(model, data(size, seed=s))[0].alarm for s in range(100, 300)]
    assert not any(alarms)


def test_the_noise_of_a_running_mean_is_0_229_of_a_batchs() -> None:
    assert running_noise(0.1, 0) == pytest.approx(0.2294, abs=1e-4)
    norm, means, generator = nn.BatchNorm1d(512), [], torch.Generator().manual_seed(0)
    for _ in range(200):
        norm(torch.randn(16, 512, generator=generator))
        means.append(norm.running_mean.clone())
    noise = torch.stack(means[60:]).std() * 4
    assert noise.item() == pytest.approx(0.229, abs=0.01)
    assert running_noise(None, 25) == pytest.approx(0.2)


def test_maps_whose_positions_are_alike_raise_no_alarm() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4))
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        batch = torch.randn(4, 4, 1, 1, generator=generator).expand(4, 4, 8, 8)
        model(batch)
    found = [
        norm_gap(
            model, torch.randn(4, 4, 1, 1, generator=generator).expand(4, 4, 8, 8)
        )[0]
        for _ in range(100)
    ]
    assert not any(one.alarm for one in found)


def test_the_gap_leaves_no_trace_and_names_layers_in_order() -> None:
    model = nn.Sequential(net(), BatchRenorm1d(3)).eval()
    before = state(model)
    stream = torch.get_rng_state()
    assert [one.name for one in norm_gap(model, data())] == ["0.1", "0.5", "1"]
    assert torch.equal(torch.get_rng_state(), stream)
    after = state(model)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(module.training for module in model.modules())
    with pytest.raises(NormError, match="ran no batch norm"):
        norm_gap(nn.Linear(4, 4), data())
