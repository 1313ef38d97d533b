"""Clips with fixed and adaptive thresholds, beside torch and the reference packages."""

from __future__ import annotations

import copy
import io
import statistics
from typing import Any

import pytest
import torch
from autoclip.torch import QuantileClip as AutoClip
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

# Below the package, as its __init__ imports lightning wherever it is installed.
from zclip.zclip import ZClip

from surefoot.gradients import (
    Clip,
    ClipError,
    EmaClip,
    NormClip,
    PolicyClip,
    QuantileClip,
    UnitwiseClip,
    ZScoreClip,
)
from surefoot.gradients.numbers import Norms
from surefoot.gradients.scaling import scale_
from surefoot.schedules import Linear

KINDS = (
    lambda: NormClip(Linear(2.0, 0.5, steps=10)),
    lambda: QuantileClip(0.5, window=5),
    lambda: QuantileClip(0.5, causal=True, window=5, ceiling=3.0),
    lambda: ZScoreClip(warmup=3),
    lambda: EmaClip(warmup=3),
    lambda: PolicyClip(window=8),
    lambda: UnitwiseClip(Linear(0.1, 0.01, steps=10)),
)


def weight_with(*norms: float) -> list[nn.Parameter]:
    """Weights of two elements with gradients of these norms."""
    weights = [nn.Parameter(torch.ones(2)) for _ in norms]
    for weight, norm in zip(weights, norms, strict=True):
        weight.grad = torch.tensor([0.6, -0.8]) * norm
    return weights


def norms_after(clip: Clip, norms: list[float]) -> list[float]:
    """The norms that a gradient is left with, one update after the other."""
    found = []
    for norm in norms:
        weights = weight_with(norm)
        assert clip(weights).item() == pytest.approx(norm, nan_ok=True)
        found.append(weights[0].grad.norm().item())
    return found


def lognormal(steps: int, middle: float = 1.0, seed: int = 0) -> list[float]:
    source = torch.Generator().manual_seed(seed)
    return (torch.randn(steps, generator=source) * 0.3).exp().mul(middle).tolist()


# --- the threshold of each rule -------------------------------------------------


def test_autoclip_with_the_present_norm_is_61_6_and_without_it_3_7() -> None:
    norms = [1.0, 2.0, 3.0, 4.0, 100.0]
    assert norms_after(QuantileClip(0.9), norms)[-1] == pytest.approx(61.6, rel=1e-6)
    causal = norms_after(QuantileClip(0.9, causal=True), norms)[-1]
    assert causal == pytest.approx(3.7, rel=1e-6)


@pytest.mark.parametrize("window", [4, 50])
def test_the_causal_rule_is_that_of_the_autoclip_package(window: int) -> None:
    norms = lognormal(30)
    weight = nn.Parameter(torch.ones(2))
    theirs = AutoClip([weight], quantile=0.3, history_length=window)
    expected = []
    for norm in norms:
        weight.grad = torch.tensor([0.6, -0.8]) * norm
        theirs.step()
        expected.append(weight.grad.norm().item())
    found = norms_after(QuantileClip(0.3, causal=True, window=window), norms)
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_history_has_a_bound() -> None:
    clip = QuantileClip(1.0, window=3)
    norms_after(clip, [100.0, 1.0, 2.0, 3.0])
    assert clip.memory["norms"].shape == (3,)
    assert norms_after(clip, [50.0]) == pytest.approx([50.0])
    causal = QuantileClip(1.0, causal=True, window=3)
    assert norms_after(causal, [100.0, 1.0, 2.0, 3.0, 50.0])[-1] == pytest.approx(3.0)


def test_zclip_begins_with_mean_1_and_variance_0_02_and_cuts_5_to_1_03125() -> None:
    clip = ZScoreClip(warmup=4)
    norms_after(clip, [1.0, 1.2, 0.8, 1.0])
    assert clip.mean == pytest.approx(1.0, abs=1e-6)
    assert clip.variance == pytest.approx(0.02, abs=1e-6)
    copied = copy.deepcopy(clip)
    assert norms_after(clip, [5.0]) == pytest.approx([1.03125], abs=1e-5)
    weights = weight_with(1.2)
    before = weights[0].grad.clone()
    copied(weights)
    assert torch.equal(weights[0].grad, before)


