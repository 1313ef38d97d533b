"""Several modalities: how much each is relied on, and what keeps one from ruling."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from conventions import keeps_conventions
from surefoot.nn.regularize import RegularizeError
from surefoot.schedules import Linear, Vary
from surefoot.tasks.fusion_margin import fusion_certificate, smallest_flip
from surefoot.tasks.multimodal import (
    GradientModulation,
    ModalityDropout,
    ModalityError,
    confidence_fusion,
    confidence_weights,
    modulation,
    reliance,
    score_ratios,
)


class Weighted(nn.Module):
    """Scores v + 3t, as logits of two classes or as they are."""

    def __init__(self, *, classes: bool = False) -> None:
        super().__init__()
        self.classes = classes
        self.norm = nn.BatchNorm1d(1, affine=False)
        self.norm.running_var.fill_(1 - self.norm.eps)  # nothing in evaluation

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        score = self.norm(inputs["vision"]) + 3 * inputs["text"]
        return torch.cat([-score, score], dim=1) if self.classes else score


def pair(count: int = 512) -> dict[str, torch.Tensor]:
    """Two modalities of the same spread."""
    torch.manual_seed(0)
    vision = torch.randn(count, 1)
    return {"vision": vision, "text": vision[torch.randperm(count)]}


# --- reliance -------------------------------------------------------------------


@pytest.mark.parametrize("absent", ["mean", "zero"])
def test_scores_of_v_plus_3t_rely_one_to_three(absent: str) -> None:
    model = Weighted()
    found = reliance(model, pair(), absent=absent)  # type: ignore[arg-type]
    assert found.shares["text"] / found.shares["vision"] == pytest.approx(3.0, rel=1e-5)
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert math.isnan(found.alone["text"])
    assert model.training
    assert model.norm.num_batches_tracked.item() == 0


def test_accuracies_alone_and_lost() -> None:
    inputs = pair(4_000)
    targets = (inputs["vision"] + 3 * inputs["text"] > 0).long().squeeze(1)
    found = reliance(Weighted(classes=True), inputs, targets, absent="zero")
    angle = math.atan2(1, 3)  # between the whole boundary and that of the text
    assert found.alone["text"] == pytest.approx(1 - angle / math.pi, abs=0.02)
    assert found.lost["vision"] == pytest.approx(angle / math.pi, abs=0.02)
    assert found.lost["text"] == pytest.approx(0.5 - angle / math.pi, abs=0.02)


def test_what_changes_nothing_has_no_share() -> None:
    class Blind(nn.Module):
        def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            return 0 * inputs["vision"]

    assert reliance(Blind(), pair()).shares == {"vision": 0.0, "text": 0.0}


def test_the_model_runs_with_tensors_that_stand_for_what_is_gone() -> None:
    stand_in = {"vision": torch.ones(1, 1), "text": torch.zeros(1, 1)}
    inputs = {"vision": torch.full((2, 1), 3.0), "text": torch.zeros(2, 1)}
    found = reliance(Weighted(), inputs, absent=stand_in)
    assert found.shares == {"vision": 1.0, "text": 0.0}
    with pytest.raises(ModalityError, match="'text'"):
        reliance(Weighted(), inputs, absent={"vision": torch.ones(1, 1)})


# --- modulation -----------------------------------------------------------------


def test_the_factor_of_a_modality_that_is_ahead() -> None:
    assert modulation(2.0, alpha=0.1).item() == pytest.approx(0.80262, abs=1e-5)
    assert modulation(2.0, alpha=0.8).item() == pytest.approx(0.07833, abs=1e-5)
    assert modulation(torch.tensor([0.5, 1.0]), alpha=0.8).tolist() == [1.0, 1.0]


def test_ratios_are_of_probabilities_of_the_labels() -> None:
    ahead, behind = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    p, q = ahead.softmax(1)[0, 0], behind.softmax(1)[0, 0]
    found = score_ratios({"a": ahead, "b": behind}, torch.tensor([0]))
    assert found["a"].item() == pytest.approx(float(p / q))
    assert found["b"].item() == pytest.approx(float(q / p))
    three = score_ratios({"a": ahead, "b": behind, "c": behind}, torch.tensor([0]))
    assert three["a"].item() == pytest.approx(float(p / q))


def modulated(*, noise: bool, seed: int = 0) -> tuple[dict[str, torch.Tensor], float]:
    encoders = {"a": nn.Linear(40, 50), "b": nn.Linear(40, 50)}
    for encoder in encoders.values():
        for weight in encoder.parameters():
            weight.grad = torch.linspace(-1, 1, weight.numel()).reshape(weight.shape)
    slow = GradientModulation(encoders, alpha=0.8, noise=noise, seed=seed)
    scores = {"a": torch.tensor([[3.0, 0.0]]), "b": torch.tensor([[0.0, 0.0]])}
    factors = slow(scores, torch.tensor([0]))
    return {m: one.weight.grad for m, one in encoders.items()}, factors["a"].item()


def test_only_the_modality_that_is_ahead_is_slowed_and_without_noise_by_default() -> (
    None
):
    grads, factor = modulated(noise=False)
    whole = torch.linspace(-1, 1, 2_000).reshape(50, 40)
    assert factor < 1
    torch.testing.assert_close(grads["a"], factor * whole)
    assert torch.equal(grads["b"], whole)


def test_noise_has_the_spread_of_the_gradient_before() -> None:
    grads, factor = modulated(noise=True)
    whole = torch.linspace(-1, 1, 2_000).reshape(50, 40)
    added = grads["a"] - factor * whole
    assert added.std().item() == pytest.approx(whole.std().item(), rel=0.06)
    assert torch.equal(grads["b"], whole)
    assert torch.equal(modulated(noise=True)[0]["a"], grads["a"])
    assert not torch.equal(modulated(noise=True, seed=1)[0]["a"], grads["a"])


def test_a_resumed_modulation_draws_other_noise_than_at_first() -> None:
    slow = GradientModulation({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)}, noise=True)
    slow.load_state_dict({"calls": 7})
    assert slow.state_dict() == {"calls": 7}


# --- dropout and fusion ---------------------------------------------------------


def test_a_dropped_modality_has_zero_gradient() -> None:
    torch.manual_seed(0)
    drop = ModalityDropout({"vision": 0.5, "text": 0.5})
    inputs = {k: v.requires_grad_() for k, v in pair(64).items()}
    out = drop(inputs)
    sum(one.sum() for one in out.values()).backward()
    for name, one in out.items():
        gone = (one == 0).all(1)
        assert 0 < int(gone.sum()) < 64
        assert not inputs[name].grad[gone].any()
        assert bool((inputs[name].grad[~gone] == 1).all())
    assert not ((out["vision"] == 0) & (out["text"] == 0)).any()


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 1), st.floats(0, 1))
def test_rates_are_as_told_and_one_always_stays(first: float, second: float) -> None:
    torch.manual_seed(0)
    ones = {"a": torch.ones(4_000, 1), "b": torch.ones(4_000, 1)}
    rates = {"a": first, "b": second}
    free = ModalityDropout(rates, keep_one=False)(ones)
    for name, rate in rates.items():
        assert (free[name] == 0).double().mean().item() == pytest.approx(rate, abs=0.04)
    kept = ModalityDropout(rates)(ones)
    assert bool((kept["a"] + kept["b"] >= 1).all())
    lost = (kept["a"] == 0).double().mean().item()
    assert lost == pytest.approx(first - first * second / 2, abs=0.04)


def test_what_was_not_finite_is_gone_with_what_is_dropped() -> None:
    drop = ModalityDropout({"a": 1.0, "b": 0.0})
    out = drop({"a": torch.full((2, 3, 2), torch.nan), "b": torch.ones(2, 1)})
    assert torch.equal(out["a"], torch.zeros(2, 3, 2))


def test_evaluation_changes_nothing_and_rates_follow_schedules() -> None:
    drop = ModalityDropout({"vision": 1.0, "text": 0.0})
    inputs = pair(8)
    assert all(torch.equal(drop.eval()(inputs)[k], inputs[k]) for k in inputs)
    Vary(drop, "p_vision", schedule=Linear(1.0, 0.0, steps=2)).begin(2)
    assert all(torch.equal(drop.train()(inputs)[k], inputs[k]) for k in inputs)


class First(nn.Module):
    """A dropout behind which a tensor comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = ModalityDropout({"a": 0.5, "b": 0.5})

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.cat(list(self.drop({"a": a, "b": b}).values()), dim=1)


