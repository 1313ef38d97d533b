"""Penalties and measures of filters; and torch's own spectral normalisation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from surefoot.nn.regularize import (
    OrthogonalityError,
    coherence,
    conv_norm_bound,
    conv_operator_norm,
    filter_condition,
    polar_projection,
    qr_retraction,
    soft_orthogonality,
    srip,
    tangent,
)

MEASURES = (soft_orthogonality, srip, coherence, filter_condition)
STRETCH = torch.diag(torch.tensor([2.0, 0.5], dtype=torch.float64))


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=source)


def test_soft_orthogonality_of_the_stretch_is_9_5625() -> None:
    assert float(soft_orthogonality(STRETCH)) == 9.5625


def test_srip_of_the_stretch_is_3() -> None:
    assert float(srip(STRETCH)) == pytest.approx(3.0, abs=1e-12)


def test_a_duplicated_filter_has_coherence_1_and_orthonormal_ones_0() -> None:
    filters = gaussian(6, 2, 3, 3)
    filters[4] = -3 * filters[1]
    assert float(coherence(filters)) == pytest.approx(1.0, abs=1e-12)
    assert float(coherence(filters)) <= 1.0
    assert float(coherence(qr_retraction(gaussian(6, 2, 3, 3)))) < 1e-12
    assert float(filter_condition(filters)) > 1e12
    assert float(filter_condition(STRETCH)) == pytest.approx(4.0)


@given(
    seed=st.integers(0, 10_000),
    shape=st.sampled_from([(5, 3), (3, 5), (4, 2, 3), (6, 3, 2, 2)]),
)
@settings(max_examples=40, deadline=None)
def test_orthonormal_filters_cost_nothing_and_others_do(
    seed: int, shape: tuple[int, ...]
) -> None:
    weight = gaussian(*shape, seed=seed)
    best = qr_retraction(weight)
    for penalty in (soft_orthogonality, srip):
        assert float(penalty(best)) < 1e-12
        assert float(penalty(weight)) > 1e-6
    assert float(filter_condition(best)) == pytest.approx(1.0, abs=1e-9)
    rows = weight.flatten(1)
    singular = torch.linalg.svdvals(rows)
    assert float(srip(weight)) == pytest.approx(
        float((singular**2 - 1).abs().max()), rel=1e-9
    )
    assert float(soft_orthogonality(weight)) == pytest.approx(
        float((singular**2 - 1).square().sum()), rel=1e-9
    )


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (3, 2, 2)])
def test_penalties_have_the_gradients_of_differences(shape: tuple[int, ...]) -> None:
    weight = gaussian(*shape).requires_grad_()
    for measure in MEASURES:
        assert torch.autograd.gradcheck(measure, (weight,))


def test_the_penalties_lead_to_orthonormal_filters() -> None:
    for penalty in (soft_orthogonality, srip):
        weight = (0.3 * gaussian(4, 6)).requires_grad_()
        sgd = torch.optim.SGD([weight], lr=0.02)
        before = float(penalty(weight).detach())
        for _ in range(300):
            sgd.zero_grad()
            penalty(weight).backward()
            sgd.step()
        assert float(penalty(weight).detach()) < 0.1 * before


def test_groups_are_measured_each_by_itself() -> None:
    weight = torch.eye(2, dtype=torch.float64).repeat(3, 1)
    assert float(soft_orthogonality(weight, 3)) == 0.0
    assert float(coherence(weight, 3)) == 0.0
    assert float(coherence(weight)) == 1.0
    assert float(srip(weight)) == pytest.approx(2.0)


def test_filters_of_zeros_and_single_ones_meet_none() -> None:
    assert float(coherence(torch.zeros(3, 4))) == 0.0
    assert float(coherence(torch.ones(1, 4))) == 0.0


def test_more_filters_than_inputs_reach_welchs_bound_at_best() -> None:
    angles = torch.arange(3) * 2 * torch.pi / 3
    frame = torch.stack([angles.cos(), angles.sin()], 1)
    assert float(coherence(frame)) == pytest.approx(0.5, abs=1e-6)


def test_narrow_weights_are_measured_in_float32() -> None:
    for measure in MEASURES:
        assert measure(torch.eye(3, dtype=torch.bfloat16)).dtype == torch.float32


def test_measures_can_be_vectorised() -> None:
    weights = gaussian(3, 4, 5)
    for measure in MEASURES:
        each = torch.stack([measure(one) for one in weights])
        torch.testing.assert_close(torch.func.vmap(measure)(weights), each)


def test_bad_input_is_refused() -> None:
    for measure in MEASURES:
        with pytest.raises(OrthogonalityError, match="two axes or more"):
            measure(torch.ones(3))
        with pytest.raises(OrthogonalityError, match="real numbers"):
            measure(torch.ones(3, 3, dtype=torch.long))
        with pytest.raises(OrthogonalityError, match="groups=2"):
            measure(torch.ones(3, 3), 2)


# --- torch's own ----------------------------------------------------------------


def test_torchs_spectral_norm_brings_diag_3_1_to_1_from_the_first_read() -> None:
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor([3.0, 1.0])))
    torch.manual_seed(0)
    nn.utils.parametrizations.spectral_norm(layer)
    largest = torch.linalg.matrix_norm(layer.weight.detach(), 2)
    assert float(largest) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        *MEASURES,
        qr_retraction,
        polar_projection,
        conv_norm_bound,
        lambda weight: conv_operator_norm(weight, 6, stride=2),
        lambda weight: tangent(weight, qr_retraction(weight)),
    ],
)
def test_functions_compile_in_one_graph_and_run_under_autocast(function: Any) -> None:
    weight = gaussian(4, 2, 3, 3).float()
    expected = function(weight)
    torch._dynamo.reset()
    fast = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(fast(weight), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(function(weight), expected)
        narrow = function(weight.bfloat16())
    torch.testing.assert_close(narrow.float(), expected, rtol=0.05, atol=0.05)