def test_zclip_is_that_of_its_package_over_a_run_with_spikes() -> None:
    norms = lognormal(80)
    norms[30], norms[31], norms[60] = 20.0, 3.0, 7.0
    theirs = ZClip(warmup_steps=10, max_grad_norm=None)
    module = nn.Module()
    module.weight = nn.Parameter(torch.ones(2))
    expected = []
    for norm in norms:
        module.weight.grad = torch.tensor([0.6, -0.8]) * norm
        theirs.step(module)
        expected.append(module.weight.grad.norm().item())
    clip = ZScoreClip(warmup=10)
    found = norms_after(clip, norms)
    # Theirs divides by the norm plus 1e-6.
    assert found == pytest.approx(expected, rel=1e-4)
    assert clip.mean == pytest.approx(theirs.mean, rel=1e-4)
    assert clip.variance == pytest.approx(theirs.var, rel=1e-3)


def test_a_tensor_of_ten_times_its_average_is_cut_to_1_05_of_it_alone() -> None:
    clip = EmaClip(warmup=3)
    for _ in range(3):
        clip(weight_with(0.1, 0.2, 0.3))
    assert clip.averages.tolist() == pytest.approx([0.1, 0.2, 0.3])
    weights = weight_with(0.1, 2.0, 0.3)
    before = [weight.grad.clone() for weight in weights]
    clip(weights)
    assert weights[1].grad.norm().item() == pytest.approx(1.05 * 0.2, rel=1e-6)
    for place in (0, 2):
        kept = weights[place].grad.numpy().tobytes()
        assert kept == before[place].numpy().tobytes()
    expected = 0.98 * 0.2 + 0.02 * 1.05 * 0.2
    assert clip.averages[1].item() == pytest.approx(expected)


def test_the_averages_are_those_of_pytorch_optimizers_adagc() -> None:
    from pytorch_optimizer import AdaGC

    weights = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]
    theirs = AdaGC(weights, lr=0.0, weight_decay=0.0, warmup_steps=6, foreach=False)
    clip = EmaClip(warmup=5)
    rows = zip(lognormal(20), lognormal(20, 0.3, seed=1), strict=True)
    for norms in rows:
        for weight, norm in zip(weights, norms, strict=True):
            weight.grad = torch.tensor([0.6, -0.8]) * norm
        theirs.step()
        clip(weight_with(*norms))
    expected = [float(theirs.state[weight]["gamma"]) for weight in weights]
    assert clip.averages.tolist() == pytest.approx(expected, rel=1e-5)


def test_a_tensor_whose_gradient_comes_late_begins_with_its_own_average() -> None:
    clip = EmaClip(warmup=1, ceiling=None)
    weights = weight_with(1.0, 1.0)
    weights[1].grad = None
    clip(weights)
    clip(weight_with(1.0, 7.0))
    assert clip.averages.tolist() == pytest.approx([1.0, 7.0])
    weights = weight_with(1.0, 70.0)
    clip(weights)
    assert weights[1].grad.norm().item() == pytest.approx(1.05 * 7.0)


# --- the policy -----------------------------------------------------------------


def test_norms_that_double_for_500_steps_double_the_threshold() -> None:
    clip = PolicyClip(3.0)
    norms_after(clip, lognormal(400))
    assert clip.threshold == 3.0
    norms_after(clip, lognormal(500, 2.0, seed=1))
    assert clip.threshold / 3.0 == pytest.approx(2.0, rel=0.1)
    [event] = clip.log
    assert event.kind == "clip_threshold"
    assert (event.body["before"], event.body["after"]) == (3.0, clip.threshold)
    assert "raised: both halves of the last 200 norms" in event.body["why"]
    norms_after(clip, lognormal(500, 0.5, seed=2))
    assert clip.threshold / 3.0 == pytest.approx(0.5, rel=0.1)
    assert "lowered" in clip.log[-1].body["why"]


def test_single_spikes_move_no_threshold() -> None:
    clip = PolicyClip(3.0)
    norms = lognormal(1_000)
    norms[500] = 1e6
    norms[700] = float("inf")
    after = norms_after(clip, norms)
    assert clip.threshold == 3.0
    assert not clip.log
    assert after[500] == pytest.approx(3.0)


def test_a_threshold_not_given_is_2_5_times_the_median_and_says_so() -> None:
    told = []
    clip = PolicyClip(window=40, tell=told.append)
    norms = lognormal(40)
    assert norms_after(clip, norms) == pytest.approx(norms)
    assert clip.threshold == pytest.approx(2.5 * statistics.median(norms), rel=1e-6)
    assert [event.body["before"] for event in told] == [None]
    assert norms_after(clip, [100.0]) == pytest.approx([clip.threshold])