def test_the_dropout_keeps_the_conventions() -> None:
    keeps_conventions(First, torch.randn(6, 2), torch.randn(6, 3), exported=True)


def test_weights_are_inverse_to_variances() -> None:
    weights = confidence_weights(torch.tensor([1.0, 4.0]).log())
    assert weights.tolist() == pytest.approx([0.8, 0.2])
    fused, log_variance = confidence_fusion(
        torch.tensor([[1.0, 2.0], [6.0, 7.0]]), torch.tensor([[1.0], [4.0]]).log()
    )
    assert fused.tolist() == pytest.approx([2.0, 3.0])
    assert log_variance.exp().tolist() == pytest.approx([0.8, 0.8])


def test_a_missing_modality_has_no_weight_and_extremes_no_nan() -> None:
    gone = confidence_weights(torch.tensor([0.0, torch.inf]))
    assert gone.tolist() == [1.0, 0.0]
    assert bool(confidence_weights(torch.tensor([-300.0, 300.0])).isfinite().all())


def test_fusion_has_least_error_of_all_weights() -> None:
    torch.manual_seed(0)
    noise = torch.randn(2, 100_000) * torch.tensor([[1.0], [2.0]])
    fused, log_variance = confidence_fusion(noise, torch.tensor([[1.0], [4.0]]).log())
    assert fused.var().item() == pytest.approx(0.8, rel=0.02)
    assert log_variance[0].exp().item() == pytest.approx(0.8)


def test_fusion_has_exact_gradients() -> None:
    estimates = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    told = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(confidence_fusion, (estimates, told))


# --- the smallest change that flips ---------------------------------------------