@given(st.lists(st.floats(0.001, 1e4), min_size=1, max_size=60))
@settings(max_examples=40, deadline=None)
def test_no_clip_makes_a_gradient_longer_and_none_turns_it(norms: list[float]) -> None:
    for make in KINDS:
        clip = make()
        for norm in norms:
            weights = weight_with(norm)
            clip(weights)
            after = weights[0].grad
            assert after.norm().item() <= norm * (1 + 1e-5)
            cosine = functional.cosine_similarity(after, torch.tensor([0.6, -0.8]), 0)
            assert cosine.item() == pytest.approx(1.0, abs=1e-5)


def test_ceilings_hold_for_all_norms_and_may_be_scheduled() -> None:
    ceiling = Linear(2.0, 1.0, steps=10)
    for clip in (
        NormClip(ceiling),
        QuantileClip(1.0, ceiling=ceiling),
        ZScoreClip(ceiling=ceiling),
        EmaClip(ceiling=ceiling, warmup=100),
        PolicyClip(50.0, ceiling=ceiling),
    ):
        found = norms_after(clip, [5.0] * 12)
        assert found == pytest.approx([ceiling(step) for step in range(12)])


def test_a_fixed_clip_is_torchs() -> None:
    for norm in (0.5, 3.0):
        ours, theirs = weight_with(norm, 2 * norm), weight_with(norm, 2 * norm)
        found = NormClip(2.0)(ours)
        expected = nn.utils.clip_grad_norm_(theirs, 2.0)
        torch.testing.assert_close(found, expected)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one.grad, other.grad)


# --- gradients of all kinds -----------------------------------------------------


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_left_and_not_remembered(
    make: Any, bad: float
) -> None:
    clip = make()
    norms_after(clip, lognormal(4))
    kept = copy.deepcopy(clip.memory)
    weights = weight_with(1.0, bad)
    before = [weight.grad.clone() for weight in weights[1:]]
    if isinstance(clip, EmaClip):
        weights = weights[1:]
    clip(weights)
    assert torch.equal(weights[-1].grad.isnan(), before[0].isnan())
    for name, one in clip.memory.items():
        old = kept[name]
        if name == "norms":  # its place in the window is empty
            old[4] = torch.nan
        torch.testing.assert_close(one, old, equal_nan=True)


def test_a_gradient_that_is_not_finite_may_be_skipped_or_refused() -> None:
    weights = weight_with(1.0, float("nan"))
    adam = torch.optim.AdamW(weights, lr=0.1)
    with QuantileClip(nonfinite="skip").attach(adam):
        adam.step()
    assert all(torch.equal(one.detach(), torch.ones(2)) for one in weights)
    with pytest.raises(ClipError, match=r"update 0 of this clip is not finite"):
        NormClip(1.0, nonfinite="raise")(weight_with(float("inf")))


@pytest.mark.parametrize("make", KINDS[:-1])
def test_the_rules_on_a_device_are_those_on_the_host(make: Any) -> None:
    # What runs on a device, where nothing is looked at, is run on the host here.
    host, device = make(), make()
    rows = torch.tensor([lognormal(30), lognormal(30, 0.5, seed=1)]).mT.contiguous()
    rows[12] *= 20
    rows[17, 0], rows[23, 1] = torch.nan, torch.inf
    for row in rows:
        weights, others = weight_with(*row), weight_with(*row)
        host(weights)
        factor = device._factor(Norms(torch, row.norm(), row, row.device, ()))
        device.step += 1
        scale_([one.grad for one in others], factor)
        for one, other in zip(weights, others, strict=True):
            torch.testing.assert_close(other.grad, one.grad, equal_nan=True)
    for name, one in host.memory.items():
        torch.testing.assert_close(device.memory[name], one, equal_nan=True)


def test_no_gradient_is_no_error() -> None:
    for make in KINDS:
        clip = make()
        assert clip([nn.Parameter(torch.ones(2))]).item() == 0.0


def test_sparse_half_and_double_gradients_are_one_gradient() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1, 1, 3])).sum().backward()
    half = nn.Parameter(torch.ones(3, dtype=torch.float16))
    half.grad = torch.full((3,), 300.0, dtype=torch.float16)
    double = nn.Parameter(torch.ones(2, dtype=torch.float64))
    double.grad = torch.tensor([3.0, 4.0], dtype=torch.float64)
    weights = [table.weight, half, double]
    expected = (2 * (2**2 + 1) + 3 * 300.0**2 + 25) ** 0.5
    assert NormClip(1.0)(weights).item() == pytest.approx(expected, rel=1e-6)
    after = [one.grad.to_dense().double().norm() for one in weights]
    assert torch.stack(after).norm().item() == pytest.approx(1.0, rel=1e-3)
    assert half.grad.dtype == torch.float16
    alone = EmaClip(ceiling=1.0)
    alone(weights)
    assert alone.averages.isfinite().all()


# --- in training ----------------------------------------------------------------


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def batch(step: int, rows: int = 8) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(step)
    inputs = torch.randn(rows, 4, generator=source)
    # One batch of ten is poisoned.
    return inputs * (50.0 if step % 10 == 7 else 1.0), (inputs.sum(1) > 0).long()


def train(
    clip: Clip, steps: int, *, parts: int = 1, state: Any = None, start: int = 0
) -> tuple[dict[str, Tensor], Any, Clip]:
    model = net()
    adam = torch.optim.AdamW(model.parameters(), lr=0.01)
    clip.attach(adam)
    if state is not None:
        model.load_state_dict(state[0])
        adam.load_state_dict(state[1])
    for step in range(start, start + steps):
        adam.zero_grad()
        inputs, labels = batch(step)
        for x, y in zip(inputs.chunk(parts), labels.chunk(parts), strict=True):
            (functional.cross_entropy(model(x), y) / parts).backward()
        adam.step()
    return model.state_dict(), adam.state_dict(), clip