def linear(text: float, vision: float) -> dict[str, torch.Tensor]:
    weights = {"text": torch.tensor([text]), "vision": torch.tensor([vision])}
    at = torch.tensor([[0.5]])
    return fusion_certificate(weights, {"text": at, "vision": at})


def test_the_certificate_of_a_linear_fusion() -> None:
    uneven, even = linear(3.0, 1.0), linear(2.0, 2.0)
    assert uneven["text"].item() == pytest.approx(0.667, abs=4e-4)
    assert uneven["vision"].item() == pytest.approx(2.0)
    assert even["text"].item() == even["vision"].item() == pytest.approx(1.0)


class Fused(nn.Module):
    """A linear fusion, or a bent one, of two modalities."""

    def __init__(self, weights: dict[str, torch.Tensor], *, bend: float = 0.0) -> None:
        super().__init__()
        self.weights, self.bend = weights, bend

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        parts = [x @ self.weights[m].T for m, x in inputs.items()]
        scores = torch.stack(parts).sum(0)
        return scores + self.bend * torch.tanh(scores) * scores


def fused(classes: int, seed: int = 0) -> tuple[dict, dict]:
    stream = torch.Generator().manual_seed(seed)
    shapes = {"a": 3, "b": 5}
    draw = {"generator": stream, "dtype": torch.float64}
    weights = {m: torch.randn(classes, d, **draw) for m, d in shapes.items()}
    return weights, {m: torch.randn(6, d, **draw) for m, d in shapes.items()}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1_000), st.integers(2, 5))
def test_the_search_finds_the_certificate_of_a_linear_fusion(
    seed: int, classes: int
) -> None:
    weights, inputs = fused(classes, seed)
    certificate = fusion_certificate(weights, inputs)
    for modality in weights:
        found = smallest_flip(Fused(weights), inputs, modality, rivals=classes)
        torch.testing.assert_close(
            found.distance, certificate[modality], rtol=1e-4, atol=1e-6
        )


def test_no_change_within_the_certificate_flips() -> None:
    weights, inputs = fused(4)
    certificate = fusion_certificate(weights, inputs)
    before = Fused(weights)(inputs).argmax(-1)
    stream = torch.Generator().manual_seed(1)
    for _ in range(50):
        way = torch.randn(6, 5, generator=stream, dtype=torch.float64)
        way = 0.999 * certificate["b"][:, None] * way / way.norm(dim=1, keepdim=True)
        after = Fused(weights)({**inputs, "b": inputs["b"] + way}).argmax(-1)
        assert torch.equal(after, before)


def test_what_the_search_finds_on_a_bent_net_flips_it() -> None:
    weights, inputs = fused(3)
    model = Fused(weights, bend=0.4)
    before = model(inputs).argmax(-1)
    found = smallest_flip(model, inputs, "a")
    after = model({**inputs, "a": found.moved}).argmax(-1)
    reached = found.distance.isfinite()
    assert reached.any()
    assert bool((after != before)[reached].all())
    short = inputs["a"] + 0.99 * (found.moved - inputs["a"])
    assert torch.equal(model({**inputs, "a": short}).argmax(-1), before)


def test_a_modality_that_decides_nothing_has_no_flip() -> None:
    weights, inputs = fused(2)
    weights["a"] = torch.zeros_like(weights["a"])
    assert bool(fusion_certificate(weights, inputs)["a"].isinf().all())
    assert bool(smallest_flip(Fused(weights), inputs, "a").distance.isinf().all())


# --- what does not go together --------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: reliance(Weighted(), {"vision": torch.ones(2, 1)}),
        lambda: reliance(
            Weighted(), {"vision": torch.ones(2, 1), "text": torch.ones(3, 1)}
        ),
        lambda: modulation(1.0, alpha=-1.0),
        lambda: GradientModulation({"a": nn.Linear(1, 1)}),
        lambda: ModalityDropout({"a": 0.1}),
        lambda: ModalityDropout({"a.b": 0.1, "c": 0.2}),
        lambda: ModalityDropout({"a": 0.1, "b": 0.2})(pair(2)),
        lambda: fusion_certificate({"a": torch.ones(2)}, {"b": torch.ones(1, 2)}),
        lambda: fusion_certificate({"a": torch.ones(2)}, {"a": torch.ones(1, 3)}),
        lambda: smallest_flip(Weighted(), pair(2), "sound"),
    ],
)
def test_what_does_not_go_together_is_refused(call) -> None:
    with pytest.raises(ModalityError, match="expected"):
        call()


def test_one_encoder_for_two_modalities_cannot_be_slowed_for_one() -> None:
    shared = nn.Linear(1, 1)
    with pytest.raises(ModalityError, match="share"):
        GradientModulation({"a": shared, "b": shared})
    slow = GradientModulation({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)})
    with pytest.raises(ModalityError, match=r"\['a', 'b'\]"):
        slow({"a": torch.ones(1, 2)}, torch.tensor([0]))
    with pytest.raises(RegularizeError, match="0 to 1"):
        ModalityDropout({"a": 2.0, "b": 0.0})