@pytest.mark.parametrize("make", KINDS)
def test_a_run_resumes_where_it_stopped_through_a_file(make: Any) -> None:
    whole, _, _ = train(make(), 20)
    half = train(make(), 9)
    file = io.BytesIO()
    torch.save(half[:2], file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed, _, clip = train(make(), 11, state=saved, start=9)
    assert clip.step == 20
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


@pytest.mark.parametrize("make", KINDS)
def test_accumulated_gradients_are_clipped_once_and_as_one(make: Any) -> None:
    at_once, _, first = train(make(), 12)
    in_parts, _, second = train(make(), 12, parts=4)
    assert first.step == second.step == 12
    for name, value in at_once.items():
        torch.testing.assert_close(in_parts[name], value, rtol=1e-4, atol=1e-5)


def scaled_run(
    clip: Clip, *, fused: bool, enabled: bool, bad: int | None = None
) -> tuple[dict[str, Tensor], Clip]:
    """Training under a GradScaler, with a loss that is infinite at one step."""
    model = net()
    adam = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
    clip.attach(adam)
    scaler = torch.amp.GradScaler(
        "cpu", init_scale=2.0**12, growth_interval=4, enabled=enabled
    )
    for step in range(12):
        adam.zero_grad()
        inputs, labels = batch(step)
        loss = functional.cross_entropy(model(inputs), labels)
        scaler.scale(loss * float("inf") if step == bad else loss).backward()
        scaler.step(adam)
        scaler.update()
    return model.state_dict(), clip


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("make", KINDS)
def test_a_scaler_changes_nothing(make: Any, fused: bool) -> None:
    plain, _ = scaled_run(make(), fused=fused, enabled=False)
    found, _ = scaled_run(make(), fused=fused, enabled=True)
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("make", KINDS)
def test_a_step_that_a_scaler_skips_is_not_remembered(make: Any, fused: bool) -> None:
    _, first = scaled_run(make(), fused=fused, enabled=True, bad=11)
    assert first.step == 11 + fused  # a fused optimizer skips inside of its step
    for name, value in first.memory.items():
        assert not value.isinf().any() or name == "threshold_median"
    if isinstance(first, ZScoreClip):
        assert first.memory["count_mean_variance"][0] == 11


def test_gradients_that_are_still_scaled_are_clipped_by_what_they_are() -> None:
    for make in KINDS:
        plain, scaled = make(), make()
        for norm in lognormal(6, 3.0):
            one, other = weight_with(norm), weight_with(norm * 1024)
            found = scaled(other, scale=1024.0)
            torch.testing.assert_close(found, plain(one))
            torch.testing.assert_close(other[0].grad, one[0].grad * 1024)


def test_a_clip_may_be_for_some_parameters_and_can_be_removed() -> None:
    model = net()
    sgd = torch.optim.SGD(model.parameters(), lr=0.0)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    handle = NormClip(1.0).attach(sgd, parameters=model[0].parameters())
    sgd.step()
    first = torch.cat([w.grad.flatten() for w in model[0].parameters()])
    assert first.norm().item() == pytest.approx(1.0)
    assert (model[2].weight.grad == 1).all()
    assert "clips" in sgd.state_dict()
    handle.remove()
    model[0].weight.grad.fill_(1.0)
    sgd.step()
    assert (model[0].weight.grad == 1).all()
    assert "clips" not in sgd.state_dict()


def test_a_clip_lets_a_run_survive_poisoned_batches() -> None:
    def loss(clip: Clip | None) -> float:
        model = net()
        sgd = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
        if clip:
            clip.attach(sgd)
        for step in range(60):
            sgd.zero_grad()
            inputs, labels = batch(step)
            poisoned = 30.0 if step % 10 == 7 else 1.0
            (poisoned * functional.cross_entropy(model(inputs), 1 - labels
             if poisoned > 1 else labels)).backward()  # fmt: skip
            sgd.step()
        inputs, labels = batch(1000, rows=500)
        return functional.cross_entropy(model(inputs), labels).item()

    bare = loss(None)
    for clip in (ZScoreClip(warmup=5), QuantileClip(0.5), EmaClip(warmup=5)):
        assert loss(clip) < 0.5 * bare


# --- what is refused ------------------------------------------------------------


def test_bad_input_is_refused() -> None:
    for make in (
        lambda: NormClip(0.0),
        lambda: NormClip(float("nan")),
        lambda: QuantileClip(1.5),
        lambda: QuantileClip(0.0),
        lambda: QuantileClip(window=0),
        lambda: QuantileClip(window=2.5),  # pyright: ignore
        lambda: ZScoreClip(-1.0),
        lambda: ZScoreClip(alpha=1.0),
        lambda: ZScoreClip(warmup=0),
        lambda: EmaClip(0.0),
        lambda: EmaClip(beta=1.0),
        lambda: PolicyClip(-1.0),
        lambda: PolicyClip(window=4),
        lambda: PolicyClip(change=1.0),
        lambda: UnitwiseClip(0.0),
        lambda: UnitwiseClip(eps=0.0),
        lambda: NormClip(1.0, nonfinite="drop"),  # pyright: ignore
    ):
        with pytest.raises(ClipError, match="came; expected"):
            make()


def test_states_of_other_clips_are_refused_and_nothing_is_changed() -> None:
    clip = QuantileClip(window=5)
    norms_after(clip, [1.0, 2.0])
    kept = clip.state_dict()
    with pytest.raises(ClipError, match="state of a ZScoreClip came"):
        clip.load_state_dict(ZScoreClip().state_dict())
    with pytest.raises(ClipError, match=r"norms of shape \(7,\) came"):
        clip.load_state_dict(QuantileClip(window=7).state_dict())
    assert clip.step == 2
    torch.testing.assert_close(
        clip.memory["norms"], kept["memory"]["norms"], equal_nan=True
    )
    alone = EmaClip()
    alone(weight_with(1.0, 2.0))
    with pytest.raises(ClipError, match="3 parameters came to an EmaClip that knows 2"):
        alone(weight_with(1.0, 2.0, 3.0))


def test_attaching_twice_or_to_lbfgs_is_refused() -> None:
    weights = weight_with(1.0)
    sgd = torch.optim.SGD(weights, lr=0.1)
    NormClip(1.0).attach(sgd)
    with pytest.raises(ClipError, match="give it another name="):
        NormClip(1.0).attach(sgd)
    NormClip(1.0).attach(sgd, name="second")
    with pytest.raises(ClipError, match="LBFGS"):
        NormClip(1.0).attach(torch.optim.LBFGS(weights))


@pytest.mark.parametrize("make", KINDS)
def test_clips_say_what_they_are_and_can_be_copied(make: Any) -> None:
    clip = make()
    norms_after(clip, [1.0, 2.0])
    assert repr(clip).startswith(type(clip).__name__ + "(")
    assert "memory" not in repr(clip)
    other = copy.deepcopy(clip)
    assert norms_after(other, [9.0, 1.0]) == norms_after(clip, [9.0, 1.0])
